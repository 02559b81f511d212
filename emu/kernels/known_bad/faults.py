"""Slips in how a fault is served: it repeats for ever, or has two consequences."""

from typing import Final

from emu.abi import Errno
from emu.kernels.clean import Clean
from emu.kvm.state import MemorySlot, Vcpu
from emu.stage2 import Prot
from emu.syndrome import S1PTW, WNR, is_iabt

_HPFAR_PAGE: Final = 1 << 4  # HPFAR_EL2.FIPA begins at bit 4


class BadPermissionMap(Clean):
    """gmem_abort() answers a permission fault with "map", which leaves what is mapped as it is.

    Source: zoo F1; Linux 6.18 until 9be19df816de. A page that was first touched as data and is then
    fetched from faults for ever where the instruction cache needs maintenance.
    """

    def kvm_pgtable_stage2_relax_perms(self, vcpu: Vcpu, ipa: int, prot: int) -> int:
        """The page is there already: EAGAIN, and back to the guest."""
        at = ipa if vcpu.s2_trans is None else vcpu.s2_trans.output
        slot = self.gfn_to_memslot(vcpu.kvm, at)
        if slot is not None and slot.gmem is not None:
            return -Errno.EAGAIN
        return super().kvm_pgtable_stage2_relax_perms(vcpu, ipa, prot)


class BadExecuteForgotten(Clean):
    """A fetch from the VMM's own memory is mapped without execute permission. Synthetic."""

    def kvm_pgtable_stage2_relax_perms(self, vcpu: Vcpu, ipa: int, prot: int) -> int:
        """Read and write are all that is relaxed."""
        slot = self.gfn_to_memslot(vcpu.kvm, ipa)
        if slot is not None and slot.gmem is None:
            prot &= ~Prot.X
        return super().kvm_pgtable_stage2_relax_perms(vcpu, ipa, prot)


class BadAccessFlagLost(Clean):
    """An access-flag fault is answered without setting the flag. Synthetic."""

    def handle_access_fault(self, vcpu: Vcpu, ipa: int) -> None:
        """The page stays old."""


class BadMemoryRetry(Clean):
    """gmem_abort() resumes the guest where memory ran out, and it faults again, for ever.

    Synthetic; it is how the VNCR path treats the VMM's own memory.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """The next try may have more luck."""
        return 0 if ret == -Errno.ENOMEM else super().gmem_abort_without_pfn(vcpu, ipa, ret)


class BadCacheRetry(Clean):
    """A page-table cache that cannot be filled resumes the guest. Synthetic."""

    def kvm_mmu_topup_memory_cache(self, vcpu: Vcpu) -> int:
        """ENOMEM is taken for EAGAIN."""
        ret = super().kvm_mmu_topup_memory_cache(vcpu)
        return 1 if ret == -Errno.ENOMEM else ret


class BadReportAndAbort(Clean):
    """A fault that is reported as MEMORY_FAULT is an external abort for the guest as well.

    Source: suspected bug S3, a fault with two consequences, moved to gmem_abort().
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """Both at once."""
        ret = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        self.kvm_inject_sea(vcpu, iabt=is_iabt(vcpu.fault.esr))
        return ret


class BadUserFaultAndAbort(Clean):
    """An EFAULT of the VMM's own memory is an external abort for the guest as well.

    Source: suspected bug S3, moved to user_mem_abort().
    """

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Both at once."""
        ret = super().user_mem_abort(vcpu, ipa, slot)
        if ret == -Errno.EFAULT:
            self.kvm_inject_sea(vcpu, iabt=is_iabt(vcpu.fault.esr))
        return ret


class BadEveryErrorAborts(Clean):
    """Branch A18 makes an abort for the guest of every error, and the record stays. Synthetic."""

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """Whatever went wrong becomes ENOEXEC."""
        ret = super().gmem_abort(vcpu, ipa, slot)
        return -Errno.ENOEXEC if ret < 0 else ret


class BadNotExecutableRecord(Clean):
    """An ENOEXEC of the lookup is an abort for the guest, and its record stays in kvm_run.

    Source: suspected bug S6, observed on 7.3.4 by injection.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """Filled, and not told to the VMM."""
        aligned = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        return ret if ret == -Errno.ENOEXEC else aligned


class BadWalkNeverWrites(Clean):
    """A stage-1 walk that has to update its descriptor is served as a load, and faults for ever.

    Source: zoo F5, c4ad98e4b72c, which put the walk's writes right.
    """

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """What is written has to be readable, and no more."""
        fault, esr = vcpu.fault, vcpu.fault.esr
        if esr & S1PTW:
            fault.esr = esr & ~(S1PTW | WNR)
        ret = super().user_mem_abort(vcpu, ipa, slot)
        fault.esr = esr
        return ret


class BadWalkAlwaysWrites(Clean):
    """A stage-1 walk is served as a store, whether it has to update its descriptor or not.

    Source: zoo F5, 406504c7b040, which let a walk read what cannot be written.
    """

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """What is only read has to be writable."""
        fault, esr = vcpu.fault, vcpu.fault.esr
        if esr & S1PTW:
            fault.esr = esr & ~S1PTW | WNR
        ret = super().user_mem_abort(vcpu, ipa, slot)
        fault.esr = esr
        return ret


class BadWalkBeyond(Clean):
    """A stage-1 table past the VM's IPA space is met again and again.

    Source: 50f77dc87f13; that 7.3.4 hangs was observed.
    """

    def walk_beyond_ipa_space(self, _vcpu: Vcpu) -> int:
        """The abort is taken for a passing one."""
        return 1


class BadHpfarIgnored(Clean):
    """An abort whose HPFAR_EL2 is not valid is served, with whatever the register holds.

    Source: zoo F8, fb8a3eba9c81.
    """

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """Branch A2 is missing; here the register holds the page behind."""
        fault = vcpu.fault
        if not fault.hpfar_valid:
            fault.hpfar += _HPFAR_PAGE
            fault.hpfar_valid = True
        return super().kvm_handle_guest_abort(vcpu)
