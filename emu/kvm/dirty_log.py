"""Dirty logging: virt/kvm/kvm_main.c, the bitmap, and arch/arm64/kvm/mmu.c, the write protection.

KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is off: reading the log clears it and write-protects at once.
"""

from typing import Final

from emu.abi import USER_MEM_SLOTS, Errno, MemFlag
from emu.kvm.host_mm import HostMm
from emu.kvm.state import Kvm, MemorySlot

# Plain names, for the hot path: see emu.abi.
_LOG_DIRTY: Final = MemFlag.LOG_DIRTY_PAGES


class DirtyLogging(HostMm):
    """A slot's bitmap: made and dropped with its flag, marked by faults, read by the VMM."""

    def kvm_alloc_dirty_bitmap(self, slot: MemorySlot, old: MemorySlot | None) -> None:
        """The bitmap that a slot with these flags has; ``old``: what it takes the place of."""
        if not slot.flags & _LOG_DIRTY:
            slot.dirty = None
        elif old is None or old.dirty is None:
            slot.dirty = set()
        else:
            slot.dirty = old.dirty

    def mark_page_dirty_in_slot(self, kvm: Kvm, slot: MemorySlot, ipa: int) -> None:
        """Put the host page of a guest-physical address on the log, if the slot keeps one."""
        if slot.dirty is not None:
            slot.dirty.add(ipa - slot.base >> kvm.page_shift)

    def kvm_vm_ioctl_get_dirty_log(self, kvm: Kvm, number: int) -> tuple[int, ...] | int:
        """KVM_GET_DIRTY_LOG: the numbers of the dirty pages, ascending, or -errno.

        EINVAL: no such address space, or no such id. ENOENT: no slot of that id, or no bitmap.
        """
        if kvm.vm_dead:
            return -Errno.EIO
        if number >= USER_MEM_SLOTS:  # the address space is in the high half
            return -Errno.EINVAL
        slot = self.id_to_memslot(kvm, number)
        if slot is None or slot.dirty is None:
            return -Errno.ENOENT
        pages = tuple(sorted(slot.dirty))
        slot.dirty.clear()
        for page in pages:
            start = slot.base + (page << kvm.page_shift)
            self.stage2_wp_range(kvm, start, start + kvm.page_size)
        return pages

    def kvm_mmu_wp_memory_region(self, kvm: Kvm, slot: MemorySlot) -> None:
        """Write-protect a whole slot, as dirty logging begins."""
        self.stage2_wp_range(kvm, slot.base, slot.base + slot.size)

    def stage2_wp_range(self, kvm: Kvm, start: int, end: int) -> None:
        """Take the write permission, and nothing else, of every leaf in [start, end)."""
        for ipa in kvm.stage2.mapped(start, end):
            kvm.stage2.write_protect(ipa)
        if kvm.nested is not None:
            self.kvm_nested_s2_wp(kvm.nested)
