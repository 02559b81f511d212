"""virt/kvm/kvm_main.c, the memory slots: KVM_SET_USER_MEMORY_REGION(2) and what it refuses.

The rules are numbered as in docs/model.md; they are tried in that order.
A slot that goes or moves is INVALID first, as if it were not there, until no vCPU is in the
fault path any more: only then its pages leave stage 2. A vCPU that has found it goes on with it.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from emu.abi import (
    MEM_MAX_NR_PAGES,
    U64,
    USER_MEM_SLOTS,
    Errno,
    GmemFlag,
    MemFlag,
)
from emu.case import VmConfig
from emu.kvm.dirty_log import DirtyLogging
from emu.kvm.state import USER_TOP, Gmem, Kvm, MemorySlot, UserMemory, user_address
from emu.steps import MemKind

# Plain names, for the hot path.
_GUEST_MEMFD: Final = MemFlag.GUEST_MEMFD
_LOG_DIRTY: Final = MemFlag.LOG_DIRTY_PAGES
_NOT_WITH_GMEM: Final = MemFlag.LOG_DIRTY_PAGES | MemFlag.READONLY
_MMAP: Final = GmemFlag.MMAP
_DEVICE: Final = MemKind.DEVICE
_PFNMAP: Final = MemKind.PFNMAP

WITHOUT_STRUCT_PAGES: Final = frozenset({_DEVICE, _PFNMAP})
_TAGGED: Final = (MemKind.ANONYMOUS, MemKind.SHARED, MemKind.THP, MemKind.HUGETLB)  # VM_MTE_ALLOWED

_KNOWN_FLAGS: Final = MemFlag.LOG_DIRTY_PAGES | MemFlag.READONLY | MemFlag.GUEST_MEMFD
_FIXED_FLAGS: Final = MemFlag.READONLY | MemFlag.GUEST_MEMFD
_ID_MASK: Final = 0xFFFF


class MemoryRegion(msgspec.Struct, frozen=True, gc=False):
    """struct kvm_userspace_memory_region2, and which of the two ioctls carries it."""

    slot: int
    flags: int
    gpa: int
    size: int
    userspace_addr: int
    guest_memfd: int
    guest_memfd_offset: int
    v1: bool


class Memslots(DirtyLogging):
    """Create, move, change and delete slots."""

    def kvm_vm_ioctl_set_memory_region(self, kvm: Kvm, region: MemoryRegion) -> int:
        """The ioctl; 0 or -errno."""
        if kvm.vm_dead:
            return -Errno.EIO
        if region.v1 and region.flags & _GUEST_MEMFD:  # 2
            return -Errno.EINVAL
        if region.slot & _ID_MASK >= USER_MEM_SLOTS:  # 3
            return -Errno.EINVAL
        return self.kvm_set_memory_region(kvm, region)

    def kvm_set_memory_region(self, kvm: Kvm, region: MemoryRegion) -> int:
        """Check the request, find out what it asks for, and do it; 0 or -errno."""
        errno = self.check_memory_region_flags(region) or self._check_ranges(kvm, region)
        if errno:
            return errno
        old = self.id_to_memslot(kvm, region.slot)
        if region.size == 0:  # 10
            return self._delete(kvm, old) if old is not None else -Errno.EINVAL
        if old is None:
            return self._create(kvm, region)
        return self._change(kvm, old, region)

    def check_memory_region_flags(self, region: MemoryRegion) -> int:
        """Rule 4."""
        flags = region.flags
        if flags & ~_KNOWN_FLAGS or (flags & _GUEST_MEMFD and flags & _NOT_WITH_GMEM):
            return -Errno.EINVAL
        return 0

    def _check_ranges(self, kvm: Kvm, region: MemoryRegion) -> int:
        """Rules 5 to 9."""
        in_page = kvm.page_size - 1
        if (region.size | region.gpa) & in_page:  # 5
            return -Errno.EINVAL
        hva = region.userspace_addr
        if hva & in_page or hva >> 55 or hva + region.size > USER_TOP:  # 6
            return -Errno.EINVAL
        offset = region.guest_memfd_offset
        if region.flags & _GUEST_MEMFD and (offset & in_page or offset + region.size > U64):  # 7
            return -Errno.EINVAL
        if region.slot > _ID_MASK:  # 8
            return -Errno.EINVAL
        if region.gpa + region.size > U64 or region.size >> kvm.page_shift > MEM_MAX_NR_PAGES:  # 9
            return -Errno.EINVAL
        return 0

    def _create(self, kvm: Kvm, region: MemoryRegion) -> int:
        if self._overlapped(kvm, region, None) is not None:  # 13
            return -Errno.EEXIST
        gmem: Gmem | None = None
        if region.flags & _GUEST_MEMFD:  # 14
            found = self.kvm_gmem_prepare_bind(
                kvm, region.guest_memfd, region.guest_memfd_offset, region.size
            )
            if isinstance(found, int):
                return found
            gmem = found
        new = MemorySlot(
            region.slot,
            region.gpa,
            region.size,
            region.flags,
            region.userspace_addr,
            gmem,
            region.guest_memfd_offset >> kvm.page_shift,
        )
        if region.flags & _LOG_DIRTY:
            self.kvm_alloc_dirty_bitmap(new, None)
        errno = self.kvm_arch_prepare_memory_region(kvm, new)
        if errno == 0 and gmem is not None:
            errno = self.kvm_gmem_bind(kvm, gmem, new)  # 18
        if errno == 0:
            kvm.memslots.append(new)
        return errno

    def _change(self, kvm: Kvm, old: MemorySlot, region: MemoryRegion) -> int:
        changed = old.flags ^ region.flags
        if (
            region.flags & _GUEST_MEMFD
            or changed & _FIXED_FLAGS
            or region.size != old.size
            or region.userspace_addr != old.userspace_addr
        ):  # 11
            return -Errno.EINVAL
        if region.gpa != old.base:  # 12
            return self._move(kvm, old, region)
        return self._change_flags(kvm, old, region.flags)

    def _change_flags(self, kvm: Kvm, old: MemorySlot, flags: int) -> int:
        if flags == old.flags:
            return 0
        new = MemorySlot(
            old.id,
            old.base,
            old.size,
            flags,
            old.userspace_addr,
            old.gmem,
            old.gmem_index,
            old.dirty,
        )
        self.kvm_alloc_dirty_bitmap(new, old)
        if errno := self.kvm_arch_prepare_memory_region(kvm, new):
            return errno
        kvm.memslots[kvm.memslots.index(old)] = new
        if flags & ~old.flags & _LOG_DIRTY:
            self.synchronize_srcu(kvm, partial(self.kvm_mmu_wp_memory_region, kvm, new))
        return 0

    def _move(self, kvm: Kvm, old: MemorySlot, region: MemoryRegion) -> int:
        if self._overlapped(kvm, region, old) is not None:  # 13
            return -Errno.EEXIST
        new = MemorySlot(
            old.id, region.gpa, old.size, region.flags, old.userspace_addr, old.gmem, old.gmem_index
        )
        self.kvm_alloc_dirty_bitmap(new, old)
        errno = self.check_protected_region(kvm, region.flags, removes=True)
        errno = errno or self.kvm_arch_prepare_memory_region(kvm, new)
        kvm.memslots.remove(old)
        self.synchronize_srcu(kvm, partial(self._replace, kvm, old, old if errno else new))
        return errno

    def _delete(self, kvm: Kvm, old: MemorySlot) -> int:
        errno = self.check_protected_region(kvm, 0, removes=True)
        kvm.memslots.remove(old)
        self.synchronize_srcu(kvm, partial(self._replace, kvm, old, old if errno else None))
        return errno

    def _replace(self, kvm: Kvm, old: MemorySlot, new: MemorySlot | None) -> None:
        """What follows when nobody can hold an INVALID slot any more; a refused one comes back."""
        self.kvm_arch_flush_shadow_memslot(kvm, old)
        if new is None:
            self.kvm_gmem_unbind(old)
        else:
            kvm.memslots.append(new)

    def synchronize_srcu(self, kvm: Kvm, then: Callable[[], None]) -> None:
        """Do ``then`` once every vCPU has left the fault path."""
        if kvm.races is None:
            then()
        else:
            kvm.races.synchronize(then)

    @staticmethod
    def _overlapped(
        kvm: Kvm, region: MemoryRegion, ignored: MemorySlot | None
    ) -> MemorySlot | None:
        start, end = region.gpa, region.gpa + region.size
        for slot in kvm.memslots:
            if slot.base < end and start < slot.base + slot.size and slot is not ignored:
                return slot
        return None

    def kvm_arch_prepare_memory_region(self, kvm: Kvm, new: MemorySlot) -> int:
        """arch/arm64/kvm/mmu.c: rules 15 to 17."""
        if errno := self.check_protected_region(kvm, new.flags, removes=False):
            return errno
        if new.base + new.size > 1 << kvm.config.ipa_bits:
            return -Errno.EFAULT
        if new.gmem is not None and (kvm.config.mte or not new.gmem.flags & _MMAP):
            return -Errno.EINVAL
        return self._check_vmas(kvm, new)

    def _check_vmas(self, kvm: Kvm, new: MemorySlot) -> int:
        """The part of rule 16 about the VMM's mappings that are there now."""
        mte = kvm.config.mte
        for index, memory in kvm.memory.items():
            if (
                (mte or memory.kind in WITHOUT_STRUCT_PAGES)
                and _refused(kvm.config, memory.kind, new.flags)
                and _mapped_between(index, memory, new.userspace_addr, new.size)
            ):
                return -Errno.EINVAL
        return 0

    def check_protected_region(self, kvm: Kvm, flags: int, *, removes: bool) -> int:
        """Rule 17: what a protected VM has got it keeps, and it is not spied on; 0 or -EPERM."""
        if kvm.config.protected and (flags & _NOT_WITH_GMEM or (removes and kvm.hyp_vm)):
            return -Errno.EPERM
        return 0

    def kvm_arch_flush_shadow_memslot(self, kvm: Kvm, slot: MemorySlot) -> None:
        """arch/arm64/kvm/mmu.c: the slot's pages leave stage 2."""
        self.kvm_unmap_gfn_range(kvm, slot.base, slot.base + slot.size)


def _refused(config: VmConfig, kind: MemKind, flags: int) -> bool:
    """Whether a slot with these flags may not show a mapping of this kind."""
    if config.mte and kind not in _TAGGED:
        return True
    if kind is _DEVICE:
        return bool(flags & _LOG_DIRTY)
    return kind is _PFNMAP and (bool(flags & _LOG_DIRTY) or not config.coherent)


def _mapped_between(index: int, memory: UserMemory, address: int, size: int) -> bool:
    start = address - user_address(index, 0)
    return any(vma.start < start + size and start < vma.end for vma in memory.vmas)
