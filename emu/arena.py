"""The emulated machine's physical memory: one buffer, a few fixed regions, and a pool of pages.

Physical address 0 of the guest's machine is byte 0 of the buffer. The CPU (``emu.engine``) maps
the buffer once and for all; whatever the guest or the stage-2 walker reads is read from here.
A page frame number (pfn) counts frames of 4 KiB whatever the host's page size is; a larger page
has the number of its first frame.
One thing the CPU does not see: that the host changes a page from which the guest has fetched. It
goes on with what it fetched, which is zeros: the guest never stores anything else.
"""

import mmap
from typing import Final

from emu.abi import HARNESS_SIZE, PAGE_SHIFT, PAGE_SIZE

# Address space: only what is used takes memory. A case has room for more pages of 64 KiB than its
# steps can touch.
ARENA_SIZE: Final = 96 << 20

WORDS_SHIFT: Final = PAGE_SHIFT - 3  # from a page frame to its first u64

# The host's zero page: what a first read of anonymous memory shows. Nobody may write it.
ZERO_PFN: Final = 0x10

# The root of stage 2: up to sixteen concatenated tables of 16 KiB, which are aligned to their sum.
ROOT_PFN: Final = 0x40
ROOT_PAGES: Final = 64
# Behind each root are the tables that lead to the harness (emu.harness_map).
SHADOW_PFN: Final = ROOT_PFN + 2 * ROOT_PAGES  # of the stage 2 that a nested guest runs under

# What the guest finds at HARNESS_BASE: its code and stage-1 tables. The other half of the window
# has the doorbell and no memory. Aligned to its size, because stage 2 maps it as one block.
CODE_SIZE: Final = HARNESS_SIZE // 2
HARNESS_PFN: Final = CODE_SIZE >> PAGE_SHIFT

POOL_PFN: Final = HARNESS_PFN + (CODE_SIZE >> PAGE_SHIFT)

# One area stands for every huge page. As all that it can hold is zeros, no guest can tell.
HUGE_SHIFT: Final = 21
HUGE_SIZE: Final = 1 << HUGE_SHIFT
HUGE_PFN: Final = ARENA_SIZE - HUGE_SIZE >> PAGE_SHIFT


class ArenaFullError(MemoryError):
    """The pool has no page left."""


class Arena:
    """The memory and its free pages. ``words`` is the same memory as u64, host byte order."""

    __slots__ = ("_freed", "_next", "_zeros", "buffer", "page_size", "words")

    def __init__(self) -> None:
        # Private: after fork() each process has its own machine.
        self.buffer = mmap.mmap(-1, ARENA_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.words: memoryview = memoryview(self.buffer).cast("Q")
        self.page_size = PAGE_SIZE
        self._zeros = bytes(PAGE_SIZE)
        self._next = POOL_PFN
        self._freed: list[int] = []

    def allocate(self) -> int:
        """The page frame number of a page of zeros. Raises ``ArenaFullError``."""
        size = self.page_size
        if self._freed:
            pfn = self._freed.pop()
        elif self._next < HUGE_PFN:
            pfn = self._next
            self._next = pfn + (size >> PAGE_SHIFT)
        else:
            raise ArenaFullError(f"all {HUGE_PFN - POOL_PFN} frames are in use")
        start = pfn << PAGE_SHIFT
        self.buffer[start : start + size] = self._zeros
        return pfn

    def free(self, pfn: int) -> None:
        """Give back a page that ``allocate`` returned; a huge page's are nobody's to give."""
        if pfn < HUGE_PFN:
            self._freed.append(pfn)

    @property
    def used(self) -> int:
        """How many pages are in use."""
        return (self._next - POOL_PFN) // (self.page_size >> PAGE_SHIFT) - len(self._freed)

    def reset(self, page_size: int = PAGE_SIZE) -> None:
        """Give back every page; those that come are of this size.

        Their contents go when they are allocated again.
        """
        self._next = POOL_PFN
        self._freed.clear()
        if self.page_size != page_size:
            self.page_size = page_size
            self._zeros = bytes(page_size)
