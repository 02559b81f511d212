"""How a KVM_RUN may end that does not come to the guest's accesses at all.

api.rst (KVM_RUN, its errnos and exit reasons) and the facts on what stands before and in the run
loop. Which of several comes first is not told.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from emu.abi import Errno, ExitReason
from emu.case import VcpuState
from emu.injection import CpuExit, Site
from emu.steps import RunFlag
from fuzz.expectation.effects import Exit
from fuzz.expectation.premises import Premises

OF_FLAG: Final = {
    RunFlag.OTHER_MM: Exit(-1, Errno.EIO, None),
    RunFlag.KILLED: Exit(-1, Errno.EINTR, None),
    RunFlag.BAD_ARGUMENT: Exit(-1, Errno.EINVAL, None),
    RunFlag.IMMEDIATE_EXIT: Exit(-1, Errno.EINTR, None),
    RunFlag.SIGNAL: Exit(-1, Errno.EINTR, ExitReason.INTR),
    RunFlag.VM_DEAD: Exit(-1, Errno.EIO, None),
    RunFlag.SUSPEND: Exit(0, 0, ExitReason.SYSTEM_EVENT),
    RunFlag.DIRTY_RING_FULL: Exit(0, 0, ExitReason.DIRTY_RING_FULL),
    RunFlag.IRQ_LINE: Exit(-1, Errno.EINTR, ExitReason.INTR),
    RunFlag.CPU_UNSUPPORTED: Exit(0, 0, ExitReason.FAIL_ENTRY),
}
OF_VCPU: Final = {
    VcpuState.UNINITIALIZED: Exit(-1, Errno.ENOEXEC, None),
    VcpuState.UNFINALIZED: Exit(-1, Errno.EPERM, None),
}
# An interrupt and an SError are the host's matter, and the guest is entered again.
OF_CPU: Final = {
    CpuExit.ILLEGAL_RETURN: Exit(-1, Errno.EINVAL, ExitReason.FAIL_ENTRY),
    CpuExit.HYP_GONE: Exit(0, 0, ExitReason.FAIL_ENTRY),
    CpuExit.UNKNOWN: Exit(0, 0, ExitReason.INTERNAL_ERROR),
}
DEAD: Final = OF_FLAG[RunFlag.VM_DEAD]


def must_end(premises: Premises, flags: int, *, dead: bool) -> set[Exit]:
    """The ways to end of a KVM_RUN that cannot come to the guest; none: it comes to the guest."""
    found = {exit_ for flag, exit_ in OF_FLAG.items() if flags & flag}
    if premises.vm.vcpu in OF_VCPU:
        found.add(OF_VCPU[premises.vm.vcpu])
    if dead:
        found.add(DEAD)
    return found.union(_of_start(premises)) if found else found


def may_end(worlds: Sequence[Premises]) -> set[Exit]:
    """The ways in which it may end before the guest or anywhere in it, by what was forced."""
    return {exit_ for premises in worlds for exit_ in (*_of_start(premises), *_of_cpu(premises))}


def _of_start(premises: Premises) -> Iterator[Exit]:
    for failure in premises.failures:
        if failure.site is Site.KVM_ARCH_VCPU_RUN_PID_CHANGE:
            yield Exit(-1, failure.errno, None)


def _of_cpu(premises: Premises) -> Iterator[Exit]:
    return (OF_CPU[exit_] for exit_ in premises.exits if exit_ in OF_CPU)
