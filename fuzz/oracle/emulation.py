"""The clause about exits that ask the VMM to emulate an access, or say that it cannot be."""

from collections.abc import Iterable
from enum import Enum, unique
from typing import Final

from emu.abi import Errno, ExitReason, reason_name
from emu.access import Direction
from emu.outcome import RunOutcome
from fuzz.oracle.course import is_doorbell
from fuzz.oracle.reach import Target
from fuzz.oracle.view import View

_LENGTH: Final = 0xFFFF_FFFF


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
    if run.exit_reason == ExitReason.MMIO and not is_doorbell(run):
        return Emulation.MMIO
    return Emulation.NISV if run.exit_reason == ExitReason.ARM_NISV else None


def emulation_is_for_holes(view: View) -> str | None:
    """C13. MMIO, NISV and ENOSYS exits are for accesses outside the slots or writes to read-only
    ones, with fields that fit the access, and never for a stage-1 walk or a fetch.

    api.rst, KVM_EXIT_MMIO, KVM_EXIT_ARM_NISV and the errnos of KVM_RUN. Silent after an abort that
    the case forced, and where an ENOSYS was injected.
    """
    target, kind = view.target, emulation(view.run)
    if kind is None or target is None or not target.known or view.scene.forced_abort:
        return None
    if kind is Emulation.ENOSYS and any(errno == Errno.ENOSYS for _, errno in view.scene.injected):
        return None
    if target.direction in (Direction.WALK, Direction.FETCH):
        return f"{kind.value} for a {target.direction.value} at {target.first:#x}"
    if target.syndrome is not (kind is Emulation.MMIO):
        has = "a" if target.syndrome else "no"
        return f"{kind.value} for {target.access.value}, whose abort has {has} syndrome"
    if kind is Emulation.NISV and not view.vm.nisv_to_user:
        return "NISV without KVM_CAP_ARM_NISV_TO_USER"
    if kind is Emulation.ENOSYS:
        return _enosys_error(view, target)
    address = view.run.union[0] if kind is Emulation.MMIO else view.run.union[1]
    if not target.first <= address <= target.last:
        return f"{kind.value} names {address:#x}, the access is at {target.first:#x}"
    if kind is Emulation.MMIO and (error := _field_error(view.run, target)):
        return error
    return _misplaced(view, target, (address,), kind)


def _enosys_error(view: View, target: Target) -> str | None:
    if view.vm.nisv_to_user:
        return "ENOSYS although KVM_CAP_ARM_NISV_TO_USER is enabled"
    kept = view.run.exit_reason == view.run.before
    if view.run.exit_reason in (ExitReason.MMIO, ExitReason.ARM_NISV) and not kept:
        return f"ENOSYS with exit_reason {reason_name(view.run.exit_reason)}"
    return _misplaced(view, target, target.pages, Emulation.ENOSYS)


def _field_error(run: RunOutcome, target: Target) -> str | None:
    length, is_write = run.union[2] & _LENGTH, bool(run.union[2] >> 32 & 0xFF)
    if run.union[0] != target.first and run.union[0] not in target.pages[1:]:
        return f"MMIO at {run.union[0]:#x}, inside the access at {target.first:#x}"
    if length != target.last - target.first + 1:
        return f"MMIO of {length} bytes for an access of {target.last - target.first + 1}"
    if is_write is not (target.direction is Direction.WRITE):
        return f"MMIO {'write' if is_write else 'read'} for {target.access.value}"
    return None


def _misplaced(view: View, target: Target, addresses: Iterable[int], kind: Emulation) -> str | None:
    """Whether every address is one that KVM itself would have to serve."""
    scene, writes = view.scene, target.writes
    for address in addresses:
        slot = scene.slot_at(address)
        if slot is None or (writes and slot.readonly):
            return None
    return f"{kind.value} for {target.access.value} at {target.first:#x}, which a slot serves"
