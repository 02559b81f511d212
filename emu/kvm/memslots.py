"""virt/kvm/kvm_main.c, the memory slots: KVM_SET_USER_MEMORY_REGION(2) and what it refuses.

The rules are numbered as in docs/model.md; they are tried in that order.
"""

from typing import NamedTuple

from emu.abi import (
    MEM_MAX_NR_PAGES,
    PAGE_MASK,
    PAGE_SHIFT,
    U64,
    USER_MEM_SLOTS,
    Errno,
    GmemFlag,
    MemFlag,
)
from emu.kvm.host_mm import HostMm
from emu.kvm.state import USER_TOP, Gmem, Kvm, MemorySlot

# Plain names, for the hot path.
_GUEST_MEMFD = MemFlag.GUEST_MEMFD
_LOG_DIRTY = MemFlag.LOG_DIRTY_PAGES
_NOT_WITH_GMEM = MemFlag.LOG_DIRTY_PAGES | MemFlag.READONLY
_MMAP = GmemFlag.MMAP

_KNOWN_FLAGS = MemFlag.LOG_DIRTY_PAGES | MemFlag.READONLY | MemFlag.GUEST_MEMFD
_FIXED_FLAGS = MemFlag.READONLY | MemFlag.GUEST_MEMFD
_ID_MASK = 0xFFFF


class MemoryRegion(NamedTuple):
    """struct kvm_userspace_memory_region2, and which of the two ioctls carries it."""

    slot: int
    flags: int
    gpa: int
    size: int
    userspace_addr: int
    guest_memfd: int
    guest_memfd_offset: int
    v1: bool


class Memslots(HostMm):
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
        errno = self.check_memory_region_flags(region) or self._check_ranges(region)
        if errno:
            return errno
        old = next((slot for slot in kvm.memslots if slot.id == region.slot), None)
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

    def _check_ranges(self, region: MemoryRegion) -> int:
        """Rules 5 to 9."""
        if (region.size | region.gpa) & ~PAGE_MASK:  # 5
            return -Errno.EINVAL
        hva = region.userspace_addr
        if hva & ~PAGE_MASK or hva >> 55 or hva + region.size > USER_TOP:  # 6
            return -Errno.EINVAL
        offset = region.guest_memfd_offset
        if region.flags & _GUEST_MEMFD and (offset & ~PAGE_MASK or offset + region.size > U64):  # 7
            return -Errno.EINVAL
        if region.slot > _ID_MASK:  # 8
            return -Errno.EINVAL
        if region.gpa + region.size > U64 or region.size >> PAGE_SHIFT > MEM_MAX_NR_PAGES:  # 9
            return -Errno.EINVAL
        return 0

    def _create(self, kvm: Kvm, region: MemoryRegion) -> int:
        if self._overlaps(kvm, region, None):  # 13
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
            region.guest_memfd_offset >> PAGE_SHIFT,
        )
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
        old.flags = region.flags
        if changed & region.flags & _LOG_DIRTY:
            self.kvm_mmu_wp_memory_region(kvm, old)
        return 0

    def _move(self, kvm: Kvm, old: MemorySlot, region: MemoryRegion) -> int:
        if self._overlaps(kvm, region, old):  # 13
            return -Errno.EEXIST
        new = MemorySlot(
            old.id, region.gpa, old.size, region.flags, old.userspace_addr, old.gmem, old.gmem_index
        )
        errno = self.kvm_arch_prepare_memory_region(kvm, new)
        if errno == 0:
            self.kvm_arch_flush_shadow_memslot(kvm, old)
            kvm.memslots[kvm.memslots.index(old)] = new
        return errno

    def _delete(self, kvm: Kvm, old: MemorySlot) -> int:
        kvm.memslots.remove(old)
        self.kvm_arch_flush_shadow_memslot(kvm, old)
        self.kvm_gmem_unbind(old)
        return 0

    @staticmethod
    def _overlaps(kvm: Kvm, region: MemoryRegion, ignored: MemorySlot | None) -> bool:
        end = region.gpa + region.size
        return any(
            slot.base < end and region.gpa < slot.base + slot.size
            for slot in kvm.memslots
            if slot is not ignored
        )

    def kvm_arch_prepare_memory_region(self, kvm: Kvm, new: MemorySlot) -> int:
        """arch/arm64/kvm/mmu.c: rules 15 and 16."""
        if new.base + new.size > 1 << kvm.config.ipa_bits:
            return -Errno.EFAULT
        if new.gmem is not None and not new.gmem.flags & _MMAP:
            return -Errno.EINVAL
        return 0

    def kvm_arch_flush_shadow_memslot(self, kvm: Kvm, slot: MemorySlot) -> None:
        """arch/arm64/kvm/mmu.c: the slot's pages leave stage 2."""
        self.kvm_unmap_gfn_range(kvm, slot.base, slot.base + slot.size)
