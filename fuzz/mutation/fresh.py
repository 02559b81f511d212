"""New steps out of nothing: the values, one at a time, that KVM's checks turn on.

Slot N shows guest_memfd N or memory object N at ``BASES[N]``, so that steps made apart from each
other mostly fit together; what does not fit is left to the mutations.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Final, TypeVar

from emu.abi import PAGE_SIZE, U64, Errno, GmemFlag, MemFlag
from emu.access import Access
from emu.injection import At, CpuExit, Fail, ForceAbort, ForceExit, Point, Site
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
    L1Bit,
    L1Map,
    L1Table,
    L1Vtcr,
    MemKind,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    PoisonGmem,
    PoisonMem,
    Protect,
    Protection,
    PunchHole,
    Ref,
    ReleaseGmem,
    Run,
    RunFlag,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
    Userfault,
    UserfaultMode,
)

T = TypeVar("T")
MakeStep = Callable[[Random], Step]

# The second slot follows the first without a gap when that has two pages.
BASES: Final = (0x4000_0000, 0x4000_2000, 0x8000_0000, 0xFFFF_E000)
DEVICE: Final = 0x0900_0000
USABLE: Final = int(GmemFlag.MMAP | GmemFlag.INIT_SHARED)
WHOLE: Final = 1 << 30  # more than any object that a fresh step makes

SIZES: Final = tuple(pages * PAGE_SIZE for pages in (1, 1, 1, 2, 2, 2, 2, 3, 4, 16))
ODD_SIZES: Final = (
    *(0, 1, PAGE_SIZE - 1, PAGE_SIZE + 1, 0x1_0000, 0x20_0000, 1 << 32, 1 << 43, (1 << 43) - 1),
    *(1 << 63, U64 + 1 - PAGE_SIZE, U64),
)
WITHIN_PAGE: Final = (0, 0, 0, 0, 8, 0x10, 0x40, 0x800, 0xFF0, 0xFF8, 0xFFC, 0xFFF, 4, 1)
ODD_ADDRESSES: Final = (
    *(0, DEVICE, DEVICE + 8, DEVICE + 0xFFC, BASES[0] - 8, 0xF000_0000, 0xF020_0000),
    *((1 << bits) + delta for bits in (32, 36, 40, 42, 44, 48) for delta in (-8, 0)),
    *(1 << 63, U64 - 7),
)
ODD_OFFSETS: Final = (1, U64 + 1 - PAGE_SIZE, U64 - 7, 1 << 31, 1 << 32, 1 << 36, 1 << 62, 1 << 63)
SLOTS: Final = (0,) * 14 + (1,) * 5 + (2, 3)
ODD_SLOTS: Final = (7, 32765, 32766, 32767, 1 << 16, (1 << 16) + 1, (1 << 32) - 1)
FAULT_STATUSES: Final = (*range(0x04, 0x19), 0x1B, 0x1F, 0x21, 0x2A, 0x2B, 0x30, 0x34, 0x35, 0x3F)
ACCESSES: Final = (
    *(Access.READ64, Access.WRITE64) * 5,
    *(Access.FETCH, Access.WALK, Access.CAS, Access.DC_ZVA, Access.READ_PAIR) * 2,
    *Access,
)
RUN_FLAGS: Final = tuple(int(flag) for flag in RunFlag)
PROTECTIONS: Final = (Protection.NONE, Protection.NONE, Protection.READ, Protection.READ_WRITE)
# Half of the time one that the fault path treats in a way of its own.
ERRNOS: Final = (
    *(Errno.EAGAIN, Errno.ENOEXEC, Errno.EFAULT, Errno.EHWPOISON, Errno.ENOMEM) * 4,
    *Errno,
)
# Few cases come to the last.
POINTS: Final = (Point.ENTRY, Point.WALK, Point.LOOKUP, Point.PIN, Point.MAP) * 4 + (Point.SWAP,)
L1_BITS: Final = tuple(int(bit) for bit in L1Bit)
VCPU_NUMBERS: Final = (0, 0, 1, 1, 1, 2, 3)
# The first is where a slot is as well; the others are L2's alone.
L2_PAGES: Final = (BASES[0], 0x1_0000, 0x2000_0000, 0x3_0000_0000)
SITES: Final = (Site.KVM_GMEM_GET_PFN,) * 4 + tuple(Site)


def one_of(rng: Random, values: Sequence[T]) -> T:
    """One of the values; several times as fast as ``Random.choice``."""
    return values[int(rng.random() * len(values))]


def chance(rng: Random, one_in: int) -> bool:
    """True once in ``one_in`` times."""
    return rng.random() * one_in < 1


# VALUES


def size(rng: Random) -> int:
    """A size in bytes: mostly a few pages."""
    return one_of(rng, ODD_SIZES if chance(rng, 10) else SIZES)


def offset(rng: Random) -> int:
    """A page's offset in an object: mostly one of its first pages."""
    if chance(rng, 20):
        return one_of(rng, ODD_OFFSETS)
    return PAGE_SIZE * one_of(rng, (0, 0, 0, 0, 1, 1, 2, 3))


