"""arch/arm64/kvm/mmu.c, the two that serve an abort inside a slot: gmem_abort, user_mem_abort.

Both return 0 or a negative errno. Their steps, in this order: decode, top up the vCPU's page-table
cache, look up, pin the page, map it.
"""

from typing import Final

from emu.abi import PAGE_SHIFT, PAGE_SIZE, Errno, MemFlag
from emu.arena import HUGE_SIZE
from emu.injection import Site
from emu.kvm.mmio import Mmio
from emu.kvm.state import MMU_CACHE_CAPACITY, Kvm, MemorySlot, Vcpu
from emu.stage2 import Prot
from emu.steps import MemKind
from emu.syndrome import FSC, FSC_EXCL_ATOMIC, PERMISSION, S1PTW, WNR, fault_ipa, is_iabt

# Plain names, for the hot path: see emu.abi.
_READ: Final = Prot.R
_READ_WRITE: Final = Prot.R | Prot.W
_EXECUTE: Final = Prot.X
_AGAIN: Final = -Errno.EAGAIN
_POISONED: Final = -Errno.EHWPOISON
_LOG_DIRTY: Final = int(MemFlag.LOG_DIRTY_PAGES)
_READONLY: Final = int(MemFlag.READONLY)
_ANONYMOUS: Final = MemKind.ANONYMOUS
_HUGETLB: Final = MemKind.HUGETLB
_DEVICE: Final = MemKind.DEVICE
_DEVICE_MEMORY: Final = Prot.DEVICE
_LAST_LEVEL: Final = 3
_LEVEL: Final = 3  # the bits of a fault status that say at which

# Of the VMAs that can be, an ordinary file's and one without struct pages lack VM_MTE_ALLOWED.
_WITHOUT_TAGS: Final = (MemKind.FILE, MemKind.PFNMAP)


def kvm_is_write_fault(esr: int) -> bool:
    """A stage-1 walk writes only if it met a permission fault; a fetch never writes."""
    if esr & S1PTW:
        return esr & FSC in PERMISSION
    return bool(esr & WNR) and not is_iabt(esr)


def kvm_is_exec_fault(esr: int) -> bool:
    """A fetch, and not the stage-1 walk on its behalf."""
    return is_iabt(esr) and not esr & S1PTW


def kvm_vcpu_trap_get_perm_fault_granule(kvm: Kvm, esr: int) -> int:
    """How much the leaf maps that a permission fault met, by the level that the abort names."""
    per_level = kvm.page_shift - 3
    return kvm.page_size << (_LAST_LEVEL - (esr & _LEVEL)) * per_level


def fault_supports_stage2_huge_mapping(slot: MemorySlot, hva: int, size: int) -> bool:
    """Whether a block of this size around ``hva`` is the same to guest and VMM, and in the slot."""
    start = hva & -size
    end = slot.userspace_addr + slot.size
    congruent = (slot.base ^ slot.userspace_addr) & size - 1 == 0
    return congruent and slot.userspace_addr <= start and start + size <= end


def memslot_is_logging(slot: MemorySlot) -> bool:
    """Whether writes are looked for: a guest cannot write to a read-only slot."""
    return slot.flags & (_LOG_DIRTY | _READONLY) == _LOG_DIRTY


