"""Slips in the memory slots: where one ends, and what it may become."""

from emu.abi import PAGE_SIZE, MemFlag
from emu.kernels.clean import Clean
from emu.kvm.memslots import MemoryRegion
from emu.kvm.state import Kvm, MemorySlot


class BadSlotEnd(Clean):
    """The last page of a slot of several is not found in it. Synthetic."""

    def gfn_to_memslot(self, kvm: Kvm, ipa: int) -> MemorySlot | None:
        """Less, where it should be less or equal."""
        slot = super().gfn_to_memslot(kvm, ipa)
        if slot is not None and slot.base < ipa >= slot.base + slot.size - PAGE_SIZE:
            return None
        return slot


class BadSlotPastEnd(Clean):
    """The page behind a slot is taken for its own, where no other slot has it. Synthetic."""

    def gfn_to_memslot(self, kvm: Kvm, ipa: int) -> MemorySlot | None:
        """Less or equal, where it should be less."""
        slot = super().gfn_to_memslot(kvm, ipa)
        if slot is None:
            return super().gfn_to_memslot(kvm, ipa - PAGE_SIZE)
        return slot


class BadFlagToggled(Clean):
    """KVM_MEM_GUEST_MEMFD can be taken off a slot, and its faults go on being the file's.

    Source: zoo G5, 9935df5333aa, fixed in 6.19.
    """

    def kvm_set_memory_region(self, kvm: Kvm, region: MemoryRegion) -> int:
        """Rule 11 lets the flag change."""
        old = next((slot for slot in kvm.memslots if slot.id == region.slot), None)
        if old is not None and old.flags & MemFlag.GUEST_MEMFD and region.size == old.size:
            old.flags = region.flags
            return 0
        return super().kvm_set_memory_region(kvm, region)
