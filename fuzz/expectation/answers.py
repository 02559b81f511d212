"""What KVM may answer to the VMM: told from the documents and from what the VMM did before.

Of the host's own system calls (mmap() and its like) there is no opinion: they are not KVM's.
Sources: api.rst (KVM_SET_USER_MEMORY_REGION2, KVM_CREATE_GUEST_MEMFD, KVM_GET_DIRTY_LOG,
KVM_IOEVENTFD), and the facts on guest_memfd and on the order of a region's checks. Every refusal
before the slot is looked up is EINVAL, so their order does not matter.
"""

import errno
from collections.abc import Sequence
from typing import Final

from emu.abi import (
    HARNESS_BASE,
    HARNESS_SIZE,
    HARNESS_SLOT,
    MEM_MAX_NR_PAGES,
    U64,
    USER_MEM_SLOTS,
    Errno,
    GmemFlag,
    MemFlag,
)
from emu.case import VmConfig
from emu.injection import Site
from emu.steps import (
    Allocate,
    CreateGmem,
    GetDirtyLog,
    IoEventFd,
    MemKind,
    PunchHole,
    Ref,
    ReleaseGmem,
    SetMemslot,
    Step,
)
from fuzz.expectation.premises import Premises, Region

OK: Final = 0
S64_MAX: Final = (1 << 63) - 1
_NEAR: Final = 1 << 36  # bytes; memory further from its beginning may be out of the VMM's reach
_KNOWN: Final = MemFlag.LOG_DIRTY_PAGES | MemFlag.READONLY | MemFlag.GUEST_MEMFD
_FIXED: Final = MemFlag.READONLY | MemFlag.GUEST_MEMFD

Answers = frozenset[int]


def answers(worlds: Sequence[Premises], step: Step) -> Answers | None:
    """The errnos that the step may be answered with, 0 where it may be done; None: no opinion."""
    found: set[int] = set()
    for premises in worlds:
        one = _answers(premises, step)
        if one is None:
            return None
        found |= one
        if premises.limited and OK in one:
            found.add(Errno.ENOMEM)
    return frozenset(found)


def _answers(premises: Premises, step: Step) -> set[int] | None:
    match step:
        case CreateGmem():
            return {_created(step, premises.vm)}
        case ReleaseGmem(index):
            return {OK if premises.file(index) else Errno.EBADF}
        case PunchHole(gmem, size) | Allocate(gmem, size):
            return _fallocate(premises, gmem, size, is_allocate=isinstance(step, Allocate))
        case IoEventFd(gpa, size):
            taken = (gpa, size) in premises.doorbells
            return {Errno.EINVAL if gpa + size > U64 else Errno.EEXIST if taken else OK}
        case GetDirtyLog(slot):
            return {_read_log(premises, slot)}
        case SetMemslot():
            return _region(premises, step)
        case _:
            return None


def _created(step: CreateGmem, vm: VmConfig) -> int:
    unknown = step.flags & ~(GmemFlag.MMAP | GmemFlag.INIT_SHARED)
    fits = step.size in range(vm.page_size, S64_MAX, vm.page_size)
    return OK if fits and not unknown else Errno.EINVAL


def _fallocate(premises: Premises, gmem: Ref, size: int, *, is_allocate: bool) -> set[int]:
    file = premises.file(gmem.index)
    if not file:
        return {Errno.EBADF}
    if not 0 < size <= S64_MAX or gmem.offset > S64_MAX:
        return {Errno.EINVAL}
    if gmem.offset + size > S64_MAX:
        return {errno.EFBIG, Errno.EINVAL}  # the file system's own check, or ours
    if (gmem.offset | size) % premises.vm.page_size:
        return {Errno.EINVAL}
    beyond = is_allocate and gmem.offset + size > file.size
    return {Errno.EINVAL} if beyond else {OK}


def _read_log(premises: Premises, slot: int) -> int:
    if slot >= USER_MEM_SLOTS:
        return Errno.EINVAL
    region = premises.regions.get(slot)
    return OK if region is not None and region.logged else Errno.ENOENT


# KVM_SET_USER_MEMORY_REGION2


def _region(premises: Premises, step: SetMemslot) -> set[int]:
    if _meets_harness(step):
        return {Errno.EEXIST, Errno.EINVAL}  # it keeps its addresses to itself, whatever KVM says
    if _is_malformed(step, premises.vm):
        return {Errno.EINVAL}
    old = premises.regions.get(step.slot)
    if step.size == 0:
        return _out_of_reach(step) | _deleted(premises, old)
    if old is None:
        return _out_of_reach(step) | _new(premises, step)
    return _out_of_reach(step) | _changed(premises, step, old)


