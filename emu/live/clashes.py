"""What in a case the live machine cannot do although each step of it can be done by itself."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from emu.access import Access
from emu.case import Case
from emu.injection import Fail
from emu.steps import (
    CreateMem,
    Guest,
    GuestL2,
    L1Table,
    L1Vtcr,
    MemKind,
    MemoryLimit,
    SetMemslot,
    Userfault,
    UserfaultMode,
    effective_address,
)

WALKS: Final = (Access.WALK, Access.AT_WALK, Access.WALK_AF)

_BY_L2: Final = (Access.VNCR_READ, Access.VNCR_WRITE)
_TABLE_SHIFT: Final = 12
_DESCRIPTOR_SHIFT: Final = 3
_LEVEL_OF_CODE: Final = 2  # in L1's tables: a block


class Clash(NamedTuple):
    """Why a case is not played, and the index of the step in the way."""

    reason: str
    step: int


class _Walk(NamedTuple):
    """A walk of the guest's: its step, and where its descriptor is."""

    step: int
    access: Access
    address: int

    @property
    def place(self) -> int:
        """That of the descriptor in a table, wherever that is."""
        return self.address % (1 << _TABLE_SHIFT) >> _DESCRIPTOR_SHIFT


def clash(case: Case) -> Clash | None:
    """The first that there is; None where there is none."""
    walks = list(_walks(case))
    of_walks = _access_flags(case, walks) or _walked_device(case, walks)
    return of_walks or _entered_cold(case) or _unreached(case)


def _walks(case: Case) -> Iterator[_Walk]:
    bases: dict[int, int] = {}
    for index, step in enumerate(case.steps):
        if isinstance(step, SetMemslot):
            bases[step.slot] = step.gpa
        elif isinstance(step, Guest) and step.access in WALKS:
            yield _Walk(index, step.access, effective_address(step, bases))


def _access_flags(case: Case, walks: list[_Walk]) -> Clash | None:
    """A descriptor whose access flag is set lies in memory of the case, which else is all zero."""
    updating = [walk for walk in walks if walk.access is Access.WALK_AF]
    if not updating:
        return None
    index = updating[0].step
    if case.vm.nested:
        return Clash("walk-af: L1's CPU is not told to set access flags", index)
    if any(isinstance(s, Userfault) and s.mode is UserfaultMode.WRITE_PROTECT for s in case.steps):
        return Clash("walk-af: the VMM could not write its descriptor unseen", index)
    places = {walk.place for walk in updating}
    if any(walk.access is not Access.WALK_AF and walk.place in places for walk in walks):
        return Clash("walk-af: another walk might find its descriptor", index)
    return None


def _walked_device(case: Case, walks: list[_Walk]) -> Clash | None:
    """QEMU's CPU walks there without end, or to an external abort; the model leaves it out."""
    devices = {
        step.index
        for step in case.steps
        if isinstance(step, CreateMem) and step.kind is MemKind.DEVICE
    }
    slots = [
        range(step.gpa, step.gpa + step.size)
        for step in case.steps
        if isinstance(step, SetMemslot) and step.mem is not None and step.mem.index in devices
    ]
    for walk in walks:
        if any(walk.address in slot for slot in slots):
            return Clash(f"{walk.access.value}: its table is in a device's memory", walk.step)
    return None


def _entered_cold(case: Case) -> Clash | None:
    """A cold L1 enters L2 by code of its own: what is to fail may fail at that."""
    if not (case.vm.cold and case.vm.nested):
        return None
    if not any(isinstance(step, Fail | MemoryLimit) for step in case.steps):
        return None
    for index, step in enumerate(case.steps):
        if isinstance(step, GuestL2) or (isinstance(step, Guest) and step.access in _BY_L2):
            return Clash("a cold L1 has code of its own to run before L2's", index)
    return None


def _unreached(case: Case) -> Clash | None:
    """L2 is at the VNCR page by code of its own, which these tables of L1's do not lead to."""
    if not any(
        (isinstance(each, L1Vtcr) and not each.legal)
        or (isinstance(each, L1Table) and each.level <= _LEVEL_OF_CODE)
        for each in case.steps
    ):
        return None
    for index, step in enumerate(case.steps):
        if isinstance(step, Guest) and step.access in _BY_L2:
            return Clash(f"{step.access.value}: L2's own code may be out of its reach", index)
    return None
