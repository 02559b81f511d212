"""The gdbstub's client and the injector, against a stub that plays what a CPU would do."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from emu.abi import Errno
from emu.case import Case, VmConfig
from emu.injection import Fail, Site
from emu.live.gdbstub import Stub
from emu.live.injector import FUNCTIONS, HOOK, Ask, Injector
from emu.live.needs import Needs, needs
from emu.live.trouble import BoxError
from emu.record import pack_step
from emu.steps import Run

HOOK_AT, SITE_AT, CALLER = 0x1000, 0x2000, 0x3000
AT = {HOOK: HOOK_AT, Site.KVM_GMEM_GET_PFN.value: SITE_AT, Site.KVM_FAULTIN_PFN.value: SITE_AT + 8}
REST = b"\1\2\3\4"


class Cpu:
    """A machine behind a stub: it calls functions, and what a breakpoint's owner did is seen."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._bytes = bytearray()
        self.breakpoints: set[int] = set()
        self.registers = [0] * 33
        self.steps = self.idle_steps = 0
        self._taken(b"\x03")
        self._say(b"T02thread:01;")
        self._served_until_it_runs()

    def call(self, address: int, *arguments: int) -> int | None:
        """What a function returned to its caller before it began; None where it was let run."""
        if address not in self.breakpoints:
            return None
        self.registers = [*arguments, *[0] * (30 - len(arguments)), CALLER, 0, address]
        self._say(b"T05thread:01;")
        self._served_until_it_runs()
        return self.registers[0] if self.registers[32] == CALLER else None

    def ask(self, number: int, argument: int = 0) -> int:
        """The executor's ioctl."""
        answer = self.call(HOOK_AT, 0, number, argument)
        assert answer is not None
        return answer

    def _served_until_it_runs(self) -> None:
        while (command := self._command()) != b"c":
            self._serve(command)

    def _serve(self, command: bytes) -> None:
        kind, rest = command[:1], command[1:]
        if kind == b"g":
            self._say((struct.pack("<33QI", *self.registers, 0) + REST).hex().encode())
            return
        if kind == b"s":
            self.steps += 1
            if self.idle_steps:
                self.idle_steps -= 1
            else:
                self.registers[32] += 4
            self._say(b"T05thread:01;")
            return
        if kind == b"G":
            content = bytes.fromhex(rest.decode())
            assert content.endswith(REST)
            self.registers = list(struct.unpack_from("<33Q", content))
        else:
            address = int(rest.split(b",")[1], 16)
            (self.breakpoints.add if kind == b"Z" else self.breakpoints.remove)(address)
        self._say(b"OK")

    def _say(self, words: bytes) -> None:
        # In two pieces, with the acknowledgement that a real stub puts before it.
        whole = b"+$" + words + b"#%02x" % (sum(words) & 0xFF)
        self._connection.sendall(whole[:3])
        self._connection.sendall(whole[3:])

    def _taken(self, wanted: bytes) -> None:
        while wanted not in self._bytes:
            self._bytes += self._connection.recv(4096)
        del self._bytes[: self._bytes.index(wanted) + len(wanted)]

    def _command(self) -> bytes:
        self._taken(b"$")
        while b"#" not in self._bytes:
            self._bytes += self._connection.recv(4096)
        words = bytes(self._bytes[: self._bytes.index(b"#")])
        self._taken(b"#")
        return words


@contextmanager
def started() -> Iterator[Cpu]:
    ours, qemus = socket.socketpair()
    with ours, qemus:
        found: list[Injector] = []
        thread = threading.Thread(target=lambda: found.append(Injector(ours, AT, qemus.close)))
        thread.start()
        yield Cpu(qemus)
        thread.join()
        qemus.close()
        found[0].join()


def packed(fail: Fail) -> int:
    """As inject.c puts it."""
    _, a, b, c = pack_step(fail)[:4]
    return a | b << 8 | c << 16


def failing(site: Site, errno: Errno, nth: int) -> int:
    return packed(Fail(site, errno, nth))


def test_the_nth_call_from_then_on_fails_once_and_the_others_run() -> None:
    with started() as cpu:
        assert cpu.call(SITE_AT) is None
        assert cpu.ask(Ask.FAIL, failing(Site.KVM_GMEM_GET_PFN, Errno.EIO, 2)) == 0
        results = [cpu.call(SITE_AT) for _ in range(3)]
        assert results == [None, (1 << 64) - Errno.EIO, None]
        assert cpu.steps == 1
        assert cpu.ask(Ask.FIRED) == 1
        sites = list(Site)
        assert cpu.ask(Ask.FIRED, sites.index(Site.KVM_GMEM_GET_PFN) + 1) == 1
        assert cpu.ask(Ask.FIRED, sites.index(Site.KVM_FAULTIN_PFN) + 1) == 0
        assert cpu.breakpoints == {HOOK_AT}


def test_a_step_that_does_nothing_makes_no_second_call_of_one() -> None:
    with started() as cpu:
        cpu.ask(Ask.FAIL, failing(Site.KVM_GMEM_GET_PFN, Errno.EIO, 2))
        cpu.idle_steps = 2
        assert cpu.call(SITE_AT) is None
        assert (cpu.steps, cpu.registers[32]) == (3, SITE_AT + 4)
        assert cpu.call(SITE_AT) == (1 << 64) - Errno.EIO