def _is_malformed(step: SetMemslot, vm: VmConfig) -> bool:
    flags, page = step.flags, vm.page_size
    with_file = flags & MemFlag.GUEST_MEMFD
    return bool(
        (step.v1 and with_file)
        or step.slot >= USER_MEM_SLOTS
        or step.slot == HARNESS_SLOT
        or flags & ~_KNOWN
        or (with_file and flags & ~MemFlag.GUEST_MEMFD)
        or (step.size | step.gpa) % page
        or (step.mem is not None and step.mem.offset % page)
        or (with_file and step.gmem is not None and _bad_offset(step.gmem.offset, step.size, page))
        or (step.gpa + step.size) >> 64
        or step.size // page > MEM_MAX_NR_PAGES
    )


def _bad_offset(offset: int, size: int, page: int) -> bool:
    return bool(offset % page or (offset + size) >> 64)


def _out_of_reach(step: SetMemslot) -> set[int]:
    """The VMM's address may be none that a process can have."""
    far = step.mem is not None and (step.mem.offset > _NEAR or step.size > _NEAR)
    return {Errno.EINVAL} if far else set()


def _deleted(premises: Premises, old: Region | None) -> set[int]:
    if old is None:
        return {Errno.EINVAL}
    return {OK, Errno.EPERM} if premises.vm.protected else {OK}  # before its first run, or after


def _new(premises: Premises, step: SetMemslot) -> set[int]:
    if _overlaps(premises, step, None):
        return {Errno.EEXIST}
    if not step.flags & MemFlag.GUEST_MEMFD:
        return _prepared(premises, step)
    if step.gmem is None:
        return {Errno.EBADF}
    file = premises.file(step.gmem.index)
    if not file:
        return {Errno.EBADF}
    if step.gmem.offset + step.size > file.size:
        return {Errno.EINVAL}
    found = _prepared(premises, step)
    if not file.flags & GmemFlag.MMAP or premises.vm.mte:
        found = found - {OK} | {Errno.EINVAL}
    # A range that another slot has; EINVAL before 7.2.
    if OK in found and premises.is_bound(step.gmem, step.size):
        found = {Errno.EEXIST, Errno.EINVAL}
    failing = {fail.errno for fail in premises.failures if fail.site is Site.KVM_GMEM_BIND}
    return found | failing


def _changed(premises: Premises, step: SetMemslot, old: Region) -> set[int]:
    # Memory of the same number that was made again may be at another address.
    moved = old.mem != (step.mem.index if step.mem is not None else None) or (
        step.mem is not None and step.mem.offset != old.offset
    )
    changed = (step.flags ^ old.flags) & _FIXED or step.size != old.size or moved
    if step.flags & MemFlag.GUEST_MEMFD or changed:
        return {Errno.EINVAL}
    if step.gpa != old.gpa:
        if _overlaps(premises, step, old):
            return {Errno.EEXIST}
        found = _prepared(premises, step)
        return found | {Errno.EPERM} if premises.vm.protected else found
    return {OK} if step.flags == old.flags else _prepared(premises, step)


def _overlaps(premises: Premises, step: SetMemslot, old: Region | None) -> bool:
    end = step.gpa + step.size
    return any(
        region.gpa < end and step.gpa < region.gpa + region.size
        for region in premises.regions.values()
        if region is not old
    )


def _meets_harness(step: SetMemslot) -> bool:
    end = HARNESS_BASE + HARNESS_SIZE
    return step.size > 0 and step.gpa < end and step.gpa + step.size > HARNESS_BASE


def _prepared(premises: Premises, step: SetMemslot) -> set[int]:
    """What arm64 makes of it."""
    vm = premises.vm
    if vm.protected and step.flags & (MemFlag.READONLY | MemFlag.LOG_DIRTY_PAGES):
        return {Errno.EPERM}
    if step.gpa + step.size > 1 << vm.ipa_bits:
        return {Errno.EFAULT}
    kind = premises.kind(step.mem.index if step.mem is not None else None)
    if kind in (MemKind.DEVICE, MemKind.PFNMAP):
        return {OK, Errno.EINVAL}
    if vm.mte and kind not in (None, MemKind.ANONYMOUS):
        return {OK, Errno.EINVAL}  # which memory can hold tags is the host's business
    return {OK}
