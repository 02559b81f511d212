"""arch/arm64/kvm/nested.c: L1's VNCR page, where NV2 keeps the EL2 registers of L1's guest.

The CPU reaches it at the host's own EL2, through a mapping that KVM makes for each vCPU (a fixmap,
and the vncr_tlb that it is made from). Without one it reports a data abort of the same level.
"""

from typing import Final

from emu.abi import PAGE_MASK, Errno
from emu.guest import VncrTlb
from emu.harness import INPUT_BITS
from emu.kvm.memslots import WITHOUT_STRUCT_PAGES
from emu.kvm.mmu import Mmu
from emu.kvm.state import Kvm, MemorySlot, Vcpu
from emu.syndrome import EXTERNAL_ABORT, FSC, FSC_SEA, PERMISSION, TRANSLATION, WNR

_FST_TRANSLATION: Final = 0x04  # at level 0
# A walk that succeeded has its descriptor where one that failed has its status (struct
# s1_walk_result): that of a block is all that the harness's have in those six bits.
_FST_LEFT: Final = 0x01

_LEAVE: Final = frozenset({-Errno.ENOMEM, -Errno.EFAULT, -Errno.EIO, -Errno.EHWPOISON})
_INJECT_GMEM: Final = frozenset({-Errno.EINVAL, -Errno.ENOENT, -Errno.EACCES})
_INJECT: Final = frozenset({-Errno.EFAULT, -Errno.EIO, -Errno.EHWPOISON, -Errno.EINVAL})


class VncrAbort(Mmu):
    """Translate, pin, map, or tell somebody."""

    def kvm_handle_vncr_abort(self, vcpu: Vcpu, tlb: VncrTlb) -> int:
        """A data abort from the same level: negative errno, 0 to leave, 1 to resume."""
        # DECODE
        fault = vcpu.fault
        fsc = fault.esr & FSC
        if fsc in EXTERNAL_ABORT:
            return self.kvm_handle_guest_sea(vcpu)
        if fsc not in TRANSLATION and fsc not in PERMISSION:
            self.kvm_vm_bugged(vcpu.kvm)
            return -Errno.EIO

        # LOOK UP
        page = fault.far & PAGE_MASK
        if page >> INPUT_BITS:  # L1's own stage 1 maps no more
            return self.inject_vncr(vcpu, _FST_TRANSLATION)
        kvm = vcpu.kvm
        if kvm.races is None:
            slot = self.gfn_to_memslot(kvm, page)
        else:
            slot = self.racing_gfn_to_memslot(kvm, kvm.races, page)

        # PIN, MAP
        is_gmem = slot is not None and slot.gmem is not None
        ret = self.kvm_translate_vncr(vcpu, tlb, slot, page)
        if is_gmem and ret in _LEAVE:
            return self.vncr_gmem_exit(ret)
        if is_gmem and ret in _INJECT_GMEM:
            return self.inject_vncr(vcpu, _FST_LEFT)
        if not is_gmem and ret in _INJECT:
            return self.inject_vncr(vcpu, FSC_SEA)
        return 1

    def vncr_gmem_exit(self, _ret: int) -> int:
        """A page of guest_memfd was not to be had, and kvm_run says so; Linux 7.3.4 returns 0."""
        return 0

    def kvm_translate_vncr(
        self, vcpu: Vcpu, tlb: VncrTlb, slot: MemorySlot | None, page: int
    ) -> int:
        """Find the host's page behind L1's and map it; 0 or -errno."""
        if slot is None:
            return -Errno.EFAULT
        kvm = vcpu.kvm
        write, readonly = bool(vcpu.fault.esr & WNR), slot.readonly
        seq = kvm.mmu_invalidate_seq
        if slot.gmem is not None:
            pfn, writable = self.kvm_gmem_get_pfn(kvm, slot, page), True
            if pfn < 0:
                return self.translate_vncr_without_pfn(vcpu, page, pfn)
        elif write and readonly:
            return -Errno.EFAULT
        else:
            hva = slot.userspace_addr + (page - slot.base)
            pfn, writable = self.kvm_faultin_pfn(kvm, hva, write=write)
            if pfn < 0:
                return pfn
            if not self.pfn_is_map_memory(kvm, hva):
                return -Errno.EINVAL
        if self.mmu_invalidate_retry(kvm, seq):
            return -Errno.EAGAIN
        tlb.page, tlb.writable = page, writable and not readonly
        if tlb.writable:
            self.mark_page_dirty_in_slot(kvm, slot, page)
        return 0

    def pfn_is_map_memory(self, kvm: Kvm, hva: int) -> bool:
        """Whether a page is the system's own memory, which alone the fixmap may map
        (arch/arm64/mm/init.c); a device's, or one that a driver maps, is not.
        """
        vma = self.vma_lookup(kvm, hva)
        return vma is None or vma.kind not in WITHOUT_STRUCT_PAGES

    def translate_vncr_without_pfn(self, vcpu: Vcpu, page: int, ret: int) -> int:
        """kvm_translate_vncr()'s way out when kvm_gmem_get_pfn() failed: fill first, as
        gmem_abort() does.
        """
        self.prepare_gmem_fault_exit(vcpu, page, vcpu.kvm.page_size, ret)
        return ret

    def inject_vncr(self, vcpu: Vcpu, fst: int) -> int:
        """L1 gets the abort, at its EL2, with a status of its own tables; always 1."""
        vcpu.guest.take_exception(vcpu.fault.esr & ~FSC | fst)
        return 1
