"""The order in which a reader expects steps: objects, slots, events, accesses; then KVM_RUN.

Only steps between two KVM_RUNs are compared: what happens before and after one is no matter of
taste.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from emu.injection import At, Fail, ForceAbort, ForceExit
from emu.steps import (
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    MmioData,
    Run,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
)

Steps = tuple[Step, ...]
EVENT: Final = 2  # whatever has no rank of its own
RANKS: Final[dict[type[Step], int]] = {
    CreateGmem: 0,
    CreateMem: 0,
    SetMemslot: 1,
    Fail: 3,
    ForceAbort: 3,
    ForceExit: 3,
    Guest: 4,
    GuestL2: 4,
}
# KVM_RUN and what belongs to one; what decides the meaning of the steps after it.
BARRIERS: Final = (Run, Skip, MmioData, SelectVcpu, At, GetDirtyLog)


def disorder(steps: Steps) -> int:
    """How many pairs of steps stand the wrong way round."""
    return sum(
        _rank(one) > _rank(other)
        for first, last in _stretches(steps)
        for one, other in combinations(steps[first:last], 2)
    )


def swapped(steps: Steps) -> Iterator[Steps]:
    """The steps with two neighbours swapped that stand the wrong way round."""
    for first, last in _stretches(steps):
        for at in range(first, last - 1):
            if _rank(steps[at]) > _rank(steps[at + 1]):
                yield (*steps[:at], steps[at + 1], steps[at], *steps[at + 2 :])


def _rank(step: Step) -> int:
    return RANKS.get(type(step), EVENT)


def _stretches(steps: Steps) -> Iterator[tuple[int, int]]:
    """First and end index of each stretch without a KVM_RUN or what belongs to one."""
    first = 0
    for at, step in enumerate(steps):
        if isinstance(step, BARRIERS):
            yield first, at
            first = at + 1
    yield first, len(steps)
