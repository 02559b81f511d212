"""Numbers of guest_memfds, memory objects and slots, changed everywhere in a case at once."""

from dataclasses import dataclass, field, replace

from emu.case import Case
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    L1Map,
    L1Table,
    PoisonGmem,
    PoisonMem,
    Protect,
    PunchHole,
    Ref,
    ReleaseGmem,
    SelectVcpu,
    SetMemslot,
    Step,
    Truncate,
    Unmap,
    Userfault,
)


@dataclass(frozen=True, slots=True)
class Numbering:
    """New numbers for old ones, given out from 0 as they are asked for."""

    gmems: dict[int, int] = field(default_factory=dict)
    mems: dict[int, int] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    vcpus: dict[int, int] = field(default_factory=lambda: {0: 0})


def numbered_from_zero(case: Case) -> Case:
    """The same case with every kind of object numbered from 0 in the order of first mention."""
    numbering = Numbering()
    return replace(case, steps=tuple(_renumbered(step, numbering) for step in case.steps))


def _next(numbers: dict[int, int], old: int) -> int:
    return numbers.setdefault(old, len(numbers))


def _ref(numbers: dict[int, int], ref: Ref) -> Ref:
    return Ref(_next(numbers, ref.index), ref.offset)


def _renumbered(step: Step, new: Numbering) -> Step:
    match step:
        case CreateGmem() | ReleaseGmem():
            return replace(step, index=_next(new.gmems, step.index))
        case PunchHole() | Allocate() | PoisonGmem():
            return replace(step, gmem=_ref(new.gmems, step.gmem))
        case CreateMem() | Truncate():
            return replace(step, index=_next(new.mems, step.index))
        case PoisonMem() | Unmap() | Protect() | Userfault():
            return replace(step, mem=_ref(new.mems, step.mem))
        case Age() | GetDirtyLog():
            return replace(step, slot=_next(new.slots, step.slot))
        case SelectVcpu():
            return replace(step, index=_next(new.vcpus, step.index))
        case Guest() | L1Map() | L1Table() if step.slot is not None:
            return replace(step, slot=_next(new.slots, step.slot))
        case SetMemslot():
            return replace(
                step,
                slot=_next(new.slots, step.slot),
                mem=step.mem and _ref(new.mems, step.mem),
                gmem=step.gmem and _ref(new.gmems, step.gmem),
            )
        case _:
            return step
