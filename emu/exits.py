"""The guest's exits, and how Unicorn's report of one is made what the architecture says.

Every known difference between the emulated CPU and a real one is corrected here or in ``emu.cpu``,
and each place says "Corrected:".
"""

from collections.abc import Callable
from enum import Enum, unique
from typing import Final

from emu.access import Access
from emu.asm import SNIPPETS
from emu.harness import INPUT_BITS
from emu.syndrome import CM, EC_DABT_CUR, EC_SHIFT, IL, S1PTW, WNR


@unique
class Exit(Enum):
    """Why the guest stopped."""

    ABORT = "abort"  # an abort at stage 2, for EL2
    DONE = "done"  # the access is finished
    EXCEPTION = "exception"  # an exception for EL1: alignment, UDF, PC alignment, stage 1
    HANG = "hang"  # it runs without an end


EC_UNKNOWN: Final = 0x00
EC_HVC: Final = 0x16
EC_PC_ALIGNMENT: Final = 0x22

FSC_INVALID_ENTRY: Final = 0x05  # what a walk ends in that reads a zero at level 1
_FSC_ALIGNMENT: Final = 0x21

_EL1_ABORT: Final = EC_DABT_CUR << EC_SHIFT | IL
_WITH_ISV: Final = 0x01FF_C000  # ISV and what is valid only with it: ESR[24:14]

_WRITE_BACK: Final = frozenset(
    {
        Access.READ_PRE_INDEX,
        Access.READ_POST_INDEX,
        Access.WRITE_PRE_INDEX,
        Access.WRITE_POST_INDEX,
    }
)


def correction(access: Access) -> tuple[int, int]:
    """Bits to clear and to set in the ESR of this access' data aborts.

    Corrected: Unicorn gives a load or store with write-back a valid syndrome.
    Corrected: its cache maintenance never faults. The load before it does, and its ESR becomes that
    of cache maintenance: CM and WnR set, no valid syndrome.
    Corrected: it has no FEAT_HAFDBS. A store to the descriptor stands for the walk that updates it,
    and its ESR becomes that of the walk: a translation fault is met by its read, a permission fault
    by its write, which is how KVM tells the two apart.
    """
    if SNIPPETS[access].probed:
        return _WITH_ISV, CM | WNR
    if access is Access.WALK_AF:
        return _WITH_ISV | WNR, S1PTW
    return (_WITH_ISV if access in _WRITE_BACK else 0), 0


Refusal = Callable[[int], int | None]
"""From the effective address: the ESR of the exception that the CPU takes at once, 0 where it takes
none and does nothing else either, None where it does the access."""


def _refuse_misaligned_read(address: int) -> int | None:
    return _EL1_ABORT | _FSC_ALIGNMENT if address & 7 else None


def _refuse_misaligned_write(address: int) -> int | None:
    return _EL1_ABORT | WNR | _FSC_ALIGNMENT if address & 7 else None


def _refuse_misaligned_fetch(address: int) -> int | None:
    return EC_PC_ALIGNMENT << EC_SHIFT | IL if address & 3 else None


def _refuse_walk(address: int) -> int | None:
    return _EL1_ABORT if address >> INPUT_BITS else None


def _refuse_at(address: int) -> int | None:
    return 0 if address >> INPUT_BITS else None


# Corrected: Unicorn lets acquire and release accesses be misaligned, fetches from misaligned
# addresses, and walks tables beyond TCR_EL1.IPS (an address size fault, level 0, which AT reports
# in PAR_EL1).
REFUSALS: Final[dict[Access, Refusal]] = {
    Access.READ_ACQUIRE: _refuse_misaligned_read,
    Access.READ_RCPC: _refuse_misaligned_read,
    Access.WRITE_RELEASE: _refuse_misaligned_write,
    Access.FETCH: _refuse_misaligned_fetch,
    Access.WALK: _refuse_walk,
    Access.AT_WALK: _refuse_at,
    Access.WALK_AF: _refuse_walk,
}
