"""What is the same finding: a clause, the place that filled, and natural or injected.

The place is told from the case, so that it is the same on a model and on a real kernel.
"""

from typing import NamedTuple

from fuzz.judge import Breach
from fuzz.view import Timeline, View


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
    if clause == "C3":
        return "earlier-fault" if view.run.fresh else "earlier-run"
    if clause in ("C1", "C2", "C7") and view.is_of_an_earlier_fault:
        return "earlier-fault"
    if clause == "C6":
        return "run-loop"
    if clause == "C8":
        return "before-loop"
    target = view.target
    if target is None:
        return "no-access"
    slots = [view.scene.slot_at(page) for page in target.pages]
    if clause == "C13" or not any(slots):
        return "io_mem_abort"
    if any(slot is not None and slot.gmem is not None for slot in slots):
        return "gmem_abort"
    return "user_mem_abort"