def test_two_errors_wait_for_the_same_function_each_with_its_count() -> None:
    with started() as cpu:
        cpu.ask(Ask.FAIL, failing(Site.KVM_GMEM_GET_PFN, Errno.EIO, 1))
        cpu.ask(Ask.FAIL, failing(Site.KVM_GMEM_GET_PFN, Errno.ENOMEM, 2))
        results = [cpu.call(SITE_AT) for _ in range(3)]
        assert results == [(1 << 64) - Errno.EIO, None, (1 << 64) - Errno.ENOMEM]


PFNS = [
    #  errno            what __kvm_faultin_pfn() returns
    (Errno.EIO, 0x7FF << 52),
    (Errno.EHWPOISON, (0x7FF << 52) + 1),
]


@pytest.mark.parametrize(("errno", "pfn"), PFNS)
def test_a_function_that_returns_a_pfn_returns_one_that_says_so(errno: Errno, pfn: int) -> None:
    with started() as cpu:
        cpu.ask(Ask.FAIL, failing(Site.KVM_FAULTIN_PFN, errno, 1))
        assert cpu.call(SITE_AT + 8) == pfn


def test_what_was_not_called_is_forgotten_before_the_next_case() -> None:
    with started() as cpu:
        cpu.ask(Ask.FAIL, failing(Site.KVM_GMEM_GET_PFN, Errno.EIO, 1))
        assert cpu.ask(Ask.FORGET) == 0
        assert cpu.breakpoints == {HOOK_AT}
        assert cpu.ask(Ask.FIRED) == 0


def test_another_ioctl_is_answered_as_the_kernel_does() -> None:
    with started() as cpu:
        assert cpu.ask(0xAE00) == (1 << 64) - Errno.EINVAL


def test_a_site_that_the_kernel_has_no_function_for_is_refused() -> None:
    with started() as cpu:
        refused = cpu.ask(Ask.FAIL, failing(Site.KVM_GMEM_BIND, Errno.EIO, 1))
        assert refused == (1 << 64) - Errno.ENOENT


MALFORMED = [
    #  what the stub says of a stop, or of the registers    what is said of it
    ([b"$nonsense#6d"], "QEMU's gdbstub said 'nonsense'"),
    ([b"$T05#00"], "QEMU's gdbstub said 'T05'"),
    ([b"$T05#b9", b"$zz#f4"], "QEMU's gdbstub said 'zz'"),
    ([b"$T05#b9", b"$00#60"], "QEMU's gdbstub said '00'"),
    ([b"$T05#b9", b"$\xff#ff"], "QEMU's gdbstub said '\\\\xff'"),
    ([b"$W00#b7"], ""),  # the machine's own end
]


@pytest.mark.parametrize(("packets", "trouble"), MALFORMED)
def test_a_stub_that_is_not_understood_ends_its_machine_with_the_reason(
    packets: list[bytes], trouble: str
) -> None:
    ours, qemus = socket.socketpair()
    ended = threading.Event()

    def end() -> None:
        ended.set()
        qemus.shutdown(socket.SHUT_RDWR)

    with ours, qemus:
        found: list[Injector] = []
        thread = threading.Thread(target=lambda: found.append(Injector(ours, AT, end)))
        thread.start()
        Cpu(qemus)
        thread.join()
        for packet in packets:
            qemus.sendall(packet)
        if not trouble:
            qemus.shutdown(socket.SHUT_RDWR)
        found[0].join()
    assert (found[0].trouble, ended.is_set()) == (trouble, bool(trouble))


def test_a_machine_that_is_gone_is_said_to_be() -> None:
    ours, qemus = socket.socketpair()
    with ours:
        qemus.close()
        with pytest.raises(BoxError, match="gdbstub"):
            Stub(ours).attach()


def test_a_machine_that_is_slow_to_read_is_waited_for() -> None:
    ours, qemus = socket.socketpair()

    def start_late() -> None:
        time.sleep(0.2)
        qemus.setblocking(False)
        with suppress(BlockingIOError):
            while qemus.recv(1 << 20):
                pass
        qemus.sendall(b"$T05#b9")

    with ours, qemus:
        ours.setblocking(False)
        with suppress(BlockingIOError):
            while ours.send(b"\x03"):
                pass
        thread = threading.Thread(target=start_late)
        thread.start()
        Stub(ours).attach()
        thread.join()


def test_a_box_gets_what_the_cases_need_and_no_more() -> None:
    plain = Case(VmConfig(), (Run(0),))
    failing_case = Case(VmConfig(), (Fail(Site.KVM_GMEM_GET_PFN, Errno.EIO, 1), Run(0)))
    assert needs([plain]) == Needs()
    assert needs([plain, failing_case]) == Needs(injecting=True, debugfs=True)
    assert needs([Case(VmConfig(nested=True), ()), plain]) == Needs(nested=True)


def test_the_executor_is_told_of_every_function_that_an_error_can_be_injected_at() -> None:
    assert set(FUNCTIONS) == {HOOK, *(site.value for site in Site)}
