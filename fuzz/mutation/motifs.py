"""Short sequences of steps that mean something together, as a VMM and its guest would do them.

A motif is about one slot, number N, that shows guest_memfd N or memory object N. Single mutations
would have to find each sequence step by step, with nothing to guide them in between.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from emu.abi import PAGE_SIZE, MemFlag
from emu.access import Access
from emu.injection import At, ForceAbort
from emu.steps import (
    Age,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    IoEventFd,
    MemKind,
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
from fuzz.mutation import fresh
from fuzz.mutation.fresh import BASES, DEVICE, PROTECTIONS, USABLE, WHOLE, chance, one_of

Motif = tuple[Step, ...]
MakeMotif = Callable[[Random, int], Motif]
RUN: Final = Run(0)
LATE_FLAGS: Final = tuple(
    int(flag)
    for flag in (
        RunFlag.IMMEDIATE_EXIT,
        RunFlag.IMMEDIATE_EXIT,
        RunFlag.BAD_ARGUMENT,
        RunFlag.OTHER_MM,
        RunFlag.SIGNAL,
        RunFlag.KILLED,
        RunFlag.VM_DEAD,
        RunFlag.IRQ_LINE,
    )
)


# LAYOUTS


def gmem_slot(rng: Random, number: int) -> Motif:
    """A guest_memfd and its slot, which fits."""
    size = one_of(rng, fresh.SIZES)
    flags = int(MemFlag.GUEST_MEMFD)
    memslot = SetMemslot(number, BASES[number], size, flags, None, Ref(number, 0))
    return CreateGmem(number, size, USABLE), memslot


def mem_slot(rng: Random, number: int) -> Motif:
    """Memory of the VMM and its slot, which fits."""
    size = one_of(rng, fresh.SIZES)
    kind = one_of(rng, tuple(MemKind) if chance(rng, 6) else OWN_KINDS)
    flags = one_of(rng, (0, 0, 0, int(MemFlag.LOG_DIRTY_PAGES), int(MemFlag.READONLY)))
    memslot = SetMemslot(number, BASES[number], size, flags, Ref(number, 0), None)
    return CreateMem(number, size, kind), memslot


def slot(rng: Random, number: int) -> Motif:
    """Either, guest_memfd more often."""
    return mem_slot(rng, number) if chance(rng, 3) else gmem_slot(rng, number)


# WHAT THE GUEST DOES


def touch(rng: Random, number: int) -> Motif:
    """One access in the slot, and the KVM_RUN that does it."""
    return _access(rng, number), RUN


def walk_over(rng: Random, number: int) -> Motif:
    """Several accesses in one KVM_RUN."""
    return _access(rng, number), _access(rng, number), _access(rng, number), RUN


def retry(rng: Random, number: int) -> Motif:
    """The same access again, nothing changed."""
    return _access(rng, number), RUN, RUN


def give_up(rng: Random, number: int) -> Motif:
    """The VMM goes past the access, and the guest on to another."""
    return _access(rng, number), RUN, Skip(), _access(rng, number), RUN


def mmio(rng: Random, _: int) -> Motif:
    """A device access, and its completion."""
    kind = one_of(rng, (Access.READ8, Access.READ_SIGNED16, Access.READ64, Access.WRITE32))
    gpa = DEVICE + one_of(rng, fresh.WITHIN_PAGE)
    return Guest(kind, None, gpa), RUN, MmioData(int(rng.random() * (1 << 53))), RUN


def doorbell(rng: Random, _: int) -> Motif:
    """A device write that the kernel takes itself."""
    size, kind = one_of(rng, ((4, Access.WRITE32), (8, Access.WRITE64)))
    return IoEventFd(DEVICE, size), Guest(kind, None, DEVICE), RUN


# WHAT HAPPENS MEANWHILE


def limited(rng: Random, number: int) -> Motif:
    """No memory to be had while the guest runs; then there is."""
    return MemoryLimit(on=True), _access(rng, number), RUN, MemoryLimit(on=False), RUN


def disturbed(rng: Random, number: int) -> Motif:
    """Something happens to memory that the guest has, or has not yet, touched."""
    touched = _access(rng, number)
    steps = (one_of(rng, DISTURBANCES)(rng, number), touched, RUN)
    return steps if chance(rng, 2) else (touched, RUN, *steps)


def refaulted(rng: Random, number: int) -> Motif:
    """A page goes, and the guest asks for it again."""
    touched = _access(rng, number)
    return touched, RUN, PunchHole(Ref(number, 0), one_of(rng, fresh.SIZES)), touched, RUN


def mended(rng: Random, number: int) -> Motif:
    """A page with a memory error, which the guest may meet, and which the VMM gives back."""
    touched, page = _access(rng, number), Ref(number, fresh.offset(rng))
    met = (touched, RUN) if chance(rng, 2) else ()
    return PoisonGmem(page), *met, PunchHole(page, PAGE_SIZE), touched, RUN


def followed_up(rng: Random, number: int) -> Motif:
    """A fault exit, and a KVM_RUN that fails before the guest gets to run."""
    return ReleaseGmem(number), _access(rng, number), RUN, Run(one_of(rng, LATE_FLAGS))


def injected(rng: Random, number: int) -> Motif:
    """An errno at one of the kernel's functions."""
    return fresh.fail(rng), _access(rng, number), RUN


