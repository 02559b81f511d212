"""VMs that are special in one fact, each with the sequences of steps that mean something there.

In an ordinary VM an access through VNCR, L2 or a 16 KiB page comes to nothing; and an ordinary
sequence seldom comes to anything new in one of these. A case of a world starts with its VM.
"""

from dataclasses import replace
from random import Random
from typing import Final, NamedTuple

from emu.abi import MemFlag
from emu.access import Access
from emu.case import PAGE_SIZES, VmConfig
from emu.injection import At, Point
from emu.steps import (
    CreateGmem,
    CreateMem,
    Guest,
    GuestL2,
    L1Map,
    L1Table,
    L1Vtcr,
    MemKind,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    Ref,
    Run,
    SetMemslot,
    Skip,
)
from fuzz.mutation import fresh, motifs
from fuzz.mutation.fresh import ACCESSES, BASES, L1_BITS, L2_PAGES, USABLE, chance, one_of
from fuzz.mutation.motifs import DISTURBANCES, RUN, MakeMotif, Motif

_LARGEST: Final = PAGE_SIZES[-1]
_VNCR: Final = (Access.VNCR_READ, Access.VNCR_READ, Access.VNCR_WRITE)
_REGISTERS: Final = (0x110, 0x110, 0, 0x8, 0xFF8)  # offsets in the VNCR page
_ALL: Final = sum(L1_BITS)
_NOWHERE: Final = 0x2_0000_0000


class World(NamedTuple):
    """A kind of VM: its facts, and the motifs to draw from, the first of which lay out memory."""

    vm: VmConfig
    layouts: tuple[MakeMotif, ...]
    motifs: tuple[MakeMotif, ...]


# NESTED


def vncr(rng: Random, number: int) -> Motif:
    """An EL2 register of L1's in a page of the slot."""
    return _vncr(rng, number), RUN


def vncr_disturbed(rng: Random, number: int) -> Motif:
    """The page of L1's EL2 registers goes, before it is used or after."""
    use = _vncr(rng, number)
    trouble = fresh.fail(rng) if chance(rng, 4) else one_of(rng, DISTURBANCES)(rng, number)
    steps = (trouble, use, RUN)
    return steps if chance(rng, 2) else (use, RUN, *steps)


def vncr_then(rng: Random, number: int) -> Motif:
    """Trouble with the VNCR page, and with another access in the same KVM_RUN."""
    other = number ^ 1
    trouble = one_of(rng, DISTURBANCES)(rng, other)
    follow = Guest(one_of(rng, ACCESSES), other, fresh.byte_offset(rng))
    return fresh.fail(rng), trouble, _vncr(rng, number), follow, RUN


def l2(rng: Random, number: int) -> tuple[L1Map, GuestL2, Run]:
    """A page of L2's, mapped to the slot."""
    page = one_of(rng, L2_PAGES)
    leaf = L1Map(page, number, 0, _ALL, chance(rng, 6))
    return leaf, GuestL2(one_of(rng, ACCESSES), page + one_of(rng, fresh.WITHIN_PAGE)), RUN


def l2_disturbed(rng: Random, number: int) -> Motif:
    """What L2's page is mapped to goes, before it is used or after."""
    leaf, use, run = l2(rng, number)
    trouble = one_of(rng, DISTURBANCES)(rng, number)
    return (leaf, trouble, use, run) if chance(rng, 2) else (leaf, use, run, trouble, use, run)


def l2_refused(rng: Random, number: int) -> Motif:
    """L1 does not permit the access."""
    leaf, use, run = l2(rng, number)
    denied = L1Map(one_of(rng, L2_PAGES), number, 0, int(rng.random() * 8), block=False)
    return leaf, denied, use, run


def l2_old(rng: Random, number: int) -> Motif:
    """A leaf of L1's without access flag; mostly KVM is to set it, and L1 may be in its way."""
    leaf, use, run = l2(rng, number)
    old = replace(leaf, old=True)
    if chance(rng, 4):
        return old, use, run
    flags = L1Vtcr(legal=True, hardware_af=True)
    if chance(rng, 2):
        return flags, old, use, run
    return flags, old, At(Point.SWAP), replace(old, prot=int(rng.random() * 8)), use, run


