"""Frames as this side reads them, and what is asked of no machine."""

import socket
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from emu import text
from emu.access import Access
from emu.case import Case
from emu.live import protocol
from emu.live.console import Complaint, ConsoleFinding
from emu.live.machine import LiveMachine
from emu.live.pair import Pair
from emu.live.process import Process
from emu.live.protocol import Failed, Kind, ProtocolError
from emu.live.trouble import BoxError
from emu.live.unsupported import Host, Unsupported, objection
from emu.outcome import IDLE, DirtyLog, Outcomes, Refusal, RunOutcome
from tests.executor import decoder, needs_compiler

HOST = Host(
    kernel="7.3.4",
    page_size=0x1000,
    kvm=True,
    ipa_bits=48,
    zva=64,
    inert=frozenset({Access.DC_CVAC}),
    lax=frozenset({Access.FETCH}),
)
RUN = RunOutcome(
    step=3,
    ret=-1,
    errno=14,
    exit_reason=39,
    union=(0, 0x4000_0000, 0x1000, 7),
    before=6,
    fresh=True,
    access=2,
    moved=False,
    changed=True,
    exceptions=((1, 0x9600_0010), (IDLE, 0x8600_0014)),
    injected=True,
    stuck=False,
    sigbus=True,
    vcpu=2,
    userfaults=3,
    others_changed=True,
)


def wired(run: RunOutcome) -> bytes:
    """The run as report.c puts it."""
    numbers = (run.step, run.ret, run.errno, run.exit_reason, run.before, run.access)
    marks = (run.fresh, run.moved, run.changed, run.stuck, run.sigbus)
    marks_of_others = (run.vcpu, run.others_changed, run.injected)
    packed = struct.pack("<IIiiIIi4Q8BII", 1, *numbers, *run.union, *marks, *marks_of_others, 2, 3)
    return packed + b"".join(struct.pack("<iI", *each) for each in run.exceptions)


def test_outcomes_keep_every_field_and_their_order() -> None:
    body = wired(RUN) + struct.pack("<III", 2, 4, 22) + wired(RUN)
    expected = Outcomes((RUN, RUN), (Refusal(4, 22),))
    assert protocol.answer(Kind.OUTCOMES, body) == expected


def test_a_dirty_log_is_told_by_its_pages() -> None:
    body = struct.pack("<IIIII", 3, 7, 2, 0, 511) + struct.pack("<III", 3, 8, 0) + wired(RUN)
    expected = Outcomes((RUN,), (), (DirtyLog(7, (0, 511)), DirtyLog(8, ())))
    assert protocol.answer(Kind.OUTCOMES, body) == expected


BAD_ANSWERS = [
    #  kind              body
    (Kind.OUTCOMES, wired(RUN)[:-1]),
    (Kind.OUTCOMES, wired(RUN)[:20]),
    (Kind.OUTCOMES, struct.pack("<I", 9)),
    (Kind.OUTCOMES, struct.pack("<IIII", 3, 7, 2, 0)),
    (Kind.UNSUPPORTED, b"\0"),
    (Kind.UNSUPPORTED, struct.pack("<III", 99, 0, 0)),
    (Kind.FAILED, b""),
    (Kind.FAILED, b"\0\0\0\0\xff"),
    (Kind.ERROR, b"truncated frame"),
    (0x42, b""),
]


