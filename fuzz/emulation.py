"""The clause about exits that ask the VMM to emulate an access, or say that it cannot be."""

from enum import Enum, unique
from typing import Final

from emu.abi import DOORBELL, PAGE_MASK, PAGE_SIZE, Errno, ExitReason
from emu.access import Direction
from emu.outcome import RunOutcome
from fuzz.scene import Target
from fuzz.view import View

_LENGTH: Final = 0xFFFF_FFFF
_LENGTHS: Final = (1, 2, 4, 8)


@unique
class Emulation(Enum):
    """The ways in which KVM tells the VMM that an access is none of its own."""

    MMIO = "MMIO"
    NISV = "NISV"
    ENOSYS = "ENOSYS"


def emulation(run: RunOutcome) -> Emulation | None:
    """Which one a KVM_RUN ended with. The guest's doorbell is not asked about."""
    if run.ret < 0:
        return Emulation.ENOSYS if run.errno == Errno.ENOSYS else None
    if run.exit_reason == ExitReason.MMIO and run.union[0] != DOORBELL:
        return Emulation.MMIO
    return Emulation.NISV if run.exit_reason == ExitReason.ARM_NISV else None


def emulation_is_for_holes(view: View) -> str | None:
    """C13. MMIO, NISV and ENOSYS exits are for accesses outside the slots or writes to read-only
    ones, with fields that fit the access, and never for a stage-1 walk or a fetch.

    api.rst, KVM_EXIT_MMIO, KVM_EXIT_ARM_NISV and the errnos of KVM_RUN. Silent after an abort that
    the case forced, and where an ENOSYS was injected.
    """
    target, kind = view.target, emulation(view.run)
    if kind is None or target is None or view.scene.forced_abort:
        return None
    if kind is Emulation.ENOSYS and any(errno == Errno.ENOSYS for _, errno in view.scene.injected):
        return None
    if target.direction in (Direction.WALK, Direction.FETCH):
        return f"{kind.value} for a {target.direction.value} at {target.first:#x}"
    if kind is Emulation.ENOSYS:
        return _misplaced(view, target, target.pages, kind)
    address = view.run.union[0] if kind is Emulation.MMIO else view.run.union[1]
    if not target.first <= address <= target.last:
        return f"{kind.value} names {address:#x}, the access is at {target.first:#x}"
    if kind is Emulation.MMIO and (error := _field_error(view.run, target)):
        return error
    return _misplaced(view, target, range(address & PAGE_MASK, address + 1, PAGE_SIZE), kind)


def _field_error(run: RunOutcome, target: Target) -> str | None:
    length = run.union[2] & _LENGTH
    if not target.syndrome:
        return f"MMIO for {target.access.value}, whose abort has no syndrome"
    if length not in _LENGTHS or length != target.last - target.first + 1:
        return f"MMIO of {length} bytes for an access of {target.last - target.first + 1}"
    return None


def _misplaced(view: View, target: Target, pages: range, kind: Emulation) -> str | None:
    """Whether every page is one that KVM itself would have to serve."""
    slots = [view.scene.slot_at(page) for page in pages]
    if all(slot is not None and not (slot.readonly and target.writes) for slot in slots):
        return f"{kind.value} for {target.access.value} at {target.first:#x}, which a slot serves"
    return None
