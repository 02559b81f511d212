"""virt/kvm/kvm_main.c, the MMU notifiers: how stage 2 follows the VMM's own page tables."""

from emu.kvm.guest_memfd import GuestMemfd
from emu.kvm.state import Kvm, user_address


class MmuNotifier(GuestMemfd):
    """What mm/ tells KVM of."""

    def mmu_notifier_invalidate_range(self, kvm: Kvm, index: int, start: int, end: int) -> None:
        """Take a range of the VMM's addresses out of stage 2 wherever a slot shows it."""
        first, last = user_address(index, start), user_address(index, end)
        for slot in kvm.memslots:
            if slot.gmem is not None:
                continue  # a guest_memfd slot's faults never go through its userspace_addr
            low = max(first, slot.userspace_addr)
            high = min(last, slot.userspace_addr + slot.size)
            if low < high:
                kvm.mmu_invalidate_seq += 1
                offset = slot.base - slot.userspace_addr
                self.kvm_unmap_gfn_range(kvm, low + offset, high + offset)
