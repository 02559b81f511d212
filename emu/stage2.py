"""The guest's stage-2 translation: real descriptors in the arena, for the emulated CPU's walker.

4 KiB granule. The start level and the number of concatenated root tables follow from the IPA size
as KVM chooses them, so that an abort names the same level and a mapping takes the same number of
table pages as there: level 2 and 4 root tables for 32 bits, else level 1 and up to 8 root tables.
"""

from typing import Final

from emu.abi import HARNESS_BASE, PAGE_SHIFT
from emu.arena import HARNESS_PFN, POOL_PFN, ROOT_PFN, Arena
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
    permissions,
    permitting,
    takes_away,
)

__all__ = ["ROOT_ADDRESS", "Leaf", "Prot", "Stage2", "vtcr"]

_INDEX_BITS: Final = 9  # a table's entries: 512
_INDEX: Final = (1 << _INDEX_BITS) - 1
_BLOCK_SHIFT: Final = PAGE_SHIFT + _INDEX_BITS
_WORDS_SHIFT: Final = PAGE_SHIFT - 3  # from a page frame to its first u64

_ROOT: Final = ROOT_PFN << _WORDS_SHIFT
_HARNESS_BLOCK: Final = HARNESS_BASE >> _BLOCK_SHIFT
_HARNESS_DESCRIPTOR: Final = block(HARNESS_PFN << PAGE_SHIFT, Prot.R | Prot.X)

ROOT_ADDRESS: Final = ROOT_PFN << PAGE_SHIFT  # VTTBR_EL2

_LEVELS: Final = {32: 2, 36: 3, 40: 3, 42: 3}  # of tables; the last is level 3
_FSC_TRANSLATION: Final = 0x04
_FSC_ACCESS_FLAG: Final = 0x08
_FSC_PERMISSION: Final = 0x0C


def vtcr(ipa_bits: int) -> int:
    """VTCR_EL2 for this IPA size: T0SZ, SL0, write-back walks, 44-bit output, RES1."""
    sl0 = _LEVELS[ipa_bits] - 2  # a 0 stands for level 2
    return 1 << 31 | 4 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | sl0 << 6 | 64 - ipa_bits


class _Table:
    """A table below the root: its page, its first word's index, and how many entries it has."""

    __slots__ = ("pfn", "used", "word")

    def __init__(self, pfn: int) -> None:
        self.pfn = pfn
        self.word = pfn << _WORDS_SHIFT
        self.used = 0