def byte_offset(rng: Random) -> int:
    """An offset for an access: at the start, in the midst and over the end of a page."""
    if chance(rng, 30):
        return one_of(rng, ODD_OFFSETS)
    return PAGE_SIZE * one_of(rng, (0, 0, 0, 1, 1, 2)) + one_of(rng, WITHIN_PAGE)


def slot(rng: Random) -> int:
    """A slot's number: mostly the first or second."""
    return one_of(rng, ODD_SLOTS if chance(rng, 40) else SLOTS)


def index(rng: Random) -> int:
    """An object's number: mostly the first or second."""
    return one_of(rng, SLOTS)


def base(rng: Random, number: int) -> int:
    """A slot's guest-physical address: mostly its own."""
    if chance(rng, 10):
        return one_of(rng, (*BASES, *ODD_ADDRESSES))
    return BASES[number % len(BASES)]


# STEPS


def create_gmem(rng: Random) -> Step:
    """Mostly a guest_memfd that can be bound."""
    flags = one_of(rng, (0, 1, 2, 4, 7, 1 << 63)) if chance(rng, 8) else USABLE
    return CreateGmem(index(rng), size(rng), flags)


def create_mem(rng: Random) -> Step:
    """Memory of the VMM."""
    return CreateMem(index(rng), size(rng), one_of(rng, tuple(MemKind)))


def gmem_slot(rng: Random) -> Step:
    """A slot of the guest_memfd with its number."""
    number = slot(rng)
    flags = one_of(rng, (0, 1, 5, 6, 7, 12)) if chance(rng, 12) else int(MemFlag.GUEST_MEMFD)
    mem = Ref(number & 7, 0) if chance(rng, 6) else None
    gmem = Ref(number & 7, offset(rng) if mem is None and chance(rng, 4) else 0)
    return SetMemslot(number, base(rng, number), size(rng), flags, mem, gmem, chance(rng, 30))


def mem_slot(rng: Random) -> Step:
    """A slot of the memory object with its number."""
    number = slot(rng)
    mem = Ref(number & 7, offset(rng) if chance(rng, 4) else 0)
    flags = one_of(rng, (0, 0, 0, 0, 0, 1, 2, 2, 3, 8))
    return SetMemslot(number, base(rng, number), size(rng), flags, mem, None, chance(rng, 10))


def delete_slot(rng: Random) -> Step:
    """As a VMM deletes a slot."""
    return SetMemslot(slot(rng), 0, 0, 0, None, None)


def access(rng: Random) -> Step:
    """Mostly in a slot."""
    if chance(rng, 10):
        return Guest(one_of(rng, ACCESSES), None, one_of(rng, ODD_ADDRESSES))
    return Guest(one_of(rng, ACCESSES), slot(rng), byte_offset(rng))


def run(rng: Random) -> Step:
    """Mostly without anything special."""
    return Run(one_of(rng, RUN_FLAGS) if chance(rng, 6) else 0)


