"""Errors forced on a running kernel: a function returns an errno that it never came to.

A thread serves the gdbstub of one box. The executor asks it by an ioctl that no kernel knows, at
whose function in KVM it has a breakpoint: so there is no word between them that could come late.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from emu.abi import Errno
from emu.injection import Site
from emu.live.gdbstub import Registers, Stub, StubError
from emu.live.trouble import BoxError

HOOK: Final = "kvm_arch_dev_ioctl"  # arch/arm64/kvm/arm.c: what /dev/kvm does not know comes here

FUNCTIONS: Final = (HOOK, *(site.value for site in Site))
TELL_FUNCTIONS: Final = "tell-functions"  # to the executor, on the kernel's command line

_SITES: Final = tuple(Site)
_ERRNOS: Final = tuple(Errno)
# KVM_PFN_ERR_FAULT and KVM_PFN_ERR_HWPOISON, include/linux/kvm_host.h: __kvm_faultin_pfn()
# returns a pfn, and there is one for either.
_PFN_ERROR: Final = 0x7FF << 52
_PFN_POISONED: Final = _PFN_ERROR + 1


class Ask(IntEnum):
    """The ioctl's number."""

    FAIL = 0x47464601  # a record's a, b and c: code of the site, code of the errno, nth - 1
    FORGET = 0x47464602
    FIRED = 0x47464603  # how many errors were injected since; at site N where the argument is N + 1


@dataclass(slots=True)
class _Waiting:
    """An error that waits for the nth call of a function."""

    address: int
    result: int
    remaining: int


class Injector:
    """The breakpoints of one machine. ``functions``: its kernel's, by their names."""

    def __init__(
        self, connection: socket.socket, functions: Mapping[str, int], end: Callable[[], None]
    ) -> None:
        """The machine runs, or is about to; when this returns the executor can ask.

        ``end``: ends the machine, which stands still where its stub is not to be understood.
        """
        self.trouble = ""
        self._end = end
        self._stub = Stub(connection)
        self._functions = functions
        self._waiting: list[_Waiting] = []
        self._fired: list[int] = []  # the addresses of the functions that failed
        self._stub.attach()
        self._stub.insert(functions[HOOK])
        self._stub.go_on()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until it is done; it is when its machine is gone."""
        self._thread.join()

    def _serve(self) -> None:
        try:
            while True:
                self._stub.wait()
                self._stopped(self._stub.registers())
                self._stub.go_on()
        except StubError as error:
            self.trouble = str(error)
            self._end()
        except BoxError:
            pass  # the machine's end: whoever waits for its answer notices

    def _stopped(self, registers: Registers) -> None:
        if registers.pc == self._functions[HOOK]:
            self._leave(registers, self._answer(registers.argument(1), registers.argument(2)))
            return
        due = self._counted(registers.pc)
        if due is not None:
            self._waiting.remove(due)
            self._fired.append(due.address)
            self._clear(due.address)
            self._leave(registers, due.result)
        elif any(each.address == registers.pc for each in self._waiting):
            self._step_over(registers.pc)

    def _counted(self, address: int) -> _Waiting | None:
        """The error that this call of a function fails with. Like the model, one that waits behind
        it does not count the call.
        """
        for each in self._waiting:
            if each.address == address:
                each.remaining -= 1
                if not each.remaining:
                    return each
        return None

    def _answer(self, number: int, argument: int) -> int:
        match number:
            case Ask.FAIL:
                return self._fail(argument)
            case Ask.FORGET:
                addresses = {each.address for each in self._waiting}
                self._waiting, self._fired = [], []
                for address in addresses:
                    self._stub.remove(address)
                return 0
            case Ask.FIRED:
                return self._count(argument)
            case _:
                return -Errno.EINVAL  # as the kernel's own function

    def _count(self, argument: int) -> int:
        if not argument:
            return len(self._fired)
        return self._fired.count(self._functions.get(_SITES[argument - 1].value, 0))

    def _fail(self, argument: int) -> int:
        site, errno = _SITES[argument & 0xFF], _ERRNOS[argument >> 8 & 0xFF]
        address = self._functions.get(site.value)
        if address is None:
            return -Errno.ENOENT
        if not any(each.address == address for each in self._waiting):
            self._stub.insert(address)
        self._waiting.append(_Waiting(address, _result(site, errno), (argument >> 16 & 0xFF) + 1))
        return 0

    def _leave(self, registers: Registers, result: int) -> None:
        registers.leave(result)
        self._stub.set_registers(registers)

    def _clear(self, address: int) -> None:
        """Take the breakpoint away where nothing waits for it any more."""
        if not any(each.address == address for each in self._waiting):
            self._stub.remove(address)

    def _step_over(self, address: int) -> None:
        self._stub.remove(address)
        self._stub.step()
        while self._stub.registers().pc == address:  # a busy QEMU stops before it did anything
            self._stub.step()
        self._stub.insert(address)


def _result(site: Site, errno: Errno) -> int:
    if site is Site.KVM_FAULTIN_PFN:
        return _PFN_POISONED if errno is Errno.EHWPOISON else _PFN_ERROR
    return -errno
