"""Clauses about what a KVM_RUN may end in at all: which errnos, how many consequences, and when.

Functions as in ``fuzz.oracle.clauses``.
"""

from typing import Final

from emu.abi import Errno, ExitReason, errno_name, reason_name
from emu.access import Direction
from emu.case import VcpuState
from emu.outcome import IDLE, RunOutcome
from emu.steps import RunFlag
from fuzz.oracle.syndrome import is_abort
from fuzz.oracle.view import View

MEANINGLESS: Final = frozenset({Errno.EAGAIN, Errno.ENOENT, Errno.EEXIST, Errno.ENOEXEC})

# What a fault of the guest ends in for the VMM. Not EINTR and EIO: a signal, or the end of the VM,
# may come after an exception was queued for the guest.
_FAULT_ERRNOS: Final = frozenset({Errno.EFAULT, Errno.EHWPOISON, Errno.ENOMEM, Errno.ENOSYS})
_FAULT_REASONS: Final = frozenset(
    {
        ExitReason.MMIO,
        ExitReason.ARM_NISV,
        ExitReason.ARM_LDST64B,
        ExitReason.ARM_SEA,
        ExitReason.MEMORY_FAULT,
    }
)


def is_consequence(run: RunOutcome) -> bool:
    """Whether the call ended with a fault that is the VMM's to deal with."""
    if run.ret < 0:
        return run.errno in _FAULT_ERRNOS
    return run.exit_reason in _FAULT_REASONS


def errno_has_a_meaning(view: View) -> str | None:
    """C9. Without injection, no errno leaves KVM_RUN that it cannot mean.

    api.rst lists KVM_RUN's errnos. EAGAIN, ENOENT and EEXIST are how KVM's page tables and lookups
    talk to their callers, and are not among them; ENOEXEC is, for a vCPU that was not initialised
    and for instructions in device memory. Silent about a protected VM, whose hypervisor has errnos
    of its own, and after a forced abort.
    """
    run, vm = view.run, view.vm
    if run.injected or vm.protected or view.scene.forced_abort or view.scene.forced_exit:
        return None
    if run.errno == Errno.ENOEXEC and (vm.vcpu is VcpuState.UNINITIALIZED or _fetches(view)):
        return None
    return f"KVM_RUN failed with {errno_name(run.errno)}, which it cannot mean"


def _fetches(view: View) -> bool:
    """Whether the guest may be at instructions in device memory."""
    target = view.target
    return target is not None and target.direction is Direction.FETCH


def fault_has_one_consequence(view: View) -> str | None:
    """C10. One access has one consequence: an exception for the guest, or an exit for the VMM.

    From the source: kvm_handle_guest_abort() resumes the guest where it queued an exception. With
    both, a VMM that repairs and retries finds the guest in its handler. Silent after a forced exit
    or abort.
    """
    run = view.run
    if run.access == IDLE or view.scene.forced_abort or view.scene.forced_exit:
        return None
    told = errno_name(run.errno) if run.ret < 0 else reason_name(run.exit_reason)
    if takes_exception(view):
        return f"{told} for the VMM, and an exception for the guest, of the same access"
    return None


def takes_exception(view: View) -> bool:
    """Whether the guest took an exception for the access that it is at, or stands at its vector
    and takes it next. At an MMIO exit the PC may as well be past the access already, and what comes
    next the end of its emulation.
    """
    run = view.run
    if any(step == run.access for step, _ in run.exceptions):
        return True
    emulated = view.was_emulated or (run.ret >= 0 and run.exit_reason == ExitReason.MMIO)
    later = view.next if run.moved and not emulated else None
    if later is None or not later.exceptions:
        return False
    step, esr = later.exceptions[0]
    return step == run.access and is_abort(esr)


def fault_ends(view: View) -> str | None:
    """C11. A fault is served or leaves: it does not repeat for ever while nothing changes.

    Said on the list of livelocks in the fault path. Silent where something may change or was made
    to happen: a race, an injection, a forced exit, a userfaultfd. A limit of memory is no reason:
    the VMM that could lift it is not told.
    """
    scene = view.scene
    forced = scene.forced_abort or scene.forced_exit or bool(scene.injected)
    if forced or view.run.injected or view.is_raced or scene.backing.has_userfaultfd:
        return None
    target = view.target
    if target is None:
        return "the guest makes no progress, at no access of its own"
    if target.is_l2 and target.direction in (Direction.MAINTENANCE, Direction.WALK):
        return None  # which of L1's permissions it needs is the CPU's matter
    return f"the guest takes the same fault for ever: {target.access.value} at {target.first:#x}"


def others_are_left_alone(view: View) -> str | None:
    """C17. A KVM_RUN writes no other vCPU's kvm_run.

    Inferred: api.rst gives each vCPU its own. Silent where a race may have run the other.
    """
    if view.is_raced:
        return None
    return "another vCPU's kvm_run is not what it was"


def dead_vm_stays_dead(view: View) -> str | None:
    """C18. Once KVM_RUN said EIO because the VM is dead, every later one says so.

    From the source: KVM_REQ_VM_DEAD is never cleared, and vm_dead is asked before all else. Silent
    where an EIO was injected.
    """
    if view.flags & _NOT_DEAD or not view.flags & RunFlag.VM_DEAD or view.timeline.has_race:
        return None
    if any(errno == Errno.EIO for _, errno in view.scene.injected):
        return None  # that EIO may be what was injected
    for run in view.timeline.outcomes.runs[view.number + 1 :]:
        if run.ret >= 0 or run.errno != Errno.EIO:
            told = errno_name(run.errno) if run.ret < 0 else str(run.ret)
            return f"the VM died here, and a later KVM_RUN returned {told}"
    return None


# With these, EIO or another end comes before the request is looked at.
_NOT_DEAD: Final = (
    RunFlag.OTHER_MM
    | RunFlag.KILLED
    | RunFlag.BAD_ARGUMENT
    | RunFlag.IMMEDIATE_EXIT
    | RunFlag.SIGNAL
)
