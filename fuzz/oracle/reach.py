"""What an access of the guest's program reaches: guest-physical bytes of the VM itself.

For an access of L1, or of a guest without EL2, those are its own addresses. For one of L2 they are
where L1's stage 2 leads, which only the leaves that the case wrote can say.
"""

from typing import Final, NamedTuple

from emu.abi import PAGE_SHIFT
from emu.access import ACCESS_FACTS, Access, Direction

_WRITING: Final = frozenset(
    {Direction.WRITE, Direction.READ_WRITE, Direction.MAINTENANCE, Direction.VNCR_WRITE}
)
_VNCR: Final = frozenset({Direction.VNCR_READ, Direction.VNCR_WRITE})
_OUTPUT: Final = 1 << 48  # bytes: Arm ARM, VMSAv8-64 descriptors without FEAT_LPA
_BLOCK_SHIFT: Final = 21
_BLOCK: Final = 1 << _BLOCK_SHIFT
_LEAF: Final = 1 << PAGE_SHIFT  # L1's granule is 4 KiB, whatever the host's page


class Target(NamedTuple):
    """An access of the guest's program: what, and the first and last byte that it touches.

    ``page_size`` is the host's. ``is_l2``: it is L2's, and the bytes are those that L1 maps there;
    ``ipa`` is L2's own address of the first.
    ``known``: whether it can be told where the access leads; where not, nothing else here counts.
    """

    access: Access
    first: int
    last: int
    page_size: int
    is_l2: bool = False
    known: bool = True
    ipa: int | None = None

    @property
    def pages(self) -> range:
        """The host pages that it touches, by address."""
        return range(self.first & -self.page_size, self.last + 1, self.page_size)

    def is_named_by(self, page: int) -> bool:
        """Whether a page is one of the access, by the VM's address or, mistaken for it, L2's."""
        if page in self.pages or self.ipa is None:
            return page in self.pages
        last = self.ipa + (self.last - self.first)
        return page in range(self.ipa & -self.page_size, last + 1, self.page_size)

    @property
    def syndrome(self) -> bool:
        """Whether an abort of it comes with a valid instruction syndrome."""
        return ACCESS_FACTS[self.access].syndrome

    @property
    def writes(self) -> bool:
        """Whether it asks for more than a read-only page gives. Cache maintenance does."""
        return ACCESS_FACTS[self.access].direction in _WRITING

    @property
    def direction(self) -> Direction:
        """What it does to memory."""
        return ACCESS_FACTS[self.access].direction

    @property
    def is_vncr(self) -> bool:
        """Whether it is an EL2 register's, which NV2 makes an access to L1's VNCR page."""
        return ACCESS_FACTS[self.access].direction in _VNCR

    @property
    def is_plain(self) -> bool:
        """Whether it goes through KVM's own stage 2 alone."""
        return not self.is_l2 and not self.is_vncr


class L1Stage2:
    """What L1 wrote into its stage 2, by L2's address.

    ``is_sound``: its tables are where the harness keeps them and its VTCR_EL2 is legal, so that a
    walk finds what was written.
    """

    __slots__ = ("_blocks", "_pages", "is_sound")

    def __init__(self) -> None:
        self.is_sound = True
        self._pages: dict[int, int] = {}
        self._blocks: dict[int, int] = {}

    def write(self, ipa: int, output: int, *, block: bool) -> None:
        """A leaf, which has room for 48 bits of L1's address."""
        if block:
            self._blocks[ipa >> _BLOCK_SHIFT] = output % _OUTPUT & -_BLOCK
        else:
            self._pages[ipa >> PAGE_SHIFT] = output % _OUTPUT & -_LEAF

    def output(self, ipa: int) -> int | None:
        """L1's address for one of L2's. None where L1 maps nothing, or where it cannot be told:
        leaves of both sizes in one block.
        """
        page, block = self._pages.get(ipa >> PAGE_SHIFT), self._blocks.get(ipa >> _BLOCK_SHIFT)
        if block is None:
            return None if page is None else page | ipa & _LEAF - 1
        if any(other << PAGE_SHIFT >> _BLOCK_SHIFT == ipa >> _BLOCK_SHIFT for other in self._pages):
            return None
        return block | ipa & _BLOCK - 1

    def target(self, access: Access, first: int, last: int, page_size: int) -> Target:
        """The target of an L2 access; not known where L1 does not map all of it in one piece."""
        start = self.output(first) if self.is_sound else None
        if start is None or self.output(last) != start + (last - first):
            return Target(access, first, last, page_size, is_l2=True, known=False, ipa=first)
        return Target(access, start, start + (last - first), page_size, is_l2=True, ipa=first)