def two_causes(rng: Random, number: int) -> Motif:
    """A trouble in one slot that the guest may get over, and one in another: in one KVM_RUN, or in
    the next, past the first.
    """
    other = number ^ 1
    layout = () if chance(rng, 2) else (*gmem_slot(rng, number), *mem_slot(rng, other))
    first = fresh.fail(rng) if chance(rng, 2) else one_of(rng, DISTURBANCES)(rng, number)
    second = one_of(rng, DISTURBANCES)(rng, other)
    between = () if chance(rng, 2) else (RUN, Skip())
    return *layout, first, second, _access(rng, number), *between, _access(rng, other), RUN


def forced(rng: Random, number: int) -> Motif:
    """A fault status that a page table does not give."""
    status = one_of(rng, fresh.FAULT_STATUSES)
    return ForceAbort(status, int(rng.random() * 16)), _access(rng, number), RUN


def moved(rng: Random, number: int) -> Motif:
    """The slot goes away or elsewhere under the guest."""
    gone = SetMemslot(number, 0, 0, 0, None, None)
    return _access(rng, number), RUN, gone, _access(rng, number), RUN


def logged(rng: Random, number: int) -> Motif:
    """A slot with dirty logging, and rounds of what the guest does there and reading the log."""
    flags = int(MemFlag.LOG_DIRTY_PAGES)
    size = one_of(rng, fresh.SIZES)
    memslot = SetMemslot(number, BASES[number], size, flags, Ref(number, 0), None)
    layout = (CreateMem(number, size, one_of(rng, OWN_KINDS)), memslot)
    read = GetDirtyLog(number)
    last = (read,) if chance(rng, 2) else ()
    return *layout, *walk_over(rng, number), read, *touch(rng, number), *last


def walked(rng: Random, number: int) -> Motif:
    """A stage-1 table in memory that KVM may read and not write, or not even read."""
    layout = mem_slot(rng, number)
    table = Guest(one_of(rng, WALKS), number, fresh.byte_offset(rng))
    limits = Protect(Ref(number, 0), PAGE_SIZE, Protection.READ)
    trouble = limits if chance(rng, 2) else one_of(rng, DISTURBANCES)(rng, number)
    return *layout, *touch(rng, number), trouble, table, RUN


def at_the_end(rng: Random, _: int) -> Motif:
    """An access where some address space ends."""
    return Guest(one_of(rng, fresh.ACCESSES), None, one_of(rng, fresh.ODD_ADDRESSES)), RUN


def two_slots(rng: Random, number: int) -> Motif:
    """A guest_memfd in two slots, one of which goes."""
    other, size, flags = number ^ 1, one_of(rng, fresh.SIZES), int(MemFlag.GUEST_MEMFD)
    one = SetMemslot(number, BASES[number], size, flags, None, Ref(number, 0))
    two = SetMemslot(other, BASES[other], size, flags, None, Ref(number, size))
    gone = SetMemslot(other, 0, 0, 0, None, None)
    return CreateGmem(number, 2 * size, USABLE), one, two, gone, *touch(rng, number)


def userfaulted(rng: Random, number: int) -> Motif:
    """Memory whose faults the VMM wants to hear of."""
    layout = mem_slot(rng, number)
    register = Userfault(Ref(number, 0), WHOLE, one_of(rng, tuple(UserfaultMode)))
    return *layout, register, *walk_over(rng, number)


def huge(rng: Random, number: int) -> Motif:
    """A slot that holds a block of 2 MiB, and accesses on both sides of its end."""
    base, size = (number + 2) << 30, one_of(rng, (2, 4)) << 20
    kind = one_of(rng, (MemKind.THP, MemKind.THP, MemKind.HUGETLB, MemKind.ANONYMOUS))
    slot = SetMemslot(number, base, size, 0, Ref(number, one_of(rng, (0, 0, 0, 0x1000))), None)
    logged = replace(slot, flags=int(MemFlag.LOG_DIRTY_PAGES))
    use = Guest(one_of(rng, fresh.ACCESSES), number, one_of(rng, (0, 0x1000, 0x1F_FFF8, 0x20_0000)))
    again = (logged, use, RUN) if chance(rng, 2) else (touch(rng, number))
    return CreateMem(number, size + 0x20_0000, kind), slot, use, RUN, *again


