"""The geometry of stage 2: how an IPA is cut up, for each host page size, as KVM chooses it.

A stage 2 has the host's granule. Its start level and the number of concatenated root tables follow
from the IPA size: at least two levels, and no more than up to 16 root tables make necessary.
"""

from functools import cache
from typing import Final, NamedTuple

from emu.abi import PAGE_SIZE

_INDEX_SHIFT: Final = 3  # a descriptor is 8 bytes, and a table is a page of them
_ROOT_BITS: Final = 4  # of the IPA, that concatenation resolves
_LEAST_LEVELS: Final = 2

_TG0: Final = {12: 0, 14: 2, 16: 1}  # VTCR_EL2.TG0, by page shift
# VTCR_EL2: inner shareable, write-back walks, 44-bit output, RES1.
_WALKS: Final = 1 << 31 | 4 << 16 | 3 << 12 | 1 << 10 | 1 << 8


class Granule(NamedTuple):
    """One geometry. ``levels``: of tables, the root's included; the last is level 3."""

    page_shift: int
    index_bits: int
    levels: int
    pages: int  # in the whole space

    @property
    def block_shift(self) -> int:
        """Of what a level-2 entry spans: 2 MiB, 32 MiB or 512 MiB."""
        return self.page_shift + self.index_bits


@cache
def granule(ipa_bits: int, page_size: int = PAGE_SIZE) -> Granule:
    """The geometry of a space of this size on a host with these pages."""
    page_shift = page_size.bit_length() - 1
    index_bits = page_shift - _INDEX_SHIFT
    to_resolve = ipa_bits - _ROOT_BITS - page_shift
    levels = max(_LEAST_LEVELS, -(-to_resolve // index_bits))
    return Granule(page_shift, index_bits, levels, 1 << ipa_bits - page_shift)


def vtcr(ipa_bits: int, page_size: int = PAGE_SIZE) -> int:
    """VTCR_EL2 for this geometry: T0SZ, SL0, TG0 and what is always the same."""
    shape = granule(ipa_bits, page_size)
    # SL0 0 stands for level 2 with 4 KiB pages, else for level 3.
    sl0 = shape.levels - (2 if page_size == PAGE_SIZE else 1)
    return _WALKS | _TG0[shape.page_shift] << 14 | sl0 << 6 | 64 - ipa_bits