def l2_unwalkable(rng: Random, number: int) -> Motif:
    """KVM cannot walk L1's tables."""
    leaf, use, run = l2(rng, number)
    match int(rng.random() * 3):
        case 0:
            return leaf, L1Vtcr(legal=False), use, run, run
        case 1:
            return leaf, L1Table(1 + int(rng.random() * 3), None, _NOWHERE), use, run, run
        case _:
            return leaf, L1Table(1 + int(rng.random() * 3), number, 0), use, run, run


def _vncr(rng: Random, number: int) -> Guest:
    return Guest(one_of(rng, _VNCR), number, one_of(rng, _REGISTERS))


# PROTECTED


def locked(rng: Random, number: int) -> Motif:
    """Nothing may be locked while the guest runs; then it may."""
    use = Guest(one_of(rng, ACCESSES), number, fresh.byte_offset(rng))
    return MemlockLimit(on=True), use, RUN, MemlockLimit(on=False), RUN


def plain_slot(rng: Random, number: int) -> Motif:
    """Memory of the VMM, in a slot without flags."""
    size = one_of(rng, fresh.SIZES)
    kind = one_of(rng, tuple(MemKind))
    return CreateMem(number, size, kind), SetMemslot(
        number, BASES[number], size, 0, Ref(number, 0), None
    )


# BIG PAGES


def big_gmem_slot(rng: Random, number: int) -> Motif:
    """A guest_memfd of whole pages of any size, and its slot."""
    size = _LARGEST * one_of(rng, (1, 1, 2))
    flags = int(MemFlag.GUEST_MEMFD)
    return CreateGmem(number, size, USABLE), SetMemslot(
        number, _big_base(number), size, flags, None, Ref(number, 0)
    )


def big_mem_slot(rng: Random, number: int) -> Motif:
    """Memory of the VMM of whole pages of any size, and its slot."""
    size = _LARGEST * one_of(rng, (1, 1, 2))
    kind = one_of(rng, (MemKind.ANONYMOUS, MemKind.FILE))
    return CreateMem(number, size, kind), SetMemslot(
        number, _big_base(number), size, 0, Ref(number, 0), None
    )


def inside(rng: Random, number: int) -> Motif:
    """An access behind the first 4 KiB of a page, perhaps after something happened to it."""
    use = Guest(one_of(rng, ACCESSES), number, 0x1000 * int(rng.random() * 20) + 8)
    if chance(rng, 3):
        return MemoryLimit(on=True), use, RUN, MemoryLimit(on=False), RUN
    return one_of(rng, DISTURBANCES)(rng, number), use, RUN


def _big_base(number: int) -> int:
    return BASES[0] + (number << 24)


def mmio(rng: Random, number: int) -> Motif:
    """What an ordinary VM does with a device as well."""
    del number
    return motifs.mmio(rng, 0)


def after(rng: Random, number: int) -> Motif:
    """What a VMM does behind an exit."""
    del number
    return one_of(rng, ((Skip(), RUN), (RUN,), (Run(1), RUN), (MmioData(1), RUN)))


_ANY_SLOT: Final = (motifs.gmem_slot, motifs.gmem_slot, motifs.mem_slot)

WORLDS: Final[tuple[tuple[int, World], ...]] = (
    (
        3,
        World(
            VmConfig(nested=True),
            _ANY_SLOT,
            (
                *(vncr, vncr_disturbed, vncr_disturbed, vncr_then, l2, l2_disturbed),
                *(l2_disturbed, l2_refused, l2_unwalkable, l2_old, after),
            ),
        ),
    ),
    (
        1,
        World(
            VmConfig(protected=True),
            (plain_slot,),
            (locked, motifs.touch, motifs.disturbed, motifs.injected, motifs.retry, mmio),
        ),
    ),
    *(
        (1, World(VmConfig(page_size=size), (big_gmem_slot, big_mem_slot), (inside, after)))
        for size in PAGE_SIZES[1:]
    ),
)
_TABLE: Final = tuple(world for weight, world in WORLDS for _ in range(weight))


def generated(rng: Random) -> tuple[VmConfig, Motif]:
    """A special VM and steps out of nothing: one slot or two, and two things that happen there."""
    world = one_of(rng, _TABLE)
    steps = one_of(rng, world.layouts)(rng, 0)
    slots = 1
    if chance(rng, 3):
        steps += one_of(rng, world.layouts)(rng, 1)
        slots = 2
    for _ in range(2):
        steps += one_of(rng, world.motifs)(rng, int(rng.random() * slots))
    return world.vm, steps