def raced(rng: Random, number: int) -> Motif:
    """Something happens to the memory while KVM looks after the guest's fault."""
    gone = SetMemslot(number, 0, 0, 0, None, None)
    event = gone if chance(rng, 4) else one_of(rng, DISTURBANCES)(rng, number)
    # The access first: it is counted from the address last named for the slot.
    return _access(rng, number), At(one_of(rng, fresh.POINTS)), event, RUN


def together(rng: Random, number: int) -> Motif:
    """Two vCPUs in the same memory, one perhaps in the midst of the other's fault."""
    mine, other = touch(rng, number), touch(rng, number)
    if chance(rng, 2):
        return *mine, SelectVcpu(1), *other, SelectVcpu(0), RUN
    inside = (SelectVcpu(1), other[0], SelectVcpu(0), At(one_of(rng, fresh.POINTS)), SelectVcpu(1))
    return *inside, RUN, SelectVcpu(0), *mine


def elsewhere(make: MakeMotif) -> MakeMotif:
    """The motif in another slot than those that cases begin with, as it makes its own."""
    return lambda rng, number: make(rng, number ^ 2)


WALKS: Final = (Access.WALK, Access.WALK, Access.WALK_AF, Access.AT_WALK)
OWN_KINDS: Final = (MemKind.ANONYMOUS, MemKind.ANONYMOUS, MemKind.FILE, MemKind.SHARED, MemKind.THP)

DISTURBANCES: Final[tuple[Callable[[Random, int], Step], ...]] = (
    lambda _rng, number: ReleaseGmem(number),
    lambda _rng, number: ReleaseGmem(number),
    lambda rng, number: PoisonGmem(Ref(number, fresh.offset(rng))),
    lambda rng, number: PoisonGmem(Ref(number, fresh.offset(rng))),
    lambda rng, number: PunchHole(Ref(number, fresh.offset(rng)), WHOLE),
    lambda rng, number: PoisonMem(Ref(number, fresh.offset(rng))),
    lambda rng, number: Unmap(Ref(number, fresh.offset(rng)), WHOLE),
    # No more than is mapped: of a request that was refused half way nobody knows what it did.
    lambda rng, number: Protect(Ref(number, 0), PAGE_SIZE, one_of(rng, PROTECTIONS)),
    lambda _rng, number: Truncate(number, 0),
    lambda _rng, number: Age(number),
    lambda _rng, _number: MemoryLimit(on=True),
)

MOTIFS: Final[tuple[tuple[int, MakeMotif], ...]] = (
    (3, gmem_slot),
    (2, mem_slot),
    (4, touch),
    (2, walk_over),
    (2, retry),
    (1, give_up),
    (1, mmio),
    (1, doorbell),
    (3, limited),
    (5, disturbed),
    (1, refaulted),
    (1, mended),
    (2, followed_up),
    (1, injected),
    (2, two_causes),
    (1, forced),
    (1, moved),
    (1, elsewhere(logged)),
    (1, elsewhere(walked)),
    (1, at_the_end),
    (1, elsewhere(two_slots)),
    (1, elsewhere(userfaulted)),
    (1, elsewhere(huge)),
    (2, raced),
    (1, together),
)
_TABLE: Final = tuple(make for weight, make in MOTIFS for _ in range(weight))
_AFTER_LAYOUT: Final = tuple(make for make in _TABLE if make not in (gmem_slot, mem_slot))


def motif(rng: Random) -> Motif:
    """Any motif, about one of the first slots."""
    return one_of(rng, _TABLE)(rng, one_of(rng, (0, 0, 0, 0, 0, 1, 1, 2)))


def generated(rng: Random) -> Motif:
    """A case's steps out of nothing: one slot or two, and two things that happen there."""
    steps = slot(rng, 0)
    if chance(rng, 3):
        steps += slot(rng, 1)
    last = len(steps) // 2
    for _ in range(2):
        steps += one_of(rng, _AFTER_LAYOUT)(rng, int(rng.random() * last))
    return steps


def _access(rng: Random, number: int) -> Step:
    return Guest(one_of(rng, fresh.ACCESSES), number, fresh.byte_offset(rng))
