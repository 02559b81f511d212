"""The guest's stage-2 translation: real descriptors in the arena, for the emulated CPU's walker.

It has the host's granule (``emu.granule``), so that an abort names the same level and a mapping
takes the same number of table pages as there. A leaf is a page or, with 4 KiB pages, a block of
2 MiB.
"""

from collections.abc import Iterable
from typing import Final

from emu import harness_map
from emu.abi import HARNESS_BASE, PAGE_SHIFT, PAGE_SIZE
from emu.arena import POOL_PFN, ROOT_PAGES, ROOT_PFN, WORDS_SHIFT, Arena
from emu.case import IPA_BITS
from emu.descriptor import (
    ACCESS_FLAG,
    LEAF,
    PFN,
    TABLE,
    Leaf,
    Prot,
    block,
    decode,
    is_page,
    permissions,
    permitting,
    takes_away,
)
from emu.granule import granule, vtcr
from emu.harness_map import HarnessMap
from emu.table import Table

__all__ = ["ROOT_ADDRESS", "Leaf", "Prot", "Stage2", "vtcr"]

ROOT_ADDRESS: Final = ROOT_PFN << PAGE_SHIFT  # VTTBR_EL2

_FSC_TRANSLATION: Final = 0x04
_FSC_ACCESS_FLAG: Final = 0x08
_FSC_PERMISSION: Final = 0x0C

# Plain names, for the hot path.
_WRITE: Final = Prot.W


