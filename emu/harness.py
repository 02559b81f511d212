"""What the guest finds at HARNESS_BASE: its code and its stage-1 tables.

The code page has every snippet twice: followed by HVC, when more accesses are to come, and followed
by a store to the idle doorbell and HVC, for the last one. Stage 1 maps the first 44 bits of the
address space onto themselves, as normal memory, in blocks of 1 GiB. TTBR1's table is a page of
zeros, except in a walk, whose table is the page of the case's address.
"""

from dataclasses import dataclass
from typing import Final

from emu.abi import HARNESS_BASE, PAGE_SHIFT, PAGE_SIZE
from emu.access import Access
from emu.arena import HARNESS_PFN, Arena
from emu.asm import LEAVE, RING, SNIPPETS, Assembler

INPUT_BITS: Final = 44  # what stage 1 maps, and the CPU's PARange

_CODE_PAGE: Final = 0
_LEVEL0_PAGE: Final = 1
_ZERO_PAGE: Final = 2
_LEVEL1_PAGE: Final = 16
_LEVEL1_PAGES: Final = 1 << INPUT_BITS - 39
_PAGES: Final = _LEVEL1_PAGE + _LEVEL1_PAGES

TTBR0: Final = HARNESS_BASE + (_LEVEL0_PAGE << PAGE_SHIFT)
LEVEL1_TABLES: Final = range(
    HARNESS_BASE + (_LEVEL1_PAGE << PAGE_SHIFT), HARNESS_BASE + (_PAGES << PAGE_SHIFT)
)
TTBR1: Final = HARNESS_BASE + (_ZERO_PAGE << PAGE_SHIFT)

# A level-1 table of 512 entries behind TTBR1 (T1SZ 25): VA[38:30] is the entry's index.
UPPER_HALF: Final = 0xFFFF_FF80_0000_0000
TCR: Final = (
    # IPS 44 bits; TG1 4 KiB, inner shareable, write-back; T1SZ 25; the same for TTBR0; T0SZ 16
    4 << 32 | 2 << 30 | 3 << 28 | 1 << 26 | 1 << 24 | 25 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 16
)
MAIR: Final = 0xFF  # attribute 0: normal memory, write-back

_VALID: Final = 1
_TABLE: Final = 3
_BLOCK: Final = 1 << 10 | 3 << 8 | _VALID  # young, inner shareable, attribute 0, EL1 reads, writes

NOWHERE: Final = -1


@dataclass(frozen=True, slots=True)
class Program:
    """A piece of code, by the addresses of its parts.

    ``start``: its first instruction. ``stands``: where the guest can be while the access is not
    done. ``end``: what follows the access. ``bell``: the doorbell's store.
    """

    start: int
    stands: tuple[int, ...]
    end: int
    bell: int


class Harness:
    """The code and tables, and where each program is.

    ``more`` and ``last`` are the two forms of each snippet. ``ring`` is the doorbell's store alone,
    ``leave`` HVC alone.
    """

    __slots__ = ("_image", "last", "leave", "more", "ring")

    def __init__(self, assembler: Assembler) -> None:
        code = bytearray()
        leave, ring = assembler.assemble(LEAVE), assembler.assemble(RING)
        words = {access: assembler.assemble(snippet.text) for access, snippet in SNIPPETS.items()}
        self.more = {access: _append(code, access, words[access], b"", leave) for access in words}
        self.last = {access: _append(code, access, words[access], ring, leave) for access in words}
        self.ring = _append(code, None, b"", ring, leave)
        self.leave = _append(code, None, b"", b"", leave)
        self._image = bytes(code).ljust(PAGE_SIZE, b"\0") + _tables()

    def write(self, arena: Arena) -> None:
        """Write code and tables to their pages."""
        start = HARNESS_PFN << PAGE_SHIFT
        arena.buffer[start : start + len(self._image)] = self._image


def _append(
    code: bytearray, access: Access | None, body: bytes, ring: bytes, leave: bytes
) -> Program:
    start = HARNESS_BASE + (_CODE_PAGE << PAGE_SHIFT) + len(code)
    code += body + ring + leave
    end = start + len(body)
    # LDXR can abort, and STXR on a page that permits reading only; MOV, only where a fetch does.
    stands = (start, start + 4, start + 8) if access is Access.WRITE_EXCLUSIVE else (start,)
    return Program(start, stands, end, end if ring else NOWHERE)


def _tables() -> bytes:
    pages = [[0] * 512 for _ in range(_PAGES - _LEVEL0_PAGE)]
    for index in range(_LEVEL1_PAGES):
        level1 = HARNESS_BASE + (_LEVEL1_PAGE + index << PAGE_SHIFT)
        pages[0][index] = level1 | _TABLE
        pages[_LEVEL1_PAGE - _LEVEL0_PAGE + index] = [
            (index << 9 | entry) << 30 | _BLOCK for entry in range(512)
        ]
    return b"".join(word.to_bytes(8, "little") for page in pages for word in page)
