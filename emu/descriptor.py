"""A stage-2 leaf: what it permits, and its bits (Arm ARM, VMSAv8-64 stage 2 descriptors)."""

from enum import IntEnum
from typing import Final, NamedTuple

from emu.abi import PAGE_SHIFT, PAGE_SIZE


class Prot(IntEnum):
    """What a leaf permits: the sum of these."""

    R = 1
    W = 2
    X = 4
    DEVICE = 8  # not a permission: the memory type is Device-nGnRE, not normal


class Leaf(NamedTuple):
    """What maps a page, alone or with others. ``young``: its access flag is set."""

    pfn: int
    prot: int
    young: bool


TABLE: Final = 0b11
PFN: Final = (1 << 48) - PAGE_SIZE
ACCESS_FLAG: Final = 1 << 10

_PAGE: Final = 0b11
_BLOCK: Final = 0b01
_NORMAL: Final = 0xF << 2  # MemAttr: write-back
_DEVICE: Final = 0x1 << 2
_INNER_SHAREABLE: Final = 3 << 8
_READ: Final = 1 << 6
_WRITE: Final = 1 << 7
_EXECUTE_NEVER: Final = 1 << 54
_PERMISSION_MASK: Final = _READ | _WRITE | _EXECUTE_NEVER

_ALL: Final = Prot.R | Prot.W | Prot.X

_PERMISSIONS: Final = tuple(
    (_READ if prot & Prot.R else 0)
    | (_WRITE if prot & Prot.W else 0)
    | (0 if prot & Prot.X else _EXECUTE_NEVER)
    for prot in range(8)
)

# The descriptor of page 0, young, by permissions and memory type: add the page frame's address.
LEAF: Final = tuple(
    bits | _PAGE | memory | _INNER_SHAREABLE | ACCESS_FLAG
    for memory in (_NORMAL, _DEVICE)
    for bits in _PERMISSIONS
)


def block(address: int, prot: int) -> int:
    """The level-2 descriptor of a block from ``address``, young."""
    return LEAF[prot] & ~_PAGE | _BLOCK | address


def is_page(descriptor: int) -> bool:
    """Whether a leaf is a page's, and not a block's."""
    return descriptor & _PAGE == _PAGE


def permitting(descriptor: int, prot: int) -> int:
    """The same leaf with exactly these permissions."""
    return descriptor & ~_PERMISSION_MASK | _PERMISSIONS[prot & _ALL]


def permissions(descriptor: int) -> int:
    """What a leaf permits."""
    # Prot.R and Prot.W are S2AP's two bits.
    return descriptor >> 6 & 3 | (~descriptor >> 54 & 1) << 2


def decode(descriptor: int) -> Leaf:
    """The leaf that a descriptor describes."""
    pfn = (descriptor & PFN) >> PAGE_SHIFT
    device = Prot.DEVICE if descriptor & _NORMAL == _DEVICE else 0
    return Leaf(pfn, permissions(descriptor) | device, bool(descriptor & ACCESS_FLAG))


def takes_away(old: int, new: int) -> bool:
    """Whether ``new`` leads elsewhere than ``old``, or denies something that ``old`` permits."""
    lost = old & ~new & (_READ | _WRITE | ACCESS_FLAG) | new & ~old & _EXECUTE_NEVER
    return bool(lost or (old ^ new) & PFN)
