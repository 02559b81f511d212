"""What the CPU of a live machine does otherwise than the architecture says, found out by cases.

An emulated CPU does nothing for cache maintenance, and some look too late at the alignment. No
kernel can make up for it, so such accesses are kept from this machine.
"""

from collections.abc import Callable
from typing import Final

from emu.abi import MemFlag
from emu.access import ACCESS_FACTS, Access, Direction
from emu.case import Case, VmConfig
from emu.live.unsupported import PLAYED
from emu.outcome import Outcomes
from emu.steps import CreateMem, GetDirtyLog, Guest, MemKind, Ref, Run, SetMemslot, Step, Unmap

_BASE: Final = 0x4000_0000
_NOWHERE: Final = 0x5000_0000  # no slot is there

_MAINTENANCE: Final = tuple(
    access for access in Access if ACCESS_FACTS[access].direction is Direction.MAINTENANCE
)
_ALIGNED: Final = tuple(
    access for access in Access if access in PLAYED and ACCESS_FACTS[access].aligned > 1
)
_PC_ALIGNMENT: Final = 0x22
_EC_SHIFT: Final = 26

Play = Callable[[Case], Outcomes]


def inert(play: Play, page_size: int, lacking: frozenset[Access]) -> frozenset[Access]:
    """The cache maintenance that does not abort where the page is gone, and the walk that does not
    set the access flag; ``lacking`` is known to be among them.
    """
    found = {each for each in _MAINTENANCE if not _aborts(play, page_size, each)}
    if Access.WALK_AF not in lacking and not _sets_flags(play, page_size):
        found.add(Access.WALK_AF)
    return lacking | found


def _sets_flags(play: Play, page_size: int) -> bool:
    """Whether a walk writes to a page that was written, and whose dirty log was read then."""
    logged = SetMemslot(0, _BASE, page_size, MemFlag.LOG_DIRTY_PAGES, Ref(0, 0), None)
    write, walk = (Guest(each, None, _BASE) for each in (Access.WRITE64, Access.WALK_AF))
    log, again = play(
        _case(page_size, logged, write, Run(0), GetDirtyLog(0), walk, Run(0), GetDirtyLog(0))
    ).logs
    return log.pages == again.pages


def _aborts(play: Play, page_size: int, access: Access) -> bool:
    gone = Unmap(Ref(0, 0), page_size)
    return play(_case(page_size, gone, Guest(access, None, _BASE))).runs[0].ret < 0


def lax(play: Play, page_size: int) -> frozenset[Access]:
    """The accesses that may be misaligned, where the CPU of the cases raises an exception."""
    return frozenset(each for each in _ALIGNED if not _raises(play, page_size, each))


def _raises(play: Play, page_size: int, access: Access) -> bool:
    # A misaligned fetch is looked for where an abort must not come first.
    address = (_NOWHERE if access is Access.FETCH else _BASE) + 1
    outcomes = play(_case(page_size, Guest(access, None, address)))
    raised = [esr >> _EC_SHIFT for _, esr in outcomes.runs[0].exceptions]
    return raised == [_PC_ALIGNMENT] if access is Access.FETCH else len(raised) == 1


def _case(page_size: int, *steps: Step) -> Case:
    """One page of memory in a slot, these steps, and a KVM_RUN."""
    memory = (
        CreateMem(0, page_size, MemKind.ANONYMOUS),
        SetMemslot(0, _BASE, page_size, 0, Ref(0, 0), None),
    )
    return Case(VmConfig(page_size=page_size), (*memory, *steps, Run(0)))
