"""The worlds in which a case with a race may have ended: which of them, an outcome does not tell.

A step that ``At`` moves may have been done at its point, or never, because no vCPU came there. A
slot that it deletes or moves is gone for a while first (INVALID), even if the kernel then refuses.
"""

from enum import Enum, unique
from typing import Final, NamedTuple

from emu.case import Case
from emu.injection import At
from emu.steps import Guest, GuestL2, SelectVcpu, SetMemslot, Step
from fuzz.oracle.scene import CHANGES

# What may stand between an At and its step.
_BEFORE: Final = frozenset({At, SelectVcpu})

# The guest's own, which At does not move.
_GUEST: Final = frozenset({Guest, GuestL2})


@unique
class World(Enum):
    """What became of the step that a race moves."""

    DONE = "done"
    NEVER = "never"
    GONE = "gone"  # a slot, INVALID


class Race(NamedTuple):
    """The moved step, and the step from which on nothing can be said of the VM: a second one that
    is moved, or one that changes the VM and may have come before the first.
    """

    moved: int
    certain_until: int
    worlds: tuple[World, ...]


def race(case: Case) -> Race:
    """The race of a case that has one."""
    steps = case.steps
    moved = _moved(steps)
    after = (
        index
        for index in range(moved + 1, len(steps))
        if type(steps[index]) is At or _changes(steps[index])
    )
    until = next(after, len(steps))
    region = steps[moved] if moved < len(steps) else None
    if not isinstance(region, SetMemslot):
        return Race(moved, until, (World.NEVER,))
    for index in range(moved + 1, until):
        if _counts_from(steps[index], region.slot):
            until = index  # from which of the two addresses, only the order can tell
            break
    return Race(moved, until, (World.NEVER, World.GONE))


def _moved(steps: tuple[Step, ...]) -> int:
    """The step that the first At is about; of several in a row, the last one is."""
    place = next(index for index, step in enumerate(steps) if type(step) is At)
    while place < len(steps) and type(steps[place]) in _BEFORE:
        place += 1
    return place


def _counts_from(step: Step, slot: int) -> bool:
    return isinstance(step, Guest) and step.slot == slot


def _changes(step: Step) -> bool:
    return type(step) in CHANGES and type(step) not in _GUEST