class MemAbort(Mmio):
    """Served from guest_memfd, or from the VMM's own memory."""

    def kvm_mmu_topup_memory_cache(self, vcpu: Vcpu) -> int:
        """Enough pages for the tables of one mapping; 0 or -ENOMEM.

        A cache that holds that many is left alone; else it is filled up, which is charged.
        """
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_MMU_TOPUP_MEMORY_CACHE)):
            return -errno
        if vcpu.mmu_page_cache < vcpu.hw_mmu.levels - 1:
            if kvm.memory_limit:
                return -Errno.ENOMEM
            vcpu.mmu_page_cache = MMU_CACHE_CAPACITY
        return 0

    # guest_memfd

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """A fault in a guest_memfd slot: 0, or -errno, filled for MEMORY_FAULT if no page came."""
        # DECODE
        kvm, esr = vcpu.kvm, vcpu.fault.esr
        is_perm = esr & FSC in PERMISSION

        # TOP UP
        if not is_perm and (ret := self.kvm_mmu_topup_memory_cache(vcpu)):
            return ret

        # PIN
        seq = kvm.mmu_invalidate_seq
        pfn = self.kvm_gmem_get_pfn(kvm, slot, ipa)
        if pfn < 0:
            return self.gmem_abort_without_pfn(vcpu, ipa, pfn)

        # MAP
        if self.mmu_invalidate_retry(kvm, seq):
            return 0
        prot = _READ_WRITE  # a read-only slot cannot have guest_memfd
        if kvm_is_exec_fault(esr) or kvm.config.coherent:
            prot |= _EXECUTE
        ret = self._stage2_install(vcpu, ipa, pfn, prot, relax=is_perm)
        return 0 if ret == _AGAIN else ret  # the guest goes on, and faults again

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """gmem_abort()'s way out when kvm_gmem_get_pfn() failed; every proposal changes it.

        Linux 7.3.4 fills first and returns whatever errno it has.
        """
        gpa = self.memory_fault_gpa(vcpu, ipa)
        self.prepare_gmem_fault_exit(vcpu, gpa, vcpu.kvm.page_size, ret)
        return ret

    def memory_fault_gpa(self, vcpu: Vcpu, _ipa: int) -> int:
        """What is reported for a fault at ``_ipa`` of L1's.

        Linux 7.3.4 repeats HPFAR_EL2, in which L2 has an address of its own.
        """
        return fault_ipa(vcpu.fault.hpfar)

    # user memory

    def user_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """A fault in a slot of the VMM's own memory; 0 or -errno. Never fills MEMORY_FAULT."""
        # DECODE
        kvm, esr = vcpu.kvm, vcpu.fault.esr
        is_perm = esr & FSC in PERMISSION
        write = kvm_is_write_fault(esr)
        logging = memslot_is_logging(slot)

        # TOP UP
        if (not is_perm or (logging and write)) and (ret := self.kvm_mmu_topup_memory_cache(vcpu)):
            return ret

        # LOOK UP
        hva = slot.userspace_addr + (ipa - slot.base)
        vma = self.vma_lookup(kvm, hva)
        if vma is None:
            return -Errno.EFAULT
        kind = vma.kind

        # PIN
        seq = kvm.mmu_invalidate_seq
        pfn, writable = self.kvm_faultin_pfn(kvm, hva, write=write)
        if pfn < 0:
            return self.user_mem_abort_without_pfn(vcpu, pfn)
        special = kind is not _ANONYMOUS or esr & FSC == FSC_EXCL_ATOMIC
        if special and (ret := self._check_memory_type(vcpu, kind)):
            return ret

        # MAP
        if self.mmu_invalidate_retry(kvm, seq):
            return 0
        if slot.readonly or (logging and not write and kind is not _DEVICE):
            writable = False
        prot = (_READ_WRITE if writable else _READ) | self._memory_prot(kvm, kind, esr)
        if slot.size >= HUGE_SIZE or (is_perm and esr & _LEVEL != _LAST_LEVEL):
            ret = self._map_sized(vcpu, ipa, slot, kind, pfn, prot)
        else:
            ret = self._stage2_install(vcpu, ipa, pfn, prot, relax=is_perm)
        if logging and writable and ret == 0:
            self.mark_page_dirty_in_slot(kvm, slot, ipa)
        return 0 if ret == _AGAIN else ret

    def user_mem_abort_without_pfn(self, vcpu: Vcpu, ret: int) -> int:
        """user_mem_abort()'s way out when no page came; a memory error is a signal."""
        if ret == _POISONED:
            self.kvm_send_hwpoison_signal(vcpu)
            return 0
        return ret

    def _check_memory_type(self, vcpu: Vcpu, kind: MemKind) -> int:
        """What this mapping of the VMM's cannot be used for: 0, -errno, or 1 where the guest is
        told.
        """
        config, esr = vcpu.kvm.config, vcpu.fault.esr
        if kind is MemKind.PFNMAP and not config.coherent:
            return -Errno.EFAULT
        if kind is _DEVICE and kvm_is_exec_fault(esr):
            return -Errno.ENOEXEC
        if config.mte and kind in _WITHOUT_TAGS and esr & FSC not in PERMISSION:
            return -Errno.EFAULT
        if esr & FSC == FSC_EXCL_ATOMIC and kind is not _DEVICE:
            return self.kvm_inject_dabt_excl_atomic(vcpu)
        return 0

    @staticmethod
    def _memory_prot(kvm: Kvm, kind: MemKind, esr: int) -> int:
        """What does not depend on whether the page may be written.

        A page is made fit for fetches when one is met, or needs nothing done for them.
        """
        if kind is _DEVICE:
            return _DEVICE_MEMORY
        return _EXECUTE if kvm_is_exec_fault(esr) or kvm.config.coherent else 0

    # block or page

    def _map_sized(
        self, vcpu: Vcpu, ipa: int, slot: MemorySlot, kind: MemKind, pfn: int, prot: int
    ) -> int:
        """user_mem_abort()'s end where it may not be a page: 0 or -errno.

        What is mapped is relaxed in place only if it is as large as what would be mapped.
        """
        kvm, esr = vcpu.kvm, vcpu.fault.esr
        size = self.stage2_mapping_size(vcpu, slot, slot.userspace_addr + (ipa - slot.base), kind)
        if size < 0:
            return size
        is_perm = esr & FSC in PERMISSION
        relax = is_perm and size == kvm_vcpu_trap_get_perm_fault_granule(kvm, esr)
        if relax or size == kvm.page_size:
            return self._stage2_install(vcpu, ipa, pfn, prot, relax=relax)
        first = pfn & -(size >> PAGE_SHIFT)
        return self.kvm_pgtable_stage2_map_block(vcpu, ipa & -size, first, prot)

    def stage2_mapping_size(self, vcpu: Vcpu, slot: MemorySlot, hva: int, kind: MemKind) -> int:
        """How much one leaf is to map, in bytes, or -errno.

        L2 is given pages, though L1's blocks and the VMM's together would allow more.
        """
        kvm, esr = vcpu.kvm, vcpu.fault.esr
        page = kvm.page_size
        if memslot_is_logging(slot) or kind is _DEVICE or vcpu.s2_trans is not None:
            return page
        block = 1 << kvm.stage2.block_shift
        fits = fault_supports_stage2_huge_mapping(slot, hva, block)
        if kind is _HUGETLB:  # with larger pages 2 MiB are CONT-PTE, which stage 2 has not
            return HUGE_SIZE if fits and page == PAGE_SIZE else page
        if esr & FSC in PERMISSION and esr & _LEVEL != _LAST_LEVEL:
            return kvm_vcpu_trap_get_perm_fault_granule(kvm, esr)
        return self.transparent_hugepage_adjust(kvm, hva, block) if fits else page

    def transparent_hugepage_adjust(self, kvm: Kvm, hva: int, block: int) -> int:
        """A block where the VMM's own page tables have one, else a page; or -errno."""
        size = self.get_user_mapping_size(kvm, hva)
        return size if size < 0 or size >= block else kvm.page_size

    def kvm_send_hwpoison_signal(self, vcpu: Vcpu) -> None:
        """SIGBUS for the VMM thread; the loop finds it pending before the guest runs again."""
        vcpu.signal_pending = True
        vcpu.sigbus = True

    def _stage2_install(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int, *, relax: bool) -> int:
        """The end that gmem_abort() and user_mem_abort() share: 0 or -errno."""
        trans = vcpu.s2_trans
        if trans is not None:  # L2's: at its own address, and with no more than L1 permits
            ipa, prot = trans.ipa, prot & (trans.prot | _DEVICE_MEMORY)
        if relax:
            return self.kvm_pgtable_stage2_relax_perms(vcpu, ipa, prot)
        return self.kvm_pgtable_stage2_map(vcpu, ipa, pfn, prot)
