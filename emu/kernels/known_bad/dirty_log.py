"""Slips in dirty logging: pages that were written and are on no log."""

from emu.arena import HUGE_SIZE
from emu.kernels.clean import Clean
from emu.kvm.state import Kvm, MemorySlot, Vcpu
from emu.syndrome import FSC, PERMISSION


class BadDirtyFirstWrite(Clean):
    """The write that maps a page is not logged, only one that relaxes it. Synthetic."""

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Marking is left to permission faults."""
        dirty = None if slot.dirty is None else set(slot.dirty)
        ret = super().user_mem_abort(vcpu, ipa, slot)
        if dirty is not None and slot.dirty is not None and vcpu.fault.esr & FSC not in PERMISSION:
            slot.dirty &= dirty
        return ret


class BadDirtyOnce(Clean):
    """Reading the log does not write-protect again, so that a page is logged once. Synthetic."""

    def stage2_wp_range(self, kvm: Kvm, start: int, end: int) -> None:
        """The pages stay writable."""


class BadDirtyBlock(Clean):
    """A write is logged as the first page of its 2 MiB, as if a block was mapped. Synthetic.

    KVM falls back to pages where a slot is logged, so that every page has its own first write.
    """

    def mark_page_dirty_in_slot(self, kvm: Kvm, slot: MemorySlot, ipa: int) -> None:
        """The mapping's address for the fault's."""
        super().mark_page_dirty_in_slot(kvm, slot, max(slot.base, ipa & -HUGE_SIZE))
