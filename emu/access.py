"""The guest's vocabulary: every way in which the guest of a case touches memory.

Each access is one short snippet of A64 (see ``emu.asm``); a case names its effective address.
The facts given here are the architecture's, not KVM's: how many bytes, in which direction, and
whether an abort at stage 2 comes with a valid instruction syndrome (Arm ARM, ESR_ELx, ISS for a
Data Abort, ISV).
"""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final


@unique
class Direction(Enum):
    """What an access does to memory, as far as stage 2 and the contract care."""

    READ = "read"
    WRITE = "write"
    READ_WRITE = "read-write"
    FETCH = "fetch"
    MAINTENANCE = "maintenance"
    WALK = "walk"
    HINT = "hint"
    VNCR_READ = "vncr-read"  # by the host's own mapping of L1's VNCR page, not through stage 2
    VNCR_WRITE = "vncr-write"


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """What the architecture says of one access.

    ``width`` is in bytes, counted from the effective address. ``syndrome`` is ISV.
    ``aligned`` is the alignment, in bytes, without which the CPU itself raises an alignment fault;
    1 where there is none. ``block`` aligns the touched range down first (DC ZVA, cache lines).
    """

    direction: Direction
    width: int
    syndrome: bool
    aligned: int = 1
    block: int = 1


@unique
class Access(Enum):
    """One access of the vocabulary; the value is its spelling in a case."""

    # By identity, in C: Enum's own is a Python function, and accesses are looked up all the time.
    __hash__ = object.__hash__

    READ8 = "read8"
    READ16 = "read16"
    READ32 = "read32"
    READ64 = "read64"
    READ_SIGNED8 = "read-signed8"
    READ_SIGNED16 = "read-signed16"
    READ_SIGNED32 = "read-signed32"
    READ_ACQUIRE = "read-acquire"
    READ_RCPC = "read-rcpc"
    READ_PRE_INDEX = "read-pre-index"
    READ_POST_INDEX = "read-post-index"
    READ_PAIR = "read-pair"
    READ_EXCLUSIVE = "read-exclusive"
    READ_SIMD = "read-simd"
    READ_SIMD_MULTIPLE = "read-simd-multiple"
    WRITE8 = "write8"
    WRITE16 = "write16"
    WRITE32 = "write32"
    WRITE64 = "write64"
    WRITE_RELEASE = "write-release"
    WRITE_PRE_INDEX = "write-pre-index"
    WRITE_POST_INDEX = "write-post-index"
    WRITE_PAIR = "write-pair"
    WRITE_EXCLUSIVE = "write-exclusive"
    WRITE_SIMD = "write-simd"
    WRITE_SIMD_MULTIPLE = "write-simd-multiple"
    CAS = "cas"
    CASP = "casp"
    SWP = "swp"
    LDADD = "ldadd"
    STADD = "stadd"
    DC_ZVA = "dc-zva"
    DC_CVAC = "dc-cvac"
    DC_CIVAC = "dc-civac"
    IC_IVAU = "ic-ivau"
    PREFETCH = "prefetch"
    FETCH = "fetch"
    WALK = "walk"
    AT_WALK = "at-walk"
    WALK_AF = "walk-af"  # a walk that sets the descriptor's access flag (FEAT_HAFDBS)
    VNCR_READ = "vncr-read"  # MRS of an EL2 register that NV2 redirects to memory, at VNCR_EL2
    VNCR_WRITE = "vncr-write"


_R, _W, _RW = Direction.READ, Direction.WRITE, Direction.READ_WRITE

ACCESS_FACTS: Final[dict[Access, AccessFacts]] = {
    #                                        direction             width  ISV
    Access.READ8: AccessFacts(_R, 1, True),
    Access.READ16: AccessFacts(_R, 2, True),
    Access.READ32: AccessFacts(_R, 4, True),
    Access.READ64: AccessFacts(_R, 8, True),
    Access.READ_SIGNED8: AccessFacts(_R, 1, True),
    Access.READ_SIGNED16: AccessFacts(_R, 2, True),
    Access.READ_SIGNED32: AccessFacts(_R, 4, True),
    Access.READ_ACQUIRE: AccessFacts(_R, 8, True, aligned=8),
    Access.READ_RCPC: AccessFacts(_R, 8, True, aligned=8),
    Access.READ_PRE_INDEX: AccessFacts(_R, 8, False),
    Access.READ_POST_INDEX: AccessFacts(_R, 8, False),
    Access.READ_PAIR: AccessFacts(_R, 16, False),
    Access.READ_EXCLUSIVE: AccessFacts(_R, 8, False, aligned=8),
    Access.READ_SIMD: AccessFacts(_R, 16, False),
    Access.READ_SIMD_MULTIPLE: AccessFacts(_R, 32, False),
    Access.WRITE8: AccessFacts(_W, 1, True),
    Access.WRITE16: AccessFacts(_W, 2, True),
    Access.WRITE32: AccessFacts(_W, 4, True),
    Access.WRITE64: AccessFacts(_W, 8, True),
    Access.WRITE_RELEASE: AccessFacts(_W, 8, True, aligned=8),
    Access.WRITE_PRE_INDEX: AccessFacts(_W, 8, False),
    Access.WRITE_POST_INDEX: AccessFacts(_W, 8, False),
    Access.WRITE_PAIR: AccessFacts(_W, 16, False),
    Access.WRITE_EXCLUSIVE: AccessFacts(_RW, 8, False, aligned=8),
    Access.WRITE_SIMD: AccessFacts(_W, 16, False),
    Access.WRITE_SIMD_MULTIPLE: AccessFacts(_W, 32, False),
    Access.CAS: AccessFacts(_RW, 8, False, aligned=8),
    Access.CASP: AccessFacts(_RW, 16, False, aligned=16),
    Access.SWP: AccessFacts(_RW, 8, False, aligned=8),
    Access.LDADD: AccessFacts(_RW, 8, False, aligned=8),
    Access.STADD: AccessFacts(_RW, 8, False, aligned=8),
    Access.DC_ZVA: AccessFacts(_W, 64, False, block=64),
    Access.DC_CVAC: AccessFacts(Direction.MAINTENANCE, 64, False, block=64),
    Access.DC_CIVAC: AccessFacts(Direction.MAINTENANCE, 64, False, block=64),
    Access.IC_IVAU: AccessFacts(Direction.MAINTENANCE, 64, False, block=64),
    Access.PREFETCH: AccessFacts(Direction.HINT, 0, False),
    Access.FETCH: AccessFacts(Direction.FETCH, 4, False, aligned=4),
    Access.WALK: AccessFacts(Direction.WALK, 8, False, block=8),
    Access.AT_WALK: AccessFacts(Direction.WALK, 8, False, block=8),
    Access.WALK_AF: AccessFacts(Direction.WALK, 8, False, block=8),
    Access.VNCR_READ: AccessFacts(Direction.VNCR_READ, 8, False, block=8),
    Access.VNCR_WRITE: AccessFacts(Direction.VNCR_WRITE, 8, False, block=8),
}


def touched(access: Access, address: int) -> tuple[int, int]:
    """First and last byte that ``access`` touches at the effective address ``address``.

    For a walk these are the bytes of the stage-1 descriptor. A hint touches nothing that can
    abort: its range is the one byte at the address.
    """
    facts = ACCESS_FACTS[access]
    first = address & -facts.block
    return first, first + max(facts.width, 1) - 1