@pytest.mark.parametrize(("kind", "body"), BAD_ANSWERS)
def test_what_is_no_answer_is_an_error_and_never_an_outcome(kind: int, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.answer(kind, body)


def test_a_case_that_was_given_up_says_at_which_step_and_why() -> None:
    answer = protocol.answer(Kind.FAILED, b"\2\0\0\0" + b"KVM_CREATE_VM: no")
    assert answer == Failed("KVM_CREATE_VM: no", 2)
    assert str(answer) == "step 3: KVM_CREATE_VM: no"


INJECTING = replace(HOST, functions={"kvm_gmem_get_pfn": 0x1000})
FAILING = replace(HOST, failing=frozenset({"__kvm_faultin_pfn"}))
NESTED_HOST = replace(HOST, nested=True)

MORE = [
    #  what the host has, a case                                     what is said
    (HOST, "vcpu 3\nrun\nmemlock-limit on\n", ""),
    (INJECTING, "fail kvm_gmem_get_pfn EIO nth=255\nrun\n", ""),
    (
        INJECTING,
        "fail kvm_gmem_bind EIO\nrun\n",
        "step 1: the kernel has no function kvm_gmem_bind of its own",
    ),
    (FAILING, "fail __kvm_faultin_pfn EIO\nrun\n", ""),
    (
        FAILING,
        "fail __kvm_faultin_pfn EHWPOISON\nrun\n",
        "step 1: fail_function cannot return a poisoned pfn",
    ),
    (
        FAILING,
        "fail kvm_gmem_get_pfn EIO\nrun\n",
        "step 1: the kernel does not let kvm_gmem_get_pfn fail",
    ),
    (HOST, "vm nested\nrun\n", "the host's guests have no EL2"),
    (NESTED_HOST, "vm nested\nl1-vtcr illegal\nl1-table 2 0x1000\nl1-map 0x0 0x0\nrun\n", ""),
    (NESTED_HOST, "vm nested\nguest vncr-write 0x1000\nl2 cas 0x1000\nrun\n", ""),
    (
        NESTED_HOST,
        "vm nested\nl2 walk 0x1000\n",
        "step 1: l2 walk: L2 has no table of its own for it",
    ),
    (
        NESTED_HOST,
        "vm nested\nvm cold\nmemory-limit on\nguest read8 0x0\nguest vncr-read 0x0\nrun\n",
        "step 3: a cold L1 has code of its own to run before L2's",
    ),
    (
        replace(INJECTING, nested=True),
        "vm nested\nvm cold\nfail kvm_gmem_get_pfn EIO\nl2 read8 0x0\nrun\n",
        "step 2: a cold L1 has code of its own to run before L2's",
    ),
    (NESTED_HOST, "vm nested\nvm cold\nguest vncr-read 0x0\nl2 read8 0x0\nrun\n", ""),
    (NESTED_HOST, "vm nested\nmemory-limit on\nl2 read8 0x0\nrun\n", ""),
    (NESTED_HOST, "vm nested\nvm cold\nmemory-limit on\nguest read8 0x0\nrun\n", ""),
    (
        NESTED_HOST,
        "vm nested\nguest vncr-read 0x0\nl1-vtcr illegal\nrun\n",
        "step 1: vncr-read: L2's own code may be out of its reach",
    ),
    (
        NESTED_HOST,
        "vm nested\nl1-table 2 0x0\nguest vncr-write 0x0\nrun\n",
        "step 2: vncr-write: L2's own code may be out of its reach",
    ),
    (NESTED_HOST, "vm nested\nl1-table 3 0x0\nl1-vtcr legal\nguest vncr-write 0x0\nrun\n", ""),
    (
        replace(NESTED_HOST, page_size=0x4000),
        "vm nested\nvm page-size=16k\nguest vncr-write 0x0\nrun\n",
        "step 1: vncr-write: no L2 on a host with pages of 16 KiB",
    ),
    (NESTED_HOST, "vm protected\nrun\n", "the executor makes no VM of this kind"),
]


@pytest.mark.parametrize(("host", "content", "said"), MORE)
def test_what_is_played_depends_on_what_the_box_has(host: Host, content: str, said: str) -> None:
    assert str(objection(text.load(content), host) or "") == said


def test_a_greeting_tells_what_the_box_has() -> None:
    told = (
        b"kernel=7.3.4\npage-size=4096\nzva=64\nkvm=1\ncap-el2=1\n"
        b"at-kvm_gmem_get_pfn=ffff80008007e968\nfail-__kvm_faultin_pfn=1\n"
    )
    host = protocol.greeting(protocol.unframed(Kind.HELLO, 0, told))
    assert host.nested
    assert host.functions == {"kvm_gmem_get_pfn": 0xFFFF_8000_8007_E968}
    assert host.failing == {"__kvm_faultin_pfn"}


class Named:
    """A machine that says which it is."""

    def __init__(self, name: str, host: Host) -> None:
        self.host = host
        self._name = name

    def run(self, _: Case) -> Unsupported:
        """Its name, in place of an outcome."""
        return Unsupported(self._name, None)

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        """One, with its name."""
        return (ConsoleFinding(Complaint.WARN, self._name),)


def test_of_two_machines_the_one_for_nested_guests_gets_these_and_no_others() -> None:
    pair = Pair(Named("plain", HOST), Named("nested", NESTED_HOST))
    assert str(pair.run(text.load("run\n"))) == "plain"
    assert str(pair.run(text.load("vm nested\nrun\n"))) == "nested"
    assert pair.host is HOST
    assert [each.line for each in pair.complaints()] == ["plain", "nested"]


SLOT = "create mem0 size=0x1000 {}\nmemslot 0 gpa=0x40000000 size=0x1000 mem0+0x0\n"

UNSUPPORTED = [
    #  case                                            what is said
    ("fail kvm_gmem_get_pfn EIO\n", "step 1: a stock kernel injects no errors"),
    ("run\nforce-exit irq\n", "step 2: no CPU can be asked to do this"),
    ("age slot0\n", "step 1: nothing on the host asks KVM for this when told to"),
    ("run killed vm-dead\n", "step 1: no VMM can ask for killed vm-dead"),
    (
        "guest walk 0x1000000000000\n",
        "step 1: walk: TTBR1_EL1 has no room for a table past 2^48",
    ),
    ("guest dc-cvac 0x0\n", "step 1: dc-cvac: the CPU does nothing for it"),
    (
        f"{SLOT.format('device')}guest walk slot0+0x8\n",
        "step 3: walk: its table is in a device's memory",
    ),
    (
        f"guest at-walk 0x40000ff8\n{SLOT.format('device')}",
        "step 1: at-walk: its table is in a device's memory",
    ),
    (
        "memslot 0 gpa=0x1001 size=0x1000\nguest fetch slot0+0x2\n",
        "step 2: fetch: the CPU does not look at its alignment, or too late",
    ),
]


@pytest.mark.parametrize(("content", "said"), UNSUPPORTED)
def test_what_no_machine_of_this_kind_can_do_is_said_with_its_step(content: str, said: str) -> None:
    assert str(objection(text.load(content), HOST)) == said


SUPPORTED = [
    "vm ipa-bits=42\nvm nisv-to-user\nvm sea-to-user\nvm cold\n",
    "guest walk 0xfffffffff000\nguest read64 0x1000000000000\n",
    "create mem0 size=0x200000 thp\ncreate mem1 size=0x200000 hugetlb\ndirty-log slot0\n",
    "create mem0 size=0x1000 anon\nuserfault mem0+0x0 size=0x1000 missing\n",
    "run immediate-exit bad-argument other-mm signal\n",
    f"{SLOT.format('device')}guest walk 0x40001000\nguest read64 slot0+0x0\n",
    f"{SLOT.format('anon')}guest walk slot0+0x0\n",
    "memslot 0 gpa=0x1001 size=0x1000\nguest fetch slot0+0x3\n",
    "create mem0 size=0x1000 file\npoison mem0+0x0\nmemory-limit on\n",
]


@pytest.mark.parametrize("content", SUPPORTED)
def test_what_a_stock_host_can_do_is_not_objected_to(content: str) -> None:
    assert objection(text.load(content), HOST) is None


@needs_compiler
def test_a_machine_without_kvm_plays_nothing_and_says_so(tmp_path: Path) -> None:
    with Process(decoder(tmp_path)) as process:
        machine = LiveMachine(process)
        assert machine.run(text.load("run\n")) == Unsupported("the host has no KVM", None)


@needs_compiler
def test_an_executor_that_dies_is_reported_and_one_that_was_restarted_answers(
    tmp_path: Path,
) -> None:
    with Process(decoder(tmp_path)) as process:
        machine = LiveMachine(process)
        process.channel.shutdown(socket.SHUT_WR)  # the end of its input
        with pytest.raises(BoxError, match="the executor is gone"):
            machine.ask(b"")
        process.restart()
        with pytest.raises(ProtocolError, match="not a header and whole records"):
            machine.ask(b"")