def fail(rng: Random) -> Step:
    """Mostly the next call."""
    nth = one_of(rng, (2, 3, 255)) if chance(rng, 5) else 1
    return Fail(one_of(rng, SITES), one_of(rng, ERRNOS), nth)


def force_abort(rng: Random) -> Step:
    """A fault status that the CPU would not report by itself."""
    bits = int(rng.random() * 16) if chance(rng, 3) else 0
    return ForceAbort(one_of(rng, FAULT_STATUSES), bits)


def userfault(rng: Random) -> Step:
    """Mostly a missing page of the first object."""
    mode = one_of(rng, (UserfaultMode.MISSING, *UserfaultMode))
    return Userfault(_ref_at_page(rng), size(rng), mode)


def l2_address(rng: Random) -> int:
    """An address of L2's: a few pages that ``l1_map`` maps."""
    return one_of(rng, L2_PAGES) + one_of(rng, WITHIN_PAGE)


def l1_map(rng: Random) -> Step:
    """A page of L2's, mostly in a slot and with every permission."""
    prot = int(rng.random() * 8) if chance(rng, 4) else sum(L1_BITS)
    return L1Map(one_of(rng, L2_PAGES), slot(rng), offset(rng), prot, chance(rng, 8))


def l1_table(rng: Random) -> Step:
    """L1's stage-2 tables where they may not be readable."""
    level = 1 + int(rng.random() * 3)
    if chance(rng, 2):
        return L1Table(level, slot(rng), offset(rng))
    return L1Table(level, None, one_of(rng, ODD_ADDRESSES))


def _ref_at_page(rng: Random) -> Ref:
    return Ref(index(rng), offset(rng))


def _ioeventfd_size(rng: Random) -> int:
    return one_of(rng, (1, 2, 4, 8))


# How often, next to what. A case is mostly accesses and runs.
FRESH: Final[tuple[tuple[int, MakeStep], ...]] = (
    (8, run),
    (12, access),
    (3, create_gmem),
    (2, create_mem),
    (4, gmem_slot),
    (3, mem_slot),
    (1, delete_slot),
    (1, lambda rng: PunchHole(_ref_at_page(rng), size(rng))),
    (1, lambda rng: Allocate(_ref_at_page(rng), size(rng))),
    (2, lambda rng: ReleaseGmem(index(rng))),
    (2, lambda rng: PoisonGmem(_ref_at_page(rng))),
    (1, lambda rng: PoisonMem(_ref_at_page(rng))),
    (1, lambda rng: Unmap(_ref_at_page(rng), size(rng))),
    (1, lambda rng: Protect(_ref_at_page(rng), size(rng), one_of(rng, PROTECTIONS))),
    (1, lambda rng: Truncate(index(rng), offset(rng))),
    (1, lambda rng: Age(slot(rng))),
    (3, lambda rng: MemoryLimit(not chance(rng, 4))),
    (1, lambda rng: IoEventFd(DEVICE, _ioeventfd_size(rng))),
    (1, fail),
    (1, lambda rng: ForceExit(one_of(rng, tuple(CpuExit)))),
    (1, force_abort),
    (2, lambda _rng: Skip()),
    (1, userfault),
    (1, lambda rng: GetDirtyLog(slot(rng))),
    (1, lambda rng: SelectVcpu(one_of(rng, VCPU_NUMBERS))),
    (1, lambda rng: At(one_of(rng, POINTS))),
    (1, lambda rng: L1Vtcr(chance(rng, 2))),
    (1, l1_map),
    (1, l1_table),
    (1, lambda rng: MemlockLimit(chance(rng, 2))),
    (1, lambda rng: GuestL2(one_of(rng, ACCESSES), l2_address(rng))),
    (1, lambda rng: MmioData(int(rng.random() * (1 << 53)))),
)
_TABLE: Final = tuple(make for weight, make in FRESH for _ in range(weight))


def fresh_step(rng: Random) -> Step:
    """Any step."""
    return one_of(rng, _TABLE)(rng)
