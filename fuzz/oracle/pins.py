"""What only today's source says: a difference is worth a note, and never a finding.

No document promises any of this, so the next kernel may do otherwise and be right. Each function
says in what a KVM_RUN differs from Linux 7.3.4, or None; a pin that is not sure is silent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from emu.abi import Errno, ExitReason, errno_name, reason_name
from emu.access import Direction
from emu.outcome import RunOutcome
from emu.steps import RunFlag
from fuzz.oracle.view import DOCUMENTED, View

PINNED: Final = "v7.3"

_EARLY: Final = RunFlag.IMMEDIATE_EXIT | RunFlag.BAD_ARGUMENT | RunFlag.OTHER_MM | RunFlag.KILLED
_KNOWN_ERRNOS: Final = frozenset(
    {
        Errno.EINTR,
        Errno.EIO,
        Errno.EFAULT,
        Errno.EHWPOISON,
        Errno.ENOMEM,
        Errno.EINVAL,
        Errno.ENOSYS,
        Errno.ENOEXEC,
        Errno.EPERM,
    }
)


@dataclass(frozen=True, slots=True)
class Pin:
    """A pin: its id and title, the outcomes that it is about, and what tells the difference."""

    id: str
    title: str
    when: Callable[[RunOutcome], bool]
    check: Callable[[View], str | None]


class Note(NamedTuple):
    """A pin that a KVM_RUN differs from: its id, and in what."""

    pin: str
    reason: str


def interrupted_says_so(view: View) -> str | None:
    """P1. EINTR comes with INTR, but for immediate_exit and what ends a call before the loop."""
    if view.flags & _EARLY or view.run.exit_reason == ExitReason.INTR:
        return None
    return f"EINTR came with {reason_name(view.run.exit_reason)}, not INTR"


def enosys_has_no_reason(view: View) -> str | None:
    """P2. io_mem_abort() fills nothing where it returns ENOSYS."""
    if view.run.exit_reason == ExitReason.UNKNOWN:
        return None
    return f"ENOSYS came with {reason_name(view.run.exit_reason)}, not UNKNOWN"


def fault_has_no_flags(view: View) -> str | None:
    """P3. memory_fault.flags is 0: arm64 has no memory attributes, and takes every access for a
    shared one.
    """
    flags = view.run.union[0]
    return f"memory_fault.flags is {flags:#x}, not 0" if flags else None


def user_fault_has_no_reason(view: View) -> str | None:
    """P4. An errno of the two without MEMORY_FAULT leaves exit_reason UNKNOWN."""
    reason = view.run.exit_reason
    if reason in (ExitReason.UNKNOWN, ExitReason.MEMORY_FAULT):
        return None
    return f"{errno_name(view.run.errno)} came with {reason_name(reason)}, not UNKNOWN"


def fetch_stays_inside(view: View) -> str | None:
    """P5. A fetch outside the slots is an abort for the guest and never leaves KVM_RUN (A10)."""
    target, scene = view.target, view.scene
    if target is None or target.direction is not Direction.FETCH or not target.is_plain:
        return None
    if scene.forced_abort or scene.injected or scene.slot_at(target.pages[0]) is not None:
        return None
    told = errno_name(view.run.errno) if view.run.ret < 0 else reason_name(view.run.exit_reason)
    return f"a fetch outside the slots ended with {told}, not with an exception for the guest"


def protected_vm_has_no_fault_exit(view: View) -> str | None:
    """P6. pkvm_mem_abort() never fills MEMORY_FAULT, whatever backs the slot."""
    return "MEMORY_FAULT was filled in a protected VM" if view.vm.protected else None


def errno_is_known(view: View) -> str | None:
    """P7. KVM_RUN fails with no other errno than these, unless one was injected."""
    if view.run.injected or view.vm.protected or view.scene.injected:
        return None
    return f"KVM_RUN failed with {errno_name(view.run.errno)}"


def _is_filled(run: RunOutcome) -> bool:
    return run.exit_reason == ExitReason.MEMORY_FAULT and run.fresh


PINS: Final[tuple[Pin, ...]] = (
    Pin(
        "P1",
        "EINTR comes with INTR",
        lambda run: run.ret < 0 and run.errno == Errno.EINTR and not run.stuck,
        interrupted_says_so,
    ),
    Pin(
        "P2",
        "ENOSYS comes with UNKNOWN",
        lambda run: run.ret < 0 and run.errno == Errno.ENOSYS,
        enosys_has_no_reason,
    ),
    Pin("P3", "memory_fault.flags is 0", _is_filled, fault_has_no_flags),
    Pin(
        "P4",
        "EFAULT without MEMORY_FAULT comes with UNKNOWN",
        lambda run: run.ret < 0 and run.errno in DOCUMENTED,
        user_fault_has_no_reason,
    ),
    Pin(
        "P5",
        "a fetch outside the slots stays inside",
        lambda run: run.ret >= 0 or run.errno in (Errno.EFAULT, Errno.ENOSYS, Errno.ENOMEM),
        fetch_stays_inside,
    ),
    Pin(
        "P6",
        "a protected VM gets no MEMORY_FAULT",
        _is_filled,
        protected_vm_has_no_fault_exit,
    ),
    Pin(
        "P7",
        "KVM_RUN fails with an errno that is known",
        lambda run: run.ret < 0 and run.errno not in _KNOWN_ERRNOS,
        errno_is_known,
    ),
)


def notes(view: View) -> tuple[Note, ...]:
    """In what a KVM_RUN differs from Linux 7.3.4. Nothing is said after a race."""
    if view.is_raced:
        return ()
    told = ((pin.id, pin.check(view)) for pin in PINS if pin.when(view.run))
    return tuple(Note(pin, reason) for pin, reason in told if reason is not None)
