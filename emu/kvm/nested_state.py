"""What KVM keeps for a guest that is a hypervisor, and L1's own stage 2 as it lies in memory.

L1 is the guest, L2 is L1's guest. Names follow arch/arm64/include/asm/kvm_nested.h (struct
kvm_s2_trans, vncr_tlb); there is one shadow stage 2, as L1 has one VM with one VMID.
"""

from typing import Final, NamedTuple

import msgspec

from emu.abi import HARNESS_BASE, PAGE_SHIFT
from emu.arena import HARNESS_PFN
from emu.guest import VncrTlb
from emu.stage2 import Prot, Stage2

L1_IPA_BITS: Final = 40  # of L1's VTCR_EL2: 4 KiB granule, two concatenated tables at level 1
LAST_LEVEL: Final = 3

_LEVEL_BITS: Final = 9
_BLOCK_LEVEL: Final = 2
_BLOCK_SHIFT: Final = PAGE_SHIFT + _LEVEL_BITS
_BLOCK_OFFSET: Final = (1 << _BLOCK_SHIFT) - 1
_PAGE_OFFSET: Final = (1 << PAGE_SHIFT) - 1
_LEVEL1_SHIFT: Final = _BLOCK_SHIFT + _LEVEL_BITS
_SHIFTS: Final = {1: _LEVEL1_SHIFT, 2: _BLOCK_SHIFT, 3: PAGE_SHIFT}
_READ_EXECUTE: Final = Prot.R | Prot.X
_OUTPUT: Final = (1 << 48) - 1  # a descriptor has no bits above


class L1Leaf(NamedTuple):
    """Where a leaf of L1's leads, and what it permits (as ``Prot``); ``old``: no access flag."""

    output: int
    prot: int
    old: bool = False


_CODE: Final = L1Leaf(HARNESS_BASE, _READ_EXECUTE)


class S2Trans(NamedTuple):
    """struct kvm_s2_trans: L2's page, L1's for it, what L1 permits, and the level of its leaf.

    Where the walk ended in a fault, ``fsc`` is its status, and there is no output.
    """

    ipa: int
    output: int
    prot: int
    level: int
    fsc: int = 0


class L1Stage2(msgspec.Struct):
    """The tables that L1 writes for L2. L2's code and stage-1 tables are always in them.

    ``pages`` and ``blocks``: leaves of levels 3 and 2, by IPA >> 12 and >> 21. ``tables``: levels
    whose tables L1 has placed in memory of the case, and where. ``legal``: its VTCR_EL2 is one
    that the architecture permits; ``hardware_af``: with HA.
    """

    pages: dict[int, L1Leaf] = msgspec.field(default_factory=dict)
    blocks: dict[int, L1Leaf] = msgspec.field(
        default_factory=lambda: {HARNESS_BASE >> _BLOCK_SHIFT: _CODE}
    )
    tables: dict[int, int] = msgspec.field(default_factory=dict)
    legal: bool = True
    hardware_af: bool = False

    def write_page(self, ipa: int, leaf: L1Leaf) -> None:
        """A leaf at level 3; a block that was there gives way to a table with nothing else."""
        self.blocks.pop(ipa >> _BLOCK_SHIFT, None)
        output = leaf.output & _OUTPUT & ~_PAGE_OFFSET
        self.pages[ipa >> PAGE_SHIFT] = leaf._replace(output=output)

    def write_block(self, ipa: int, leaf: L1Leaf) -> None:
        """A leaf at level 2, in the place of a table and all its pages."""
        key = ipa >> _BLOCK_SHIFT
        for page in [page for page in self.pages if page >> _LEVEL_BITS == key]:
            del self.pages[page]
        self.blocks[key] = leaf._replace(output=leaf.output & _OUTPUT & ~_BLOCK_OFFSET)

    def set_access_flag(self, ipa: int, level: int) -> None:
        """On the leaf of this level."""
        leaves, shift = (
            (self.pages, PAGE_SHIFT) if level == LAST_LEVEL else (self.blocks, _BLOCK_SHIFT)
        )
        leaves[ipa >> shift] = leaves[ipa >> shift]._replace(old=False)

    def descriptor(self, ipa: int, level: int) -> int:
        """Where in L1's memory the walker reads for this level, if L1 has placed its tables."""
        base = self.tables[level] & _OUTPUT
        alignment = 2 * _PAGE_OFFSET + 1 if level == 1 else _PAGE_OFFSET
        return (base & ~alignment) + 8 * self.index(ipa, level)

    def index(self, ipa: int, level: int) -> int:
        """The entry's place in its table, of which the two of level 1 are one."""
        return ipa >> _SHIFTS[level] & (1 << _LEVEL_BITS + (level == 1)) - 1

    def leaf(self, ipa: int, level: int) -> L1Leaf | None:
        """The leaf of this level, leading to the very page of ``ipa``."""
        if level == LAST_LEVEL:
            return self.pages.get(ipa >> PAGE_SHIFT)
        block = self.blocks.get(ipa >> _BLOCK_SHIFT) if level == _BLOCK_LEVEL else None
        if block is None:
            return None
        return block._replace(output=block.output | ipa & _BLOCK_OFFSET & ~_PAGE_OFFSET)

    def has_table(self, ipa: int, level: int) -> bool:
        """Whether the entry of this level leads to another table."""
        if level == LAST_LEVEL:
            return False
        shift = _SHIFTS[level]
        return (
            any(page << PAGE_SHIFT >> shift == ipa >> shift for page in self.pages)
            or (level == 1 and any(block >> _LEVEL_BITS == ipa >> shift for block in self.blocks))
            or any(placed > level for placed in self.tables)
        )


class Nested(msgspec.Struct):
    """The shadow that L2 runs under, what it is made from, and the vCPUs' VNCR mappings.

    ``warm``: L2 has run before, so that its code is in the shadow at first. ``used``: by accesses
    of the case, since L1 last said that its tables changed.
    """

    shadow: Stage2
    warm: bool
    used: bool = False
    l1: L1Stage2 = msgspec.field(default_factory=L1Stage2)
    vncr_tlbs: list[VncrTlb] = msgspec.field(default_factory=list)

    def warm_up(self) -> None:
        """Map L2's code and tables, as its running for a while would have."""
        if self.warm:
            self.shadow.map_block(HARNESS_BASE, HARNESS_PFN, _READ_EXECUTE)
