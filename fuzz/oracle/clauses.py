"""Clauses about the fault report itself: when it is due, when it is not, and what it says.

Each function has a KVM_RUN before it that ``contract`` found worth asking about, and says why
the clause is broken, or None. A clause that is not sure is silent.
"""

from typing import Final

from emu.abi import (
    MEMORY_EXIT_FLAG_PRIVATE,
    Errno,
    ExitReason,
    errno_name,
    reason_name,
)
from emu.case import VcpuState
from emu.injection import Site
from emu.outcome import RunOutcome
from emu.steps import PoisonGmem, ReleaseGmem, RunFlag
from fuzz.oracle.reach import Target
from fuzz.oracle.scene import Scene, Slot
from fuzz.oracle.syndrome import is_external_abort
from fuzz.oracle.view import DOCUMENTED, View


def returns_minus_one(view: View) -> str | None:
    """C1. A fresh MEMORY_FAULT is delivered with return value -1.

    api.rst calls it the only exit that comes with -1 instead of 0.
    """
    if view.run.ret >= 0:
        return f"MEMORY_FAULT was filled, but KVM_RUN returned {view.run.ret}"
    return None


def documented_errno(view: View) -> str | None:
    """C2, the leak. A fresh MEMORY_FAULT comes with EFAULT or EHWPOISON.

    api.rst says that errno will be one of the two. Its next sentence, that exit_reason is stale for
    any other errno, is what the reading ``documented`` grants instead.
    """
    if view.run.errno not in DOCUMENTED:
        return f"MEMORY_FAULT was filled under {errno_name(view.run.errno)}"
    return None


def written_for_this_fault(view: View) -> str | None:
    """C3. MEMORY_FAULT under one of the two errnos was written for the fault that failed the call.

    api.rst, 8.44: the fields are valid exactly then, so a record of an earlier event misleads.
    """
    if not view.run.fresh:
        return "MEMORY_FAULT was kept from an earlier KVM_RUN, and errno vouches for it"
    target = view.target
    if target is None:
        return "MEMORY_FAULT was filled, but the guest is at no access"
    if not target.known:
        return None
    if not any(view.scene.gmem_slot_at(page) for page in target.pages):
        return "MEMORY_FAULT tells of another fault: this access touches no guest_memfd"
    if view.is_of_an_earlier_fault:
        return "MEMORY_FAULT tells of an access that the guest has gone on from"
    return None


def names_the_page(view: View) -> str | None:
    """C4. gpa and size are the host page of the fault, inside its slot, with defined flags only.

    api.rst: the range is [gpa, gpa + size); the only defined flag is PRIVATE, which says that the
    access was to private memory, and all memory of a file with INIT_SHARED is shared. For L2's
    access the page is that of L1 where L1's stage 2 leads. Silent about a record that is not this
    access's at all (C3).
    """
    target = view.target
    if target is None or not target.known or view.is_of_an_earlier_fault:
        return None
    slots = [view.scene.gmem_slot_at(page) for page in target.pages]
    if not any(slots):
        return None
    return _field_error(view.run, target, slots, view.scene) or _page_error(view, target)


def _field_error(
    run: RunOutcome, target: Target, slots: list[Slot | None], scene: Scene
) -> str | None:
    flags, gpa, size, _ = run.union
    page = target.page_size
    if size != page:
        return f"memory_fault.size is {size:#x}, a page is {page:#x}"
    if gpa & page - 1:
        return f"memory_fault.gpa {gpa:#x} is not page-aligned"
    if flags & ~MEMORY_EXIT_FLAG_PRIVATE:
        return f"memory_fault.flags {flags:#x} has undefined bits"
    if gpa not in target.pages:
        whose = "that L1 maps for the access" if target.is_l2 else "of the access"
        return f"memory_fault.gpa {gpa:#x} is not a page {whose} at {target.first:#x}"
    if not any(slot and slot.base <= gpa < slot.base + slot.size for slot in slots):
        return f"memory_fault.gpa {gpa:#x} lies in no guest_memfd slot"
    page_of_file = scene.file_page_at(gpa)
    if flags and page_of_file is not None and scene.files.is_shared(page_of_file):
        return f"memory_fault.flags {flags:#x} says private, the file is INIT_SHARED"
    return None


def _page_error(view: View, target: Target) -> str | None:
    """Whether another page of the access is named than the one that cannot be had."""
    failing = [page for page in target.pages if view.scene.gmem_fails_at(page)]
    gpa = view.run.union[1]
    if len(failing) == 1 and gpa != failing[0] and not view.run.injected:
        if view.scene.memory_was_limited:
            return None  # the other page may have failed for want of memory
        return f"memory_fault.gpa {gpa:#x} is a page that can be had, {failing[0]:#x} cannot"
    return None


def failed_lookup_is_told(view: View) -> str | None:
    """C5. A guest_memfd lookup that failed with one of the two errnos is reported as MEMORY_FAULT.

    The thread takes it for granted; without it a VMM cannot tell which page to repair, and neither
    can it if the guest is handed an external abort instead. Silent if anything else could have
    failed the call with one of them, or caused the abort: memory of another kind in the same
    access, an abort that the case forced, such an errno injected elsewhere; and in a protected VM,
    which guest_memfd does not serve.
    """
    return _untold_error(view) or _untold_abort(view)


