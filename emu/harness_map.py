"""The tables by which stage 2 leads to the harness: what every warm VM has in common.

They have frames of their own, so that they need not be made again for each VM.
"""

from typing import Final, NamedTuple

from emu.abi import HARNESS_BASE, PAGE_SHIFT, PAGE_SIZE
from emu.arena import CODE_SIZE, HARNESS_PFN, Arena
from emu.descriptor import LEAF, TABLE, Prot, block
from emu.granule import Granule
from emu.table import Table

_ADDRESS: Final = HARNESS_PFN << PAGE_SHIFT
_PROT: Final = Prot.R | Prot.X
_BLOCK: Final = block(_ADDRESS, _PROT)
_LEAST_LEVELS: Final = 2


class HarnessMap(NamedTuple):
    """What leads to the harness: an entry of the root, and the tables below by what they span.

    All entries of a table count as one.
    """

    entry: int
    descriptor: int
    level2: dict[int, Table]
    level3: dict[int, Table]

    @property
    def changed(self) -> bool:
        """Whether anything else is in a table."""
        for tables in (self.level2, self.level3):
            for table in tables.values():
                if table.used != 1:
                    return True
        return False


def write(arena: Arena, pfn: int, shape: Granule) -> HarnessMap:
    """Make the tables: to one block, or to pages where blocks are larger.

    Behind frame ``pfn``, each page size and number of levels has frames that no other has: for two
    tables of 4 KiB from the second or the fourth on, of 16 KiB from the 8th or the 16th, of 64 KiB
    from the 32nd.
    """
    level2: dict[int, Table] = {}
    level3: dict[int, Table] = {}
    size = 1 << shape.page_shift
    frames = size >> PAGE_SHIFT
    pfn += 2 * frames * (shape.levels - 1)
    in_table = (1 << shape.index_bits) - 1
    entry, descriptor = HARNESS_BASE >> shape.block_shift, _BLOCK
    if size != PAGE_SIZE:
        level3[entry] = table = _empty(arena, pfn, size)
        first = table.word + (HARNESS_BASE >> shape.page_shift & in_table)
        for page, address in enumerate(range(_ADDRESS, _ADDRESS + CODE_SIZE, size)):
            arena.words[first + page] = address | LEAF[_PROT]
        descriptor = table.pfn << PAGE_SHIFT | TABLE
    if shape.levels > _LEAST_LEVELS:
        over = entry >> shape.index_bits
        level2[over] = table = _empty(arena, pfn + frames, size)
        arena.words[table.word + (entry & in_table)] = descriptor
        entry, descriptor = over, table.pfn << PAGE_SHIFT | TABLE
    return HarnessMap(entry, descriptor, level2, level3)


def _empty(arena: Arena, pfn: int, size: int) -> Table:
    """A table with nothing in it but what is to come."""
    start = pfn << PAGE_SHIFT
    arena.buffer[start : start + size] = bytes(size)
    return Table(pfn, used=1)
