"""One step with one of its fields changed to another value that KVM might look at twice."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final, assert_never

from emu.abi import PAGE_SIZE, U64
from emu.case import IPA_BITS, PAGE_SIZES, VcpuState, VmConfig
from emu.injection import At, CpuExit, Fail, ForceAbort, ForceExit
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
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
from fuzz.mutation.fresh import ACCESSES, ERRNOS, FAULT_STATUSES, RUN_FLAGS, SITES, chance, one_of

NEAR: Final = 1 << 31
NUDGES: Final = (1, 8, 0x10, PAGE_SIZE - 8, PAGE_SIZE, PAGE_SIZE, 2 * PAGE_SIZE)


def altered(step: Step, rng: Random) -> Step:  # noqa: C901 - one arm a step
    """``step`` with one field changed; a step that has none is itself."""
    match step:  # the steps that cases have most of come first: arms are tried in order
        case Guest():
            return _guest(step, rng)
        case Run():
            return Run(step.flags ^ one_of(rng, RUN_FLAGS) if chance(rng, 2) else 0)
        case SetMemslot():
            return _with_room(_memslot(step, rng))
        case CreateGmem():
            return _create_gmem(step, rng)
        case CreateMem():
            return _create_mem(step, rng)
        case PunchHole() | Allocate():
            if chance(rng, 2):
                return replace(step, size=_size(step.size, rng))
            return replace(step, gmem=_ref(step.gmem, rng))
        case Unmap():
            if chance(rng, 2):
                return Unmap(step.mem, _size(step.size, rng))
            return Unmap(_ref(step.mem, rng), step.size)
        case Protect():
            return _protect(step, rng)
        case PoisonGmem():
            return PoisonGmem(_ref(step.gmem, rng))
        case PoisonMem():
            return PoisonMem(_ref(step.mem, rng))
        case ReleaseGmem():
            return ReleaseGmem(fresh.index(rng))
        case Truncate():
            if chance(rng, 2):
                return Truncate(fresh.index(rng), step.size)
            return Truncate(step.index, fresh.offset(rng))
        case Age():
            return Age(fresh.slot(rng))
        case MemoryLimit():
            return MemoryLimit(not step.on)
        case IoEventFd():
            if chance(rng, 2):
                return IoEventFd(_nudged(step.gpa, rng), step.size)
            return IoEventFd(step.gpa, one_of(rng, (1, 2, 4, 8)))
        case Fail():
            return _fail(step, rng)
        case ForceExit():
            return ForceExit(one_of(rng, tuple(CpuExit)))
        case ForceAbort():
            if chance(rng, 2):
                return ForceAbort(step.fsc, step.bits ^ 1 << int(rng.random() * 4))
            return ForceAbort(one_of(rng, FAULT_STATUSES), step.bits)
        case MmioData():
            return MmioData(step.value ^ 1 << int(rng.random() * 64))
        case Userfault():
            return _userfault(step, rng)
        case GetDirtyLog():
            return GetDirtyLog(fresh.slot(rng))
        case MemlockLimit():
            return MemlockLimit(not step.on)
        case SelectVcpu():
            return SelectVcpu(one_of(rng, fresh.VCPU_NUMBERS))
        case At():
            return At(one_of(rng, fresh.POINTS))
        case L1Map():
            return _l1_map(step, rng)
        case L1Table():
            return fresh.l1_table(rng)
        case L1Vtcr():
            if chance(rng, 4):
                return replace(step, hardware_af=not step.hardware_af)
            return replace(step, legal=not step.legal)
        case GuestL2():
            if chance(rng, 2):
                return GuestL2(one_of(rng, ACCESSES), step.address)
            return GuestL2(step.access, fresh.l2_address(rng))
        case Skip():
            return step
        case _:
            assert_never(step)


def altered_vm(vm: VmConfig, rng: Random) -> VmConfig:
    """Another VM; back to an ordinary one as often as not."""
    if vm != VmConfig() and chance(rng, 2):
        return VmConfig()
    return one_of(rng, _VM_CHANGES)(vm, rng)


_VmChange = Callable[[VmConfig, Random], VmConfig]

# What costs cases most to be wasted on comes once, what they are about comes twice.
_VM_CHANGES: Final[tuple[_VmChange, ...]] = (
    *(lambda vm, _rng: replace(vm, nisv_to_user=not vm.nisv_to_user),) * 2,
    *(lambda vm, _rng: replace(vm, cold=not vm.cold),) * 2,
    *(lambda vm, rng: replace(vm, ipa_bits=one_of(rng, IPA_BITS)),) * 2,
    *(lambda vm, _rng: replace(vm, nested=not vm.nested),) * 2,
    lambda vm, _rng: replace(vm, sea_to_user=not vm.sea_to_user),
    lambda vm, rng: replace(vm, vcpu=one_of(rng, tuple(VcpuState))),
    lambda vm, _rng: replace(vm, protected=not vm.protected),
    lambda vm, _rng: replace(vm, mte=not vm.mte),
    lambda vm, _rng: replace(vm, coherent=not vm.coherent),
    lambda vm, rng: replace(vm, page_size=one_of(rng, PAGE_SIZES)),
)


def _guest(step: Guest, rng: Random) -> Step:
    match int(rng.random() * 5):
        case 0 | 1:
            return Guest(one_of(rng, ACCESSES), step.slot, step.address)
        case 2:
            return Guest(step.access, step.slot, fresh.byte_offset(rng))
        case 3:
            return Guest(step.access, step.slot, _nudged(step.address, rng))
        case _:
            return Guest(step.access, fresh.slot(rng), step.address)


def _memslot(step: SetMemslot, rng: Random) -> SetMemslot:
    match int(rng.random() * 8):
        case 0:
            return replace(step, slot=fresh.slot(rng))
        case 1:
            return replace(step, gpa=fresh.base(rng, step.slot))
        case 2:
            return replace(step, gpa=_nudged(step.gpa, rng))
        case 3:
            return replace(step, size=_size(step.size, rng))
        case 4:
            return replace(step, flags=step.flags ^ one_of(rng, (1, 1, 2, 2, 4, 8)))
        case 5:
            return replace(step, mem=_ref_or_none(step.mem, rng))
        case 6:
            return replace(step, gmem=_ref_or_none(step.gmem, rng))
        case _:
            return replace(step, v1=not step.v1)


def _with_room(step: SetMemslot) -> SetMemslot:
    """A record has no room for two references when one of them is far from its object."""
    if step.mem and step.gmem and not (_near(step.mem) and _near(step.gmem)):
        return replace(step, mem=None)
    return step


def _near(ref: Ref) -> bool:
    return ref.offset < NEAR or ref.offset > U64 - NEAR


def _create_gmem(step: CreateGmem, rng: Random) -> Step:
    match int(rng.random() * 3):
        case 0:
            return CreateGmem(fresh.index(rng), step.size, step.flags)
        case 1:
            return CreateGmem(step.index, _size(step.size, rng), step.flags)
        case _:
            return CreateGmem(
                step.index, step.size, step.flags ^ one_of(rng, (1, 2, 2, 4, 1 << 63))
            )


def _create_mem(step: CreateMem, rng: Random) -> Step:
    match int(rng.random() * 3):
        case 0:
            return CreateMem(fresh.index(rng), step.size, step.kind)
        case 1:
            return CreateMem(step.index, _size(step.size, rng), step.kind)
        case _:
            return CreateMem(step.index, step.size, one_of(rng, tuple(MemKind)))


def _protect(step: Protect, rng: Random) -> Step:
    match int(rng.random() * 3):
        case 0:
            return Protect(_ref(step.mem, rng), step.size, step.protection)
        case 1:
            return Protect(step.mem, _size(step.size, rng), step.protection)
        case _:
            return Protect(step.mem, step.size, one_of(rng, tuple(Protection)))


def _fail(step: Fail, rng: Random) -> Step:
    match int(rng.random() * 3):
        case 0:
            return Fail(one_of(rng, SITES), step.errno, step.nth)
        case 1:
            return Fail(step.site, one_of(rng, ERRNOS), step.nth)
        case _:
            return Fail(step.site, step.errno, one_of(rng, (1, 1, 2, 3, 255)))


def _userfault(step: Userfault, rng: Random) -> Step:
    match int(rng.random() * 3):
        case 0:
            return replace(step, mem=_ref(step.mem, rng))
        case 1:
            return replace(step, size=_size(step.size, rng))
        case _:
            return replace(step, mode=one_of(rng, tuple(UserfaultMode)))


def _l1_map(step: L1Map, rng: Random) -> Step:
    match int(rng.random() * 5):
        case 0:
            return replace(step, ipa=fresh.l2_address(rng))
        case 1:
            return replace(step, slot=fresh.slot(rng))
        case 2:
            return replace(step, address=_nudged(step.address, rng))
        case 3:
            return replace(step, prot=step.prot ^ one_of(rng, fresh.L1_BITS))
        case _:
            if chance(rng, 3):
                return replace(step, old=not step.old)
            return replace(step, block=not step.block)


def _size(size: int, rng: Random) -> int:
    return _nudged(size, rng) if chance(rng, 3) else fresh.size(rng)


def _ref(ref: Ref, rng: Random) -> Ref:
    if chance(rng, 2):
        return Ref(fresh.index(rng), ref.offset)
    return Ref(ref.index, _nudged(ref.offset, rng) if chance(rng, 3) else fresh.offset(rng))


def _ref_or_none(ref: Ref | None, rng: Random) -> Ref | None:
    if ref is None:
        return Ref(fresh.index(rng), 0)
    return None if chance(rng, 4) else _ref(ref, rng)


def _nudged(number: int, rng: Random) -> int:
    """A little more or less, modulo 2**64."""
    nudge = one_of(rng, NUDGES)
    return (number + nudge if chance(rng, 2) else number - nudge) & U64
