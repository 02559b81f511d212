"""Start-up check that the emulated CPU faults as this project expects, access by access."""

from typing import TYPE_CHECKING, Final

from emu.abi import PAGE_SIZE
from emu.access import ACCESS_FACTS, Access, Direction
from emu.engine import EmulatorError
from emu.exits import Exit
from emu.stage2 import Prot
from emu.syndrome import (
    CM,
    EC_DABT_LOW,
    EC_IABT_LOW,
    EC_SHIFT,
    IL,
    ISV,
    S1PTW,
    SAS_SHIFT,
    SF,
    SRT_SHIFT,
    SSE,
    WNR,
)

if TYPE_CHECKING:
    from emu.cpu import Cpu

_IPA_BITS: Final = 40
# What no emulated CPU does by itself: the guest's own doing, or KVM's (``emu.guest``).
_SYNTHETIC: Final = frozenset({Access.VNCR_READ, Access.VNCR_WRITE})
_ADDRESS: Final = 0x12_3456_7040  # nothing is mapped in its 1 GiB, so that the walk ends at level 1
_TRANSLATION_1: Final = 0x05

# How the register takes the value (extended, wide, which, ordered) is the instruction's business.
_REGISTER: Final = SSE | 0x1F << SRT_SHIFT | SF | 1 << 14


def check(cpu: "Cpu") -> None:
    """Raise EmulatorError if an access does not fault as it should, or not go on afterwards."""
    for access in Access:
        if access in _SYNTHETIC:
            continue
        cpu.reset(_IPA_BITS, warm=True)
        cpu.load(access, _ADDRESS, last=False)
        if ACCESS_FACTS[access].direction is not Direction.HINT:
            _check_abort(cpu, access)
            cpu.stage2.map(_ADDRESS & -PAGE_SIZE, cpu.arena.allocate(), Prot.R | Prot.W | Prot.X)
        exit_ = cpu.enter()
        if exit_ is not Exit.DONE:
            raise EmulatorError(f"Unicorn: {access.value}: {exit_.name} where it should be done")


def _check_abort(cpu: "Cpu", access: Access) -> None:
    exit_ = cpu.enter()
    far_is_address = ACCESS_FACTS[access].direction is not Direction.WALK
    found = (
        exit_,
        cpu.esr & ~_REGISTER if cpu.esr & ISV else cpu.esr,
        cpu.hpfar,
        cpu.far if far_is_address else _ADDRESS,
        cpu.moved,
        cpu.changed,
    )
    expected = (Exit.ABORT, _expected_esr(access), _ADDRESS >> 12 << 4, _ADDRESS, False, False)
    if found != expected:
        raise EmulatorError(
            f"Unicorn: {access.value} at {_ADDRESS:#x}: {exit_.name}, ESR {cpu.esr:#x}, FAR"
            f" {cpu.far:#x}, HPFAR {cpu.hpfar:#x}, where ESR {expected[1]:#x} was expected"
        )


def _expected_esr(access: Access) -> int:
    facts = ACCESS_FACTS[access]
    ec = EC_IABT_LOW if facts.direction is Direction.FETCH else EC_DABT_LOW
    esr = ec << EC_SHIFT | IL | _TRANSLATION_1
    if facts.syndrome:
        esr |= ISV | (facts.width.bit_length() - 1) << SAS_SHIFT
    match facts.direction:
        case Direction.WRITE:
            esr |= WNR
        case Direction.MAINTENANCE:
            esr |= CM | WNR
        case Direction.WALK:
            esr |= S1PTW
    # Address translation is cache maintenance to ESR.
    return esr | CM | WNR if access is Access.AT_WALK else esr