def _untold_error(view: View) -> str | None:
    run = view.run
    told = run.exit_reason == ExitReason.MEMORY_FAULT and run.fresh
    if run.ret >= 0 or run.errno not in DOCUMENTED or told or view.vm.protected:
        return None
    scene, target = view.scene, view.target
    if target is None or not target.known or scene.forced_abort:
        return None
    if any(_fails_elsewhere(site, errno) for site, errno in scene.injected):
        return None
    if not all(scene.gmem_slot_at(page) for page in target.pages):
        return None
    if (Site.KVM_GMEM_GET_PFN, run.errno) in scene.injected or any(
        scene.gmem_fails_at(page) for page in target.pages
    ):
        return (
            f"guest_memfd failed with {errno_name(run.errno)}, "
            f"but exit_reason is {reason_name(run.exit_reason)}"
        )
    return None


def _untold_abort(view: View) -> str | None:
    if view.timeline.kinds.isdisjoint(_LOSES_PAGES):
        return None
    scene = view.scene
    if scene.injected or scene.forced_abort or view.vm.protected:
        return None
    if (target := aborted(view)) is None:
        return None
    return f"guest_memfd failed at {target.first:#x}, but the guest got an external abort"


def aborted(view: View) -> Target | None:
    """The access that guest_memfd failed, and that the guest went past with an external abort."""
    scene = view.scene
    for step, esr in view.run.exceptions:
        if step == view.run.access or not is_external_abort(esr):
            continue  # C10's matter, or another exception
        target = scene.target(step)
        if target is not None and target.is_plain and all(map(scene.gmem_fails_at, target.pages)):
            return target
    return None


def took_external_abort(run: RunOutcome) -> bool:
    """Whether the guest took an external abort."""
    return any(is_external_abort(esr) for _, esr in run.exceptions)


def _fails_elsewhere(site: Site, errno: Errno) -> bool:
    """Whether the injection could fail a KVM_RUN with one of the two without a lookup."""
    if site is Site.KVM_FAULTIN_PFN:
        return True  # every error of the VMM's own memory ends as EFAULT
    in_run = site not in (Site.KVM_GMEM_GET_PFN, Site.KVM_GMEM_BIND)
    return in_run and errno in DOCUMENTED


def success_has_a_reason(view: View) -> str | None:
    """C6. A KVM_RUN that returns 0 has an exit_reason. Inferred: there is nothing else to read."""
    if view.run.exit_reason == ExitReason.UNKNOWN:
        return f"KVM_RUN returned {view.run.ret} and exit_reason is UNKNOWN"
    return None


def nothing_is_left_behind(view: View) -> str | None:
    """C7. Another errno leaves no fresh record of the fault in the exit union.

    The thread weighs it; userspace may not look there, so only ``paranoid`` asks for it.
    """
    target = view.target
    if target is None:
        return None
    _, gpa, size, _ = view.run.union
    at_fault = target.known and target.is_named_by(gpa & -target.page_size)
    page_of_fault = at_fault or view.is_of_an_earlier_fault
    if size == target.page_size and page_of_fault and view.scene.gmem_slot_at(gpa):
        return f"{errno_name(view.run.errno)} left the fault's gpa {gpa:#x} in the exit union"
    return None


def early_exit_adds_nothing(view: View) -> str | None:
    """C8. immediate_exit, and an error before the run loop, add nothing to kvm_run.

    exit_reason is what it was before the call, or UNKNOWN, and no record is written. Said of
    immediate_exit on the list (Sean Christopherson, 2023); the other errors are like it.
    """
    run = view.run
    if not fails_early(view):
        return None
    if run.exit_reason not in (run.before, ExitReason.UNKNOWN):
        return (
            f"{errno_name(run.errno)} before the guest ran turned exit_reason "
            f"{reason_name(run.before)} into {reason_name(run.exit_reason)}"
        )
    if run.fresh:
        return f"{errno_name(run.errno)} before the guest ran wrote into the exit union"
    return None


_LOSES_PAGES: Final = frozenset({ReleaseGmem, PoisonGmem})

_EARLY: Final = (
    (int(RunFlag.OTHER_MM), Errno.EIO),
    (int(RunFlag.KILLED), Errno.EINTR),
    (int(RunFlag.BAD_ARGUMENT), Errno.EINVAL),
)


# What such a call can fail with.
EARLY_ERRNOS: Final = frozenset({Errno.EIO, Errno.EINTR, Errno.EINVAL, Errno.ENOEXEC, Errno.EPERM})


def fails_early(view: View) -> bool:
    """Whether the call failed as one of its kind does before the guest runs."""
    return view.run.errno == _early_errno(view)


def _early_errno(view: View) -> Errno | None:
    """With what a call of this kind fails before the guest runs."""
    for flag, errno in _EARLY:
        if view.flags & flag:
            return errno
    if view.vm.vcpu is not VcpuState.READY:  # that of the others may be another
        if view.run.vcpu:
            return None
        return Errno.ENOEXEC if view.vm.vcpu is VcpuState.UNINITIALIZED else Errno.EPERM
    return Errno.EINTR if view.flags & RunFlag.IMMEDIATE_EXIT else None
