"""The clause about the dirty log.

Functions as in ``fuzz.oracle.clauses``.
"""

from collections.abc import Iterator

from emu.abi import MemFlag
from emu.access import Access, Direction
from emu.steps import GetDirtyLog, Guest, SetMemslot, Step
from fuzz.oracle.reach import Target
from fuzz.oracle.scene import Slot
from fuzz.oracle.view import View


def writes_are_logged(view: View) -> str | None:
    """C14. A page that the guest wrote in a slot with LOG_DIRTY_PAGES is in the slot's next log.

    api.rst, KVM_GET_DIRTY_LOG: the pages dirtied since the last call. Only writes that the guest
    finished in this KVM_RUN are asked for; more pages than those may be in a log. Silent where a
    race may have moved anything, and where the slot was touched before its log was read.
    """
    if view.timeline.has_race:
        return None
    for target, slot, page in _written(view):
        pages = _next_log(view, slot)
        if pages is not None and page not in pages:
            where = f"{target.access.value} at {target.first:#x}"
            return f"{where} is done, but page {page:#x} of slot {slot.id} is not in its dirty log"
    return None


def _written(view: View) -> Iterator[tuple[Target, Slot, int]]:
    """The pages, by number in their slot, that finished writes of this KVM_RUN went to."""
    scene = view.scene
    for step in view.timeline.course.done(view.number):
        target = scene.target(step)
        if target is None or not target.is_plain or not _stores(view, step, target):
            continue
        for page in target.pages:
            slot = scene.slot_at(page)
            if slot is not None and slot.flags & MemFlag.LOG_DIRTY_PAGES and not slot.readonly:
                yield target, slot, (page - slot.base) // target.page_size


def _stores(view: View, step: int, target: Target) -> bool:
    """Whether it has stored when it is done. A compare-and-swap finds what it compares with, and
    an exclusive store is tried until it succeeds (``emu.asm``). A walk sets the access flag of a
    descriptor once: silent from the second on.
    """
    if target.access is Access.WALK_AF:
        return not any(_sets_flag(other) for other in view.timeline.case.steps[:step])
    return target.direction in (Direction.WRITE, Direction.READ_WRITE)


def _sets_flag(step: Step) -> bool:
    return isinstance(step, Guest) and step.access is Access.WALK_AF


def _next_log(view: View, slot: Slot) -> tuple[int, ...] | None:
    """The first log of the slot after this KVM_RUN, if the slot was left alone until then."""
    steps = view.timeline.case.steps
    logs = {log.step: log.pages for log in view.timeline.outcomes.logs}
    for index in range(view.run.step + 1, len(steps)):
        step = steps[index]
        if isinstance(step, SetMemslot) and step.slot == slot.id:
            return None
        if isinstance(step, GetDirtyLog) and step.slot == slot.id:
            return logs.get(index)
    return None