class Stage2:
    """One stage 2: what the guest runs under, or the shadow that its own guest runs under.

    ``stale``: a translation was removed or downgraded, and a CPU that is not told may still use
    it. What is added or upgraded needs no telling, for faulting translations are not cached.
    ``exposed``: harness memory was made writable to the guest at some time.
    ``levels``: of tables, the root's included. ``block_shift``: of a block's size. ``root``: its
    address, for VTTBR_EL2; of the CPU's own, unless a page frame is given.
    """

    __slots__ = (
        "_arena",
        "_blocks",
        "_harness",
        "_index",
        "_index_bits",
        "_leaves",
        "_level2",
        "_level3",
        "_page_shift",
        "_pages",
        "_root",
        "_shape",
        "_warm",
        "_words",
        "block_shift",
        "exposed",
        "levels",
        "root",
        "stale",
    )

    def __init__(self, arena: Arena, root: int = ROOT_PFN) -> None:
        self._arena = arena
        self._root = root << WORDS_SHIFT
        self.root = root << PAGE_SHIFT
        self._words = arena.words
        self._leaves: dict[int, int] = {}  # IPA page -> descriptor
        self._blocks: dict[int, int] = {}  # IPA block -> descriptor
        self._level3: dict[int, Table] = {}  # IPA block -> table of pages
        self._level2: dict[int, Table] = {}  # what a table of blocks spans -> it, if not the root
        self._warm = False
        self._harness: dict[tuple[int, int], HarnessMap] = {}  # by page size and levels
        self._cut(IPA_BITS[-1], PAGE_SIZE)
        self.stale = True
        self.exposed = False

    def _cut(self, ipa_bits: int, page_size: int) -> None:
        self._shape = ipa_bits, page_size
        shape = granule(ipa_bits, page_size)
        self._page_shift, self._index_bits, self.levels, self._pages = shape
        self._index = (1 << self._index_bits) - 1
        self.block_shift = shape.block_shift
        if (page_size, self.levels) not in self._harness:
            self._make_harness()

    def reset(self, ipa_bits: int, warm: bool, page_size: int = PAGE_SIZE) -> None:
        """An empty IPA space; ``warm``: with the harness mapped.

        The arena must have been reset before: the tables' pages are free again already. It is stale
        unless the harness, in the same place, is all that can be cached.
        """
        used = self._leaves or self._blocks or self.exposed
        if warm and self._warm and not used and (ipa_bits, page_size) == self._shape:
            return
        self.stale = True
        self._clear_root()
        self._leaves.clear()
        self._level3.clear()
        self._level2.clear()
        if (ipa_bits, page_size) != self._shape:
            self._cut(ipa_bits, page_size)
        self.exposed = False
        self._warm = warm
        if warm:
            self._map_harness()

    # CHANGES

    def map(self, ipa: int, pfn: int, prot: int) -> int:
        """Map the page at ``ipa``, young; how many table pages that took.

        What was mapped there goes; where it was a block, all of it.
        """
        page = ipa >> self._page_shift
        added = 0
        table = self._level3.get(page >> self._index_bits)
        if table is None:
            table, added = self._add_level3(page)
        descriptor = pfn << PAGE_SHIFT | LEAF[prot]
        old = self._leaves.get(page)
        if old is None:
            table.used += 1
        elif takes_away(old, descriptor):
            self.stale = True
        if pfn < POOL_PFN and prot & _WRITE:
            self.exposed = True  # the same in _permit()
        self._leaves[page] = descriptor
        self._words[table.word + (page & self._index)] = descriptor
        return added

    def map_block(self, ipa: int, pfn: int, prot: int) -> int:
        """Map the block that holds ``ipa``, young; how many table pages that took.

        What was mapped in it goes, with its table.
        """
        key = ipa >> self.block_shift
        self._check(ipa)
        descriptor = block(pfn << PAGE_SHIFT, prot)
        old = self._blocks.get(key)
        added = 0
        if old is not None or key in self._level3:
            entry = self._entry(key)
            self.stale |= old is None or takes_away(old, descriptor)
            self._forget_level3(key)
        else:
            entry, added = self._free_level2_entry(key)
        self._blocks[key] = descriptor
        self._words[entry] = descriptor
        return added

    def unmap(self, ipa: int) -> bool:
        """Remove what maps ``ipa``, and tables that are empty then; whether it was mapped."""
        page = ipa >> self._page_shift
        key = page >> self._index_bits
        if self._leaves.pop(page, None) is None:
            if self._blocks.pop(key, None) is None:
                return False
            self.stale = True
            self._drop_entry(key)
            return True
        table = self._level3[key]
        self._words[table.word + (page & self._index)] = 0
        self.stale = True
        table.used -= 1
        if not table.used:
            self._arena.free(self._level3.pop(key).pfn)
            self._drop_entry(key)
        return True

    def protect(self, ipa: int, prot: int) -> bool:
        """Permit exactly ``prot`` at ``ipa``; whether it is mapped."""
        old = self.descriptor(ipa)
        return old is not None and self._permit(ipa, old, prot)

    def relax(self, ipa: int, prot: int) -> bool:
        """Permit ``prot`` as well at ``ipa``; whether it is mapped."""
        old = self.descriptor(ipa)
        return old is not None and self._permit(ipa, old, prot | permissions(old))

    def write_protect(self, ipa: int) -> bool:
        """Permit no writes at ``ipa``; whether it is mapped."""
        old = self.descriptor(ipa)
        return old is not None and self._permit(ipa, old, permissions(old) & ~_WRITE)

    def mkyoung(self, ipa: int) -> bool:
        """Set the access flag at ``ipa``; whether it is mapped."""
        old = self.descriptor(ipa)
        if old is None:
            return False
        self._rewrite(ipa, old, old | ACCESS_FLAG)
        return True

    def age(self, ipa: int) -> bool:
        """Clear the access flag at ``ipa``; whether it is mapped."""
        old = self.descriptor(ipa)
        if old is None:
            return False
        self._rewrite(ipa, old, old & ~ACCESS_FLAG)
        return True

    def restore(self, ipa: int, descriptor: int) -> None:
        """Map at ``ipa`` again what ``descriptor()`` gave before it was unmapped."""
        pfn, prot, young = decode(descriptor)
        (self.map if is_page(descriptor) else self.map_block)(ipa, pfn, prot)
        if not young:
            self.age(ipa)

    # WHAT IS MAPPED

    def descriptor(self, ipa: int) -> int | None:
        """The leaf that maps ``ipa``."""
        found = self._leaves.get(ipa >> self._page_shift)
        if found is None and self._blocks:
            return self._blocks.get(ipa >> self.block_shift)
        return found

    def get(self, ipa: int) -> Leaf | None:
        """What maps ``ipa``: the first frame of its page or block. The harness is not seen here."""
        descriptor = self.descriptor(ipa)
        return None if descriptor is None else decode(descriptor)

    def mapped(self, start: int, end: int) -> list[int]:
        """Where the leaves that reach into [start, end) begin, ascending.

        Costs what is mapped, not what the range spans.
        """
        first, last = start >> self._page_shift, end - 1 >> self._page_shift
        found = [page << self._page_shift for page in self._leaves if first <= page <= last]
        if self._blocks:
            bits = self._index_bits
            found += [
                key << self.block_shift
                for key in self._blocks
                if first >> bits <= key <= last >> bits
            ]
        return sorted(found)

    def fault_status(self, ipa: int) -> int:
        """The fault status code that a read of ``ipa`` reports where the walk does not succeed."""
        page = ipa >> self._page_shift
        if page >= self._pages:
            return _FSC_TRANSLATION
        descriptor = self.descriptor(ipa)
        if descriptor is not None:
            level = 3 if is_page(descriptor) else 2
            return (_FSC_PERMISSION if descriptor & ACCESS_FLAG else _FSC_ACCESS_FLAG) | level
        key = page >> self._index_bits
        if key in self._level3:
            return _FSC_TRANSLATION | 3
        if self.levels == 2 or key >> self._index_bits in self._level2:
            return _FSC_TRANSLATION | 2
        return _FSC_TRANSLATION | 1

    # THE TABLES

    def _permit(self, ipa: int, old: int, prot: int) -> bool:
        if prot & _WRITE and (old & PFN) >> PAGE_SHIFT < POOL_PFN:
            self.exposed = True
        self._rewrite(ipa, old, permitting(old, prot))
        return True

    def _rewrite(self, ipa: int, old: int, descriptor: int) -> None:
        if takes_away(old, descriptor):
            self.stale = True
        page = ipa >> self._page_shift
        key = page >> self._index_bits
        if is_page(old):
            self._leaves[page] = descriptor
            self._words[self._level3[key].word + (page & self._index)] = descriptor
        else:
            self._blocks[key] = descriptor
            self._words[self._entry(key)] = descriptor

    def _check(self, ipa: int) -> None:
        if not 0 <= ipa >> self._page_shift < self._pages:
            raise ValueError(f"{ipa:#x} is outside the IPA space")

    def _add_level3(self, page: int) -> tuple[Table, int]:
        """The missing table for ``page``, linked; and how many tables that took."""
        if not 0 <= page < self._pages:
            self._check(page << self._page_shift)
        key = page >> self._index_bits
        added = 0
        if key in self._blocks:
            del self._blocks[key]
            self.stale = True
            entry = self._entry(key)
        else:
            entry, added = self._free_level2_entry(key)
        self._level3[key] = table = Table(self._arena.allocate())
        self._words[entry] = table.pfn << PAGE_SHIFT | TABLE
        return table, added + 1

    def _entry(self, key: int) -> int:
        """Where entry ``key`` of level 2 is, whose table exists."""
        if self.levels == 2:
            return self._root + key
        return self._level2[key >> self._index_bits].word + (key & self._index)

    def _free_level2_entry(self, key: int) -> tuple[int, int]:
        """Where entry ``key`` of level 2 is, to be written; and how many tables that took."""
        added = 0
        entry = self._root + key
        if self.levels > 2:
            over = key >> self._index_bits
            table = self._level2.get(over)
            if table is None:
                self._level2[over] = table = Table(self._arena.allocate())
                self._words[self._root + over] = table.pfn << PAGE_SHIFT | TABLE
                added = 1
            table.used += 1
            entry = table.word + (key & self._index)
        if self._words[entry]:
            raise ValueError(f"{key << self.block_shift:#x} is the harness's block")
        return entry, added

    def _forget_level3(self, key: int) -> None:
        """A table of pages, if there is one, is not linked any more."""
        table = self._level3.pop(key, None)
        if table is None:
            return
        for page in [page for page in self._leaves if page >> self._index_bits == key]:
            del self._leaves[page]
        self._arena.free(table.pfn)

    def _drop_entry(self, key: int) -> None:
        """Entry ``key`` of level 2 is not valid any more, nor is its table if that was the last."""
        if self.levels == 2:
            self._words[self._root + key] = 0
            return
        over = key >> self._index_bits
        parent = self._level2[over]
        self._words[parent.word + (key & self._index)] = 0
        parent.used -= 1
        if not parent.used:
            del self._level2[over]
            self._words[self._root + over] = 0
            self._arena.free(parent.pfn)

    def _map_harness(self) -> None:
        """Link the harness's tables, made anew only if something else was mapped in one."""
        harness = self._harness[1 << self._page_shift, self.levels]
        if harness.changed:
            harness = self._make_harness()
        self._level2.update(harness.level2)
        self._level3.update(harness.level3)
        self._words[self._root + harness.entry] = harness.descriptor

    def _make_harness(self) -> HarnessMap:
        pfn = (self.root >> PAGE_SHIFT) + ROOT_PAGES
        made = harness_map.write(self._arena, pfn, granule(*self._shape))
        self._harness[1 << self._page_shift, self.levels] = made
        return made

    def _clear_root(self) -> None:
        """Every entry that may be there; without blocks or tables, the harness's is."""
        keys: Iterable[int] = self._level2
        if self.levels == 2:
            keys = (*self._level3, *self._blocks, HARNESS_BASE >> self.block_shift)
        for key in keys:
            self._words[self._root + key] = 0
        self._blocks.clear()
