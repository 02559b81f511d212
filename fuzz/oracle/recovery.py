"""Clauses about a fault exit and what is left for the VMM to do: repair, and run again.

Functions as in ``fuzz.oracle.clauses``.
"""

from typing import Final

from emu.abi import PAGE_MASK, Errno, ExitReason, errno_name
from emu.access import Access, Direction
from emu.injection import Site
from emu.outcome import IDLE, RunOutcome
from emu.steps import MemoryLimit
from fuzz.oracle.consequences import takes_exception
from fuzz.oracle.reach import Target
from fuzz.oracle.scene import Scene
from fuzz.oracle.view import View

_UNSERVED: Final = frozenset({Errno.EFAULT, Errno.EHWPOISON, Errno.ENOMEM})
# Several registers are loaded, one after the other, and a fault may come between.
_LOADS_SEVERAL: Final = frozenset({Access.READ_PAIR, Access.READ_SIMD_MULTIPLE, Access.CASP})


def is_undecoded(run: RunOutcome) -> bool:
    """Whether the call says that the access cannot be decoded by KVM."""
    if run.ret < 0:
        return run.errno == Errno.ENOSYS
    return run.exit_reason == ExitReason.ARM_NISV


def is_unserved(run: RunOutcome) -> bool:
    """Whether the call failed for want of memory that could have served the access."""
    return run.ret < 0 and run.errno in _UNSERVED


def can_be_retried(view: View) -> str | None:
    """C12. After a fault exit the guest is as it was before the access; once repaired, it succeeds.

    api.rst lets userspace resolve the fault and run again; the selftest mmu_stress_test relies on
    both. So: neither PC nor registers changed, and no failure of an access that nothing keeps from
    being served: slots that are there, memory that is, and neither a memory error nor a limit.
    """
    return _is_as_before(view) or _is_served(view)


def _is_as_before(view: View) -> str | None:
    run = view.run
    if run.access == IDLE or not (run.moved or run.changed):
        return None
    scene = view.scene
    if scene.forced_abort or scene.forced_exit or takes_exception(view):
        return None  # forced, or told by C10
    if view.was_emulated:
        return None
    if run.moved:
        return f"the guest's PC is past the access that failed with {_told(run)}"
    if _may_be_half_done(view):
        return None
    return f"a register changed although the access failed with {_told(run)}"


def _told(run: RunOutcome) -> str:
    return errno_name(run.errno) if run.ret < 0 else "an exit for emulation"


def _may_be_half_done(view: View) -> bool:
    """Whether the first part of the access may have loaded its register."""
    target = view.target
    if target is None or target.access not in _LOADS_SEVERAL:
        return False
    return not target.known or target.first & PAGE_MASK != target.last & PAGE_MASK


def _is_served(view: View) -> str | None:
    run, vm = view.run, view.vm
    # A protected VM and one with MTE have more ways to fail than are known here.
    if not is_unserved(run) or vm.protected or vm.mte or view.flags:
        return None
    if run.errno == Errno.ENOMEM and MemoryLimit not in view.timeline.kinds:
        return None  # the host itself may be short of memory
    scene, target = view.scene, view.target
    if target is None or not target.is_plain or target.direction is Direction.HINT:
        return None
    if scene.injected or scene.forced_abort or scene.forced_exit or scene.memory_is_limited:
        return None
    if run.errno == Errno.EHWPOISON and not _was_poisoned(scene, target):
        return None  # C15
    if run.errno == Errno.ENOMEM and not scene.memory_was_limited:
        return None
    write = target.writes or target.access is Access.WALK_AF
    if all(scene.can_be_had_at(page, write=write) for page in target.pages):
        where = f"{target.access.value} at {target.first:#x}"
        return (
            f"{where} failed with {errno_name(run.errno)}, and nothing keeps it from being served"
        )
    return None


def _was_poisoned(scene: Scene, target: Target) -> bool:
    pages = map(scene.file_page_at, target.pages)
    return any(page is not None and scene.files.was_poisoned(page) for page in pages)


def poison_has_a_page(view: View) -> str | None:
    """C15. EHWPOISON is told of an access to a page with a memory error.

    The errno means that (include/uapi/asm-generic/errno.h): a VMM hands such an error on to its
    guest. Silent where the case put an error in the VMM's own memory, or injected this errno.
    """
    target, scene = view.target, view.scene
    if target is None or not target.known or scene.forced_abort or scene.backing.has_poison:
        return None
    if any(errno == Errno.EHWPOISON for _, errno in scene.injected):
        return None
    if _was_poisoned(scene, target):
        return None
    return f"EHWPOISON for {target.access.value} at {target.first:#x}, which has no memory error"


def poison_is_told(view: View) -> str | None:
    """C16. A guest_memfd page with a memory error is told by EHWPOISON.

    What the thread keeps in every proposal. api.rst does not say which of the two errnos, so only
    ``paranoid`` asks for it. Silent if another page of the access, or an injection, may be why.
    """
    run, target, scene = view.run, view.target, view.scene
    if target is None or not target.known or scene.forced_abort or view.vm.protected:
        return None
    if any(_may_fail_first(site) for site, _ in scene.injected) or scene.memory_is_limited:
        return None
    if all(_is_just_poisoned(scene, page) for page in target.pages):
        return f"{errno_name(run.errno)} for a page with a memory error"
    return None


def _is_just_poisoned(scene: Scene, address: int) -> bool:
    page = scene.file_page_at(address)
    return page is not None and scene.files.is_poisoned(page) and not scene.files.is_released(page)


def _may_fail_first(site: Site) -> bool:
    return site is not Site.KVM_GMEM_BIND
