"""How each access is loaded into the CPU, and how its exits are read."""

from dataclasses import dataclass
from typing import Final

from emu.access import Access
from emu.asm import SNIPPETS
from emu.exits import REFUSALS, correction
from emu.harness import Program

WALKS: Final = frozenset({Access.WALK, Access.AT_WALK})
VECTORS: Final = frozenset(
    {
        Access.READ_SIMD,
        Access.READ_SIMD_MULTIPLE,
        Access.WRITE_SIMD,
        Access.WRITE_SIMD_MULTIPLE,
    }
)
# What may leave more behind than general-purpose registers: vectors, TTBR1_EL1, PAR_EL1, the
# exclusive monitor; and a branch, whatever it finds at its target.
_SOILING: Final = VECTORS | WALKS | {Access.READ_EXCLUSIVE, Access.WRITE_EXCLUSIVE, Access.FETCH}


@dataclass(frozen=True, slots=True)
class Plan:
    """One access, with its program.

    ``plain``: x1 is all that its address decides. ``soils``: the CPU's whole state must be restored
    after it. ``corrected``, ``clear``, ``add``: see ``exits.correction``.
    """

    program: Program
    access: Access | None = None
    plain: bool = True
    soils: bool = False
    bias: int = 0
    corrected: bool = False
    clear: int = 0
    add: int = 0


def plan_for(access: Access, program: Program) -> Plan:
    """The plan of an access whose code is ``program``."""
    clear, add = correction(access)
    return Plan(
        program,
        access,
        plain=access not in REFUSALS,
        soils=access in _SOILING,
        bias=SNIPPETS[access].bias,
        corrected=bool(clear | add) or access is Access.WRITE_EXCLUSIVE,
        clear=clear,
        add=add,
    )