class Stage2:
    """One VM's stage 2.

    ``stale``: a translation was removed or downgraded, and a CPU that is not told may still use
    it. What is added or upgraded needs no telling, for faulting translations are not cached.
    ``exposed``: harness memory was made writable to the guest at some time.
    ``levels``: of tables, the root's included.
    """

    __slots__ = (
        "_arena",
        "_leaves",
        "_level2",
        "_level3",
        "_pages",
        "_words",
        "exposed",
        "levels",
        "stale",
    )

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._words = arena.words
        self.levels = _LEVELS[IPA_BITS[-1]]
        self._pages = 0
        self._leaves: dict[int, int] = {}  # IPA page -> descriptor
        self._level3: dict[int, _Table] = {}  # IPA >> 21 -> table of pages
        self._level2: dict[int, _Table] = {}  # IPA >> 30 -> table of tables, where level 1 starts
        self.stale = True
        self.exposed = False

    def reset(self, ipa_bits: int, warm: bool) -> None:
        """An empty IPA space; ``warm``: with the harness mapped, one 2 MiB block.

        The arena must have been reset before: the tables' pages are free again already.
        """
        self._clear_root()
        self._leaves.clear()
        self._level3.clear()
        self._level2.clear()
        self.levels = _LEVELS[ipa_bits]
        self._pages = 1 << ipa_bits - PAGE_SHIFT
        self.stale = True
        self.exposed = False
        if warm:
            entry, _ = self._level2_entry(_HARNESS_BLOCK)
            self._words[entry] = _HARNESS_DESCRIPTOR

    def map(self, ipa: int, pfn: int, prot: int) -> int:
        """Map the page at ``ipa``, young; how many table pages that took.

        A page that is mapped already is mapped anew.
        """
        page = ipa >> PAGE_SHIFT
        added = 0
        table = self._level3.get(page >> _INDEX_BITS)
        if table is None:
            table, added = self._add_level3(page)
        descriptor = pfn << PAGE_SHIFT | LEAF[prot]
        old = self._leaves.get(page)
        if old is None:
            table.used += 1
        elif takes_away(old, descriptor):
            self.stale = True
        if pfn < POOL_PFN and prot & Prot.W:
            self.exposed = True  # the same in protect()
        self._leaves[page] = descriptor
        self._words[table.word + (page & _INDEX)] = descriptor
        return added

    def unmap(self, ipa: int) -> bool:
        """Remove the page at ``ipa``, and tables that are empty then; whether it was mapped."""
        page = ipa >> PAGE_SHIFT
        if self._leaves.pop(page, None) is None:
            return False
        key = page >> _INDEX_BITS
        table = self._level3[key]
        self._words[table.word + (page & _INDEX)] = 0
        self.stale = True
        table.used -= 1
        if not table.used:
            self._drop_level3(key)
        return True

    def protect(self, ipa: int, prot: int) -> bool:
        """Permit exactly ``prot`` at ``ipa``; whether it is mapped."""
        old = self._leaves.get(ipa >> PAGE_SHIFT)
        if old is None:
            return False
        if prot & Prot.W and (old & PFN) >> PAGE_SHIFT < POOL_PFN:
            self.exposed = True
        self._rewrite(ipa >> PAGE_SHIFT, old, permitting(old, prot))
        return True

    def relax(self, ipa: int, prot: int) -> bool:
        """Permit ``prot`` as well at ``ipa``; whether it is mapped."""
        old = self._leaves.get(ipa >> PAGE_SHIFT)
        if old is None:
            return False
        return self.protect(ipa, prot | permissions(old))

    def mkyoung(self, ipa: int) -> bool:
        """Set the access flag at ``ipa``; whether it is mapped."""
        old = self._leaves.get(ipa >> PAGE_SHIFT)
        if old is None:
            return False
        self._rewrite(ipa >> PAGE_SHIFT, old, old | ACCESS_FLAG)
        return True

    def age(self, ipa: int) -> bool:
        """Clear the access flag at ``ipa``; whether it is mapped."""
        old = self._leaves.get(ipa >> PAGE_SHIFT)
        if old is None:
            return False
        self._rewrite(ipa >> PAGE_SHIFT, old, old & ~ACCESS_FLAG)
        return True

    def get(self, ipa: int) -> Leaf | None:
        """The page at ``ipa``. The harness's block has no pages and is not seen here."""
        descriptor = self._leaves.get(ipa >> PAGE_SHIFT)
        return None if descriptor is None else decode(descriptor)

    def mapped(self, start: int, end: int) -> list[int]:
        """The IPAs of the pages mapped in [start, end), ascending.

        Costs what is mapped, not what the range spans.
        """
        first, last = start >> PAGE_SHIFT, end - 1 >> PAGE_SHIFT
        return sorted(page << PAGE_SHIFT for page in self._leaves if first <= page <= last)

    def fault_status(self, ipa: int) -> int:
        """The fault status code that a read of ``ipa`` reports where the walk does not succeed."""
        page = ipa >> PAGE_SHIFT
        if page >= self._pages:
            return _FSC_TRANSLATION
        descriptor = self._leaves.get(page)
        if descriptor is not None:
            return (_FSC_PERMISSION if descriptor & ACCESS_FLAG else _FSC_ACCESS_FLAG) | 3
        if page >> _INDEX_BITS in self._level3:
            return _FSC_TRANSLATION | 3
        if self.levels == 2 or page >> 2 * _INDEX_BITS in self._level2:
            return _FSC_TRANSLATION | 2
        return _FSC_TRANSLATION | 1

    def _rewrite(self, page: int, old: int, descriptor: int) -> None:
        if takes_away(old, descriptor):
            self.stale = True
        self._leaves[page] = descriptor
        self._words[self._level3[page >> _INDEX_BITS].word + (page & _INDEX)] = descriptor

    def _add_level3(self, page: int) -> tuple[_Table, int]:
        """The missing table for ``page``, linked; and how many tables that took."""
        if not 0 <= page < self._pages:
            raise ValueError(f"{page << PAGE_SHIFT:#x} is outside the IPA space")
        key = page >> _INDEX_BITS
        entry, added = self._level2_entry(key)
        if self._words[entry]:
            raise ValueError(f"{page << PAGE_SHIFT:#x} is in the harness's block")
        self._level3[key] = table = _Table(self._arena.allocate())
        self._words[entry] = table.pfn << PAGE_SHIFT | TABLE
        return table, added + 1

    def _level2_entry(self, key: int) -> tuple[int, int]:
        """Where entry ``key`` of level 2 is, to be written; and how many tables that took."""
        if self.levels == 2:
            return _ROOT + key, 0
        added = 0
        table = self._level2.get(key >> _INDEX_BITS)
        if table is None:
            self._level2[key >> _INDEX_BITS] = table = _Table(self._arena.allocate())
            self._words[_ROOT + (key >> _INDEX_BITS)] = table.pfn << PAGE_SHIFT | TABLE
            added = 1
        table.used += 1
        return table.word + (key & _INDEX), added

    def _drop_level3(self, key: int) -> None:
        self._arena.free(self._level3.pop(key).pfn)
        if self.levels == 2:
            self._words[_ROOT + key] = 0
            return
        parent = self._level2[key >> _INDEX_BITS]
        self._words[parent.word + (key & _INDEX)] = 0
        parent.used -= 1
        if not parent.used:
            del self._level2[key >> _INDEX_BITS]
            self._words[_ROOT + (key >> _INDEX_BITS)] = 0
            self._arena.free(parent.pfn)

    def _clear_root(self) -> None:
        words = self._words
        if self.levels == 2:
            for key in self._level3:
                words[_ROOT + key] = 0
            words[_ROOT + _HARNESS_BLOCK] = 0
        else:
            for key in self._level2:
                words[_ROOT + key] = 0
