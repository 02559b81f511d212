"""Slips in guest_memfd: pages that can be had are refused, or stay refused."""

from emu.abi import Errno
from emu.kernels.clean import Clean
from emu.kvm.state import Gmem, Kvm, MemorySlot


class BadBindPartial(Clean):
    """Of a range that is bound the first page alone is stored, and nobody notices.

    Source: zoo G1, e6ecb88711d9: KVM_SET_USER_MEMORY_REGION2 succeeds, and the guest's accesses
    get EIO.
    """

    def kvm_gmem_bind(self, kvm: Kvm, gmem: Gmem, slot: MemorySlot) -> int:
        """The rest fails to be stored."""
        ret = super().kvm_gmem_bind(kvm, gmem, slot)
        if ret == 0:
            start, _, _ = gmem.bindings[-1]
            gmem.bindings[-1] = start, start + 1, slot
        return ret


class BadUnbindAll(Clean):
    """A slot that goes or moves takes every binding with it, other slots' too.

    Source: zoo G4, ae431059e75d, and G3, 1f3359c873db, where the wrong bindings were left.
    """

    def kvm_arch_flush_shadow_memslot(self, kvm: Kvm, slot: MemorySlot) -> None:
        """The files' bindings, not the slot's."""
        super().kvm_arch_flush_shadow_memslot(kvm, slot)
        for gmem in kvm.gmems.values():
            gmem.bindings.clear()


class BadOffsetForgotten(Clean):
    """A slot's offset into its file is forgotten by the lookup of a fault. Synthetic."""

    def kvm_gmem_get_pfn(self, kvm: Kvm, slot: MemorySlot, ipa: int) -> int:
        """The guest frame's number in the slot for that in the file."""
        gmem = slot.gmem
        if gmem is not None and not gmem.released:
            index = ipa - slot.base >> kvm.page_shift
            if not any(each[0] <= index < each[1] and each[2] is slot for each in gmem.bindings):
                return -Errno.EIO
        return super().kvm_gmem_get_pfn(kvm, slot, ipa)


class BadPoisonSticks(Clean):
    """A hole punched where a memory error was does not forget the error. Synthetic."""

    def kvm_gmem_punch_hole(self, kvm: Kvm, gmem: Gmem, offset: int, size: int) -> int:
        """The new page is refused for the old one's fault."""
        poisoned = set(gmem.poisoned)
        ret = super().kvm_gmem_punch_hole(kvm, gmem, offset, size)
        gmem.poisoned |= poisoned
        return ret


class BadPoisonNeighbour(Clean):
    """A memory error makes the page behind it poisoned as well. Synthetic."""

    def kvm_gmem_get_pfn(self, kvm: Kvm, slot: MemorySlot, ipa: int) -> int:
        """Folios are taken to be two pages long."""
        index = (ipa - slot.base >> kvm.page_shift) + slot.gmem_index
        if slot.gmem is not None and index - 1 in slot.gmem.poisoned:
            return -Errno.EHWPOISON
        return super().kvm_gmem_get_pfn(kvm, slot, ipa)
