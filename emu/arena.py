"""The emulated machine's physical memory: one buffer, a few fixed regions, and a pool of pages.

Physical address 0 of the guest's machine is byte 0 of the buffer. The CPU (``emu.engine``) maps
the buffer once and for all; whatever the guest or the stage-2 walker reads is read from here.
One thing the CPU does not see: that the host changes a page from which the guest has fetched. It
goes on with what it fetched, which is zeros: the guest never stores anything else.
"""

import mmap
from typing import Final

from emu.abi import HARNESS_SIZE, PAGE_SHIFT, PAGE_SIZE

ARENA_SIZE: Final = 16 << 20

# The host's zero page: what a first read of anonymous memory shows. Nobody may write it.
ZERO_PFN: Final = 0x1

# The root of stage 2. Eight pages, so that it holds the concatenated tables of a 42-bit space.
ROOT_PFN: Final = 0x10
ROOT_PAGES: Final = 8

# What the guest finds at HARNESS_BASE: its code and stage-1 tables. The other half of the window
# has the doorbell and no memory. Aligned to its size, because stage 2 maps it as one block.
CODE_SIZE: Final = HARNESS_SIZE // 2
HARNESS_PFN: Final = CODE_SIZE >> PAGE_SHIFT

POOL_PFN: Final = HARNESS_PFN + (CODE_SIZE >> PAGE_SHIFT)

_ZEROS: Final = bytes(PAGE_SIZE)


class ArenaFullError(MemoryError):
    """The pool has no page left."""


class Arena:
    """The memory and its free pages. ``words`` is the same memory as u64, host byte order."""

    __slots__ = ("_freed", "_next", "buffer", "words")

    def __init__(self) -> None:
        # Private: after fork() each process has its own machine.
        self.buffer = mmap.mmap(-1, ARENA_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.words: memoryview = memoryview(self.buffer).cast("Q")
        self._next = POOL_PFN
        self._freed: list[int] = []

    def allocate(self) -> int:
        """The page frame number of a page of zeros. Raises ``ArenaFullError``."""
        if self._freed:
            pfn = self._freed.pop()
        elif self._next < ARENA_SIZE >> PAGE_SHIFT:
            pfn = self._next
            self._next = pfn + 1
        else:
            raise ArenaFullError(f"all {(ARENA_SIZE >> PAGE_SHIFT) - POOL_PFN} pages are in use")
        start = pfn << PAGE_SHIFT
        self.buffer[start : start + PAGE_SIZE] = _ZEROS
        return pfn

    def free(self, pfn: int) -> None:
        """Give back a page that ``allocate`` returned."""
        self._freed.append(pfn)

    def reset(self) -> None:
        """Give back every page. Their contents go when they are allocated again."""
        self._next = POOL_PFN
        self._freed.clear()
