"""arch/arm64/kvm/mmu.c: what happens to a guest's stage-2 abort.

``kvm_handle_guest_abort`` takes the branches A1 to A18 of docs/model.md, in that order. Nested and
protected VMs (A6 to A9, A15) are not modelled; they would stand at the two places that say so.
Every function returns what the kernel's does: negative errno, 0 to leave, 1 to resume.
"""

from emu.abi import PAGE_SIZE, Errno, ExitReason, MemFlag
from emu.case import Site
from emu.kvm.mmio import Mmio
from emu.kvm.state import HOST_IPA_BITS, MMU_CACHE_CAPACITY, MemorySlot, Vcpu
from emu.stage2 import Prot
from emu.syndrome import (
    ACCESS_FLAG,
    CM,
    EA,
    EC,
    EXTERNAL_ABORT,
    EXTERNAL_ABORT_ON_WALK,
    FNV,
    FSC,
    FSC_EXCL_ATOMIC,
    IL,
    PERMISSION,
    S1PTW,
    TRANSLATION,
    WNR,
    fault_ipa,
    is_iabt,
)

# Plain names, for the hot path: see emu.abi.
_READ = Prot.R
_READ_WRITE = Prot.R | Prot.W
_EXECUTE = Prot.X
_NOT_EXECUTABLE = -Errno.ENOEXEC
_AGAIN = -Errno.EAGAIN
_POISONED = -Errno.EHWPOISON
_LOG_DIRTY = MemFlag.LOG_DIRTY_PAGES

_SEA_GPA_VALID = 1
_SEA_ESR = EC | IL | FNV | EA | CM | WNR | FSC
_PAGE_OFFSET = PAGE_SIZE - 1
_SERVABLE = TRANSLATION | PERMISSION | ACCESS_FLAG | {FSC_EXCL_ATOMIC}


def kvm_is_write_fault(esr: int) -> bool:
    """A stage-1 walk writes only if it met a permission fault; a fetch never writes."""
    if esr & S1PTW:
        return esr & FSC in PERMISSION
    return bool(esr & WNR) and not is_iabt(esr)


def kvm_is_exec_fault(esr: int) -> bool:
    """A fetch, and not the stage-1 walk on its behalf."""
    return is_iabt(esr) and not esr & S1PTW


class Mmu(Mmio):
    """The abort, and its three servants: guest_memfd, user memory, MMIO."""

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """Serve an instruction or data abort from the guest."""
        kvm, fault = vcpu.kvm, vcpu.fault
        esr = fault.esr
        fsc = esr & FSC

        # DECODE
        if fsc in EXTERNAL_ABORT:  # A1
            return self.kvm_handle_guest_sea(vcpu)
        if not fault.hpfar_valid:  # A2
            self.kvm_vm_bugged(kvm)
            return -Errno.EFAULT
        ipa = fault_ipa(fault.hpfar)
        if fsc in TRANSLATION and ipa >> kvm.config.ipa_bits:  # A3, A4
            return self.abort_beyond_ipa_space(vcpu, ipa)
        if fsc not in _SERVABLE:  # A5
            return -Errno.EFAULT

        # LOOK UP
        # A6 to A9, a nested guest: walk L1's stage 2 here.
        slot = self.gfn_to_memslot(kvm, ipa)
        if slot is None or (kvm_is_write_fault(esr) and slot.readonly):
            return self.abort_outside_slots(vcpu, slot, ipa)
        if fsc in ACCESS_FLAG:  # A14
            self.handle_access_fault(vcpu, ipa)
            return 1

        # MAP
        # A15, a protected guest: pkvm_mem_abort here.
        if slot.gmem is not None:  # A16
            ret = self.gmem_abort(vcpu, ipa, slot)
        else:  # A17
            ret = self.user_mem_abort(vcpu, ipa, slot)
        if ret == _NOT_EXECUTABLE:  # A18
            return self.kvm_inject_sea(vcpu, iabt=True)
        return ret or 1

    def abort_beyond_ipa_space(self, vcpu: Vcpu, ipa: int) -> int:
        """An address that the VM does not have: past the host's limit, or past its own."""
        if ipa >> HOST_IPA_BITS:  # A3
            self.kvm_inject_size_fault(vcpu)
            return 1
        return self.kvm_inject_sea(vcpu, iabt=is_iabt(vcpu.fault.esr))  # A4

    def abort_outside_slots(self, vcpu: Vcpu, slot: MemorySlot | None, ipa: int) -> int:
        """No slot, or a write to a read-only one."""
        esr = vcpu.fault.esr
        if is_iabt(esr):  # A10
            return self.kvm_inject_sea(vcpu, iabt=True)
        if esr & S1PTW:  # A11
            return self.kvm_inject_sea(vcpu, iabt=False)
        if slot is None and esr & CM:  # A12
            self.kvm_incr_pc(vcpu)
            return 1
        # HPFAR has no bits 11:0; FAR supplies them.
        return self.io_mem_abort(vcpu, ipa | vcpu.fault.far & _PAGE_OFFSET)  # A13

    def kvm_handle_guest_sea(self, vcpu: Vcpu) -> int:
        """A synchronous external abort that the host's firmware tables do not claim.

        One on a stage-2 table that a stage-1 walk met is the host's own, and no VMM's business.
        """
        run, fault = vcpu.run, vcpu.fault
        host_owns = fault.esr & S1PTW and fault.esr & FSC in EXTERNAL_ABORT_ON_WALK
        if host_owns or not vcpu.kvm.config.sea_to_user:
            return self.kvm_inject_serror(vcpu)
        run.exit_reason = ExitReason.ARM_SEA
        run.u0 = _SEA_GPA_VALID if fault.hpfar_valid else 0
        run.u1 = fault.esr & _SEA_ESR
        run.u2 = 0 if fault.esr & FNV else fault.far
        run.u3 = fault_ipa(fault.hpfar) if fault.hpfar_valid else 0
        return 0

    def handle_access_fault(self, vcpu: Vcpu, ipa: int) -> None:
        """The page is mapped and only old."""
        self.kvm_pgtable_stage2_mkyoung(vcpu.kvm, ipa)

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
