"""arch/arm64/kvm/mmu.c, the two that serve an abort inside a slot: gmem_abort, user_mem_abort.

Both return 0 or a negative errno. Their steps, in this order: decode, top up the vCPU's page-table
cache, look up, pin the page, map it.
"""

from emu.abi import PAGE_SIZE, Errno, MemFlag
from emu.injection import Site
from emu.kvm.mmio import Mmio
from emu.kvm.state import MMU_CACHE_CAPACITY, MemorySlot, Vcpu
from emu.stage2 import Prot
from emu.syndrome import FSC, FSC_EXCL_ATOMIC, PERMISSION, S1PTW, WNR, is_iabt

# Plain names, for the hot path: see emu.abi.
_READ = Prot.R
_READ_WRITE = Prot.R | Prot.W
_EXECUTE = Prot.X
_AGAIN = -Errno.EAGAIN
_POISONED = -Errno.EHWPOISON
_LOG_DIRTY = MemFlag.LOG_DIRTY_PAGES


def kvm_is_write_fault(esr: int) -> bool:
    """A stage-1 walk writes only if it met a permission fault; a fetch never writes."""
    if esr & S1PTW:
        return esr & FSC in PERMISSION
    return bool(esr & WNR) and not is_iabt(esr)


def kvm_is_exec_fault(esr: int) -> bool:
    """A fetch, and not the stage-1 walk on its behalf."""
    return is_iabt(esr) and not esr & S1PTW


class MemAbort(Mmio):
    """Served from guest_memfd, or from the VMM's own memory."""

    def kvm_mmu_topup_memory_cache(self, vcpu: Vcpu) -> int:
        """Enough pages for the tables of one mapping; 0 or -ENOMEM.

        A cache that holds that many is left alone; else it is filled up, which is charged.
        """
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_MMU_TOPUP_MEMORY_CACHE)):
            return -errno
        if vcpu.mmu_page_cache < kvm.stage2.levels - 1:
            if kvm.memory_limit:
                return -Errno.ENOMEM
            vcpu.mmu_page_cache = MMU_CACHE_CAPACITY
        return 0

    # guest_memfd

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """A fault in a guest_memfd slot: 0, or -errno, filled for MEMORY_FAULT if no page came."""
        # DECODE
        esr = vcpu.fault.esr
        is_perm = esr & FSC in PERMISSION

        # TOP UP
        if not is_perm and (ret := self.kvm_mmu_topup_memory_cache(vcpu)):
            return ret

        # PIN
        pfn = self.kvm_gmem_get_pfn(vcpu.kvm, slot, ipa)
        if pfn < 0:
            return self.gmem_abort_without_pfn(vcpu, ipa, pfn)

        # MAP
        prot = _READ_WRITE  # a read-only slot cannot have guest_memfd
        if kvm_is_exec_fault(esr):
            prot |= _EXECUTE
        return self._stage2_install(vcpu, ipa, pfn, prot, relax=is_perm)

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """gmem_abort()'s way out when kvm_gmem_get_pfn() failed; every proposal changes it.

        Linux 7.3.4 fills first and returns whatever errno it has.
        """
        self.kvm_prepare_memory_fault_exit(vcpu, ipa, PAGE_SIZE)
        return ret

    # user memory

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """A fault in a slot of the VMM's own memory; 0 or -errno. Never fills MEMORY_FAULT."""
        # DECODE
        kvm, esr = vcpu.kvm, vcpu.fault.esr
        is_perm = esr & FSC in PERMISSION
        write = kvm_is_write_fault(esr)
        logging = bool(slot.flags & _LOG_DIRTY)

        # TOP UP
        if (not is_perm or (logging and write)) and (ret := self.kvm_mmu_topup_memory_cache(vcpu)):
            return ret

        # LOOK UP
        hva = slot.userspace_addr + (ipa - slot.base)
        if self.vma_lookup(kvm, hva) is None:
            return -Errno.EFAULT

        # PIN
        pfn, writable = self.kvm_faultin_pfn(kvm, hva, write=write)
        if pfn == _POISONED:
            self.kvm_send_hwpoison_signal(vcpu)
            return 0
        if pfn < 0:
            return pfn
        if esr & FSC == FSC_EXCL_ATOMIC:
            return self.kvm_inject_dabt_excl_atomic(vcpu)

        # MAP
        if slot.readonly or (logging and not write):
            writable = False
        prot = _READ_WRITE if writable else _READ
        if kvm_is_exec_fault(esr):
            prot |= _EXECUTE
        return self._stage2_install(vcpu, ipa, pfn, prot, relax=is_perm)

    def kvm_send_hwpoison_signal(self, vcpu: Vcpu) -> None:
        """SIGBUS for the VMM thread; the loop finds it pending before the guest runs again."""
        vcpu.signal_pending = True
        vcpu.sigbus = True

    def _stage2_install(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int, *, relax: bool) -> int:
        """The end that gmem_abort() and user_mem_abort() share: 0 or -errno, EAGAIN resumes."""
        if relax:
            ret = self.kvm_pgtable_stage2_relax_perms(vcpu, ipa, prot)
        else:
            ret = self.kvm_pgtable_stage2_map(vcpu, ipa, pfn, prot)
        return 0 if ret == _AGAIN else ret
