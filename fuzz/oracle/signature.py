"""What is the same finding: a clause, the place that filled, and natural or injected.

The place is told from the case, so that it is the same on a model and on a real kernel.
"""

from typing import Final, NamedTuple

from emu.access import ACCESS_FACTS, Direction
from fuzz.oracle.clauses import aborted, fails_early
from fuzz.oracle.emulation import emulation
from fuzz.oracle.judge import Breach
from fuzz.oracle.reach import Target
from fuzz.oracle.view import Timeline, View


class Signature(NamedTuple):
    """One cause. ``natural``: no error was injected before the breach."""

    clause: str
    site: str
    natural: bool

    def __str__(self) -> str:
        return f"{self.clause}-{self.site}-{'natural' if self.natural else 'injected'}"


def signature(timeline: Timeline, breach: Breach) -> Signature:
    """The signature of a breach by the judge of the timeline's case and outcomes."""
    view = View(timeline, breach.run)
    return Signature(breach.clause, _site(view, breach.clause), not view.run.injected)


def _site(view: View, clause: str) -> str:
    """Which part of the kernel must have spoken, by its function's name where there is one."""
    if clause in _SITES:
        return _SITES[clause]
    if clause == "C3":
        return "earlier-fault" if view.run.fresh else "earlier-run"
    if fails_early(view):
        return "before-loop"
    if clause in ("C1", "C2", "C7") and view.is_of_an_earlier_fault:
        return "earlier-fault"
    target = (aborted(view) or view.target) if clause == "C5" else view.target
    if target is None:
        return _WITHOUT_ACCESS.get(clause, "no-access")
    if target.is_vncr:
        return "kvm_translate_vncr"
    if clause == "C6":
        return "run-loop"
    return _site_of_abort(view, target, clause)


# The guest is at no access of its program, but was; or nothing has to do with one.
_WITHOUT_ACCESS: Final = {"C1": "earlier-fault", "C2": "earlier-fault", "C6": "run-loop"}

_NEVER_EMULATED: Final = (Direction.FETCH, Direction.WALK)

# What only one part of the kernel can break.
_SITES: Final = {
    "C14": "mark_page_dirty",
    "C17": "other-vcpu",
    "C18": "before-loop",
}


def _site_of_abort(view: View, target: Target, clause: str) -> str:
    if clause in ("C1", "C2"):
        return "gmem_abort"  # whatever became of slot or mapping since: nothing else fills
    if not target.known:  # L2's
        return "kvm_walk_nested_s2"
    slots = [view.scene.slot_at(page) for page in target.pages]
    was_emulated = clause in ("C10", "C12", "C13") and emulation(view.run) is not None
    if was_emulated:
        return "io_mem_abort"
    if not any(slots):
        direction = ACCESS_FACTS[target.access].direction
        return "kvm_inject_sea" if direction in _NEVER_EMULATED else "io_mem_abort"
    if any(slot is not None and slot.gmem is not None for slot in slots):
        # L2's gpa is another matter than L1's.
        return "gmem_abort_l2" if target.is_l2 and clause == "C4" else "gmem_abort"
    return "pkvm_mem_abort" if view.vm.protected else "user_mem_abort"
