"""arch/arm64/kvm/pkvm.c and mmu.c, the protected VM: the host lends it pages and cannot look.

A page of the VMM's is pinned and given away whole, readable, writable and executable; it comes back
when the VM ends, whatever the VMM does to its mapping before. A slot with guest_memfd is served the
same way, from userspace_addr.
"""

from typing import Final

from emu.abi import Errno
from emu.injection import Point, Site
from emu.kvm.mem_abort import MemAbort
from emu.kvm.state import Kvm, MemorySlot, Vcpu, user_object
from emu.stage2 import Prot
from emu.steps import MemKind, Protection

# Plain names, for the hot path: see emu.abi.
_PIN: Final = Point.PIN
_MAP: Final = Point.MAP
_READ_WRITE: Final = Protection.READ_WRITE
_ALL: Final = Prot.R | Prot.W | Prot.X

# VM_PFNMAP: nothing there can be pinned.
_NO_PAGES: Final = frozenset({MemKind.DEVICE, MemKind.PFNMAP})
# Not swap-backed: the pages of any file but a memfd, which is what a case's files are.
_HUGETLB: Final = MemKind.HUGETLB


class Pkvm(MemAbort):
    """A protected VM's first run, and its faults."""

    def pkvm_create_hyp_vm(self, kvm: Kvm) -> int:
        """Make pKVM's own part of the VM, before the first vCPU first runs; 0 or -ENOMEM."""
        if not kvm.hyp_vm and kvm.memory_limit:
            return -Errno.ENOMEM
        kvm.hyp_vm = True
        return 0

    def pkvm_mem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """A fault in a protected VM's slot; 0 or -errno. Never fills MEMORY_FAULT."""
        kvm = vcpu.kvm

        # TOP UP
        if self.kvm_mmu_topup_memory_cache(vcpu) or kvm.memlock_limit:
            return -Errno.ENOMEM

        # PIN
        if kvm.races is not None:
            kvm.races.reach(_PIN)
        hva = slot.userspace_addr + (ipa - slot.base)
        pfn = self.pin_user_pages(kvm, hva)
        if pfn == -Errno.EHWPOISON:
            self.kvm_send_hwpoison_signal(vcpu)
            return 0
        if pfn < 0:
            return -Errno.EFAULT
        if kvm.memory[user_object(hva)[0]].kind is _HUGETLB:
            return -Errno.EIO

        # MAP
        if kvm.races is not None:
            kvm.races.reach(_MAP)
        ret = self.pkvm_pgtable_stage2_map(vcpu, ipa, pfn)
        return 0 if ret == -Errno.EAGAIN else ret

    def pin_user_pages(self, kvm: Kvm, hva: int) -> int:
        """The pfn of a page of the VMM's, to be written and kept for long, or -errno (mm/gup.c)."""
        if kvm.injections and (errno := kvm.inject(Site.PIN_USER_PAGES)):
            return -errno
        vma = self.vma_lookup(kvm, hva)
        index, offset = user_object(hva)
        if vma is None or vma.protection is not _READ_WRITE:
            return -Errno.EFAULT
        if kvm.memory[index].kind in _NO_PAGES:
            return -Errno.EFAULT
        pfn, _ = self._handle_mm_fault(
            kvm, index, offset >> kvm.page_shift, write=True, may_write=True
        )
        return pfn

    def pkvm_pgtable_stage2_map(self, vcpu: Vcpu, ipa: int, pfn: int) -> int:
        """Give the page to the VM; 0 or -errno, -EAGAIN where another vCPU was quicker."""
        if vcpu.kvm.stage2.get(ipa) is not None:
            return -Errno.EAGAIN
        return self.kvm_pgtable_stage2_map(vcpu, ipa, pfn, _ALL)
