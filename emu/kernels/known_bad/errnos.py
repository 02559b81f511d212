"""Slips in the errno that KVM_RUN returns."""

from emu.abi import Errno
from emu.kernels.clean import Clean
from emu.kvm.state import MemorySlot, Vcpu
from emu.syndrome import ACCESS_FLAG, FSC, PERMISSION


class BadRawErrno(Clean):
    """``clean`` without the RFC's change for ENOMEM: the leak and nothing else.

    Source: zoo C1, a7b57e099592, and C3, 16f95f3b95ca, which does the same on x86.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """ENOMEM passes through."""
        aligned = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        return ret if ret == -Errno.ENOMEM else aligned


class BadRawIo(Clean):
    """The same slip for EIO alone, which takes an injection since 7.3.3. Source: zoo C1."""

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """EIO passes through."""
        aligned = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        return ret if ret == -Errno.EIO else aligned


class BadLookupWithoutCreate(Clean):
    """The lookup of a fault does not create what is missing, and says ENOENT. Synthetic.

    It is what a guest_memfd lookup would say that forgets FGP_CREAT.
    """

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """A hole in the file is an error."""
        gmem = slot.gmem
        index = (ipa - slot.base >> vcpu.kvm.page_shift) + slot.gmem_index
        if gmem is not None and not gmem.released and index not in gmem.folios:
            return -Errno.ENOENT
        return super().gmem_abort(vcpu, ipa, slot)


class BadMapExists(Clean):
    """A permission fault in the VMM's own memory ends as EEXIST: the page is mapped. Synthetic."""

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Whoever maps takes every leaf that is there for somebody else's."""
        ret = super().user_mem_abort(vcpu, ipa, slot)
        return -Errno.EEXIST if not ret and vcpu.fault.esr & FSC in PERMISSION else ret


class BadAccessFlagAgain(Clean):
    """An access-flag fault ends the call with EAGAIN, the page made young.

    Source: zoo F2, 694d071f8d85 and 19cffd16ed64: EAGAIN of the walkers, which is the guest's to
    retry, taken for an error.
    """

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """The walker's word reaches userspace."""
        ret = super().kvm_handle_guest_abort(vcpu)
        return -Errno.EAGAIN if ret == 1 and vcpu.fault.esr & FSC in ACCESS_FLAG else ret


class BadPoisonAsFault(Clean):
    """A memory error in guest_memfd is told as EFAULT. Synthetic.

    Only the paranoid reading condemns it: api.rst does not say which of the two is for what.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """The VMM does not learn that the page is gone for good."""
        ret = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        return -Errno.EFAULT if ret == -Errno.EHWPOISON else ret


class BadFaultAsPoison(Clean):
    """A released guest_memfd is told as EHWPOISON. Synthetic."""

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """The VMM takes good memory for bad."""
        aligned = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        return -Errno.EHWPOISON if ret == -Errno.EFAULT else aligned


class BadUnknownExit(Clean):
    """An EFAULT of the VMM's own memory leaves with 0 instead, and with no reason. Synthetic."""

    def abort_in_slot(self, vcpu: Vcpu, slot: MemorySlot, ipa: int) -> int:
        """The error is swallowed on its way to the VMM."""
        ret = super().abort_in_slot(vcpu, slot, ipa)
        return 0 if ret == -Errno.EFAULT and slot.gmem is None else ret


class BadRaceAgain(Clean):
    """A fault that loses a race with an invalidation ends the call with EAGAIN.

    Source: zoo C6, 3ccbf6f47098, and F2; EAGAIN is the guest's to retry.
    """

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Not converted on the way out."""
        seq = vcpu.kvm.mmu_invalidate_seq
        ret = super().gmem_abort(vcpu, ipa, slot)
        return ret or (-Errno.EAGAIN if vcpu.kvm.mmu_invalidate_seq != seq else 0)
