"""arch/arm64/kvm/hyp/pgtable.c: changes to the stage-2 tables, and who asks for them.

The tables themselves are real descriptors that the emulated CPU walks (``emu.stage2``).
"""

from emu.abi import Errno
from emu.injection import Site
from emu.kvm.kvm_host import KvmHost
from emu.kvm.state import Kvm, MemorySlot, Vcpu
from emu.stage2 import Prot


class Pgtable(KvmHost):
    """Map, relax, make young, unmap, write-protect."""

    def kvm_pgtable_stage2_map(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int) -> int:
        """Map one page; 0 or -errno. Tables come from the vCPU's page-table cache."""
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_PGTABLE_STAGE2_MAP)):
            return -errno
        vcpu.mmu_page_cache -= kvm.stage2.map(ipa, pfn, prot)
        return 0

    def kvm_pgtable_stage2_relax_perms(self, vcpu: Vcpu, ipa: int, prot: int) -> int:
        """Add permissions to an existing leaf; 0 or -errno, -EAGAIN where there is none."""
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_PGTABLE_STAGE2_RELAX_PERMS)):
            return -errno
        return 0 if kvm.stage2.relax(ipa, prot) else -Errno.EAGAIN

    def kvm_pgtable_stage2_mkyoung(self, kvm: Kvm, ipa: int) -> None:
        """Set the access flag of a leaf."""
        kvm.stage2.mkyoung(ipa)

    def kvm_unmap_gfn_range(self, kvm: Kvm, start: int, end: int) -> None:
        """Take every leaf of [start, end) out of stage 2 (arch/arm64/kvm/mmu.c)."""
        for ipa in kvm.stage2.mapped(start, end):
            kvm.stage2.unmap(ipa)

    def kvm_age_gfn(self, kvm: Kvm, slot: MemorySlot) -> None:
        """Clear the access flag of every leaf of a slot (arch/arm64/kvm/mmu.c)."""
        for ipa in kvm.stage2.mapped(slot.base, slot.base + slot.size):
            kvm.stage2.age(ipa)

    def kvm_mmu_wp_memory_region(self, kvm: Kvm, slot: MemorySlot) -> None:
        """Write-protect every leaf of a slot, as dirty logging begins (arch/arm64/kvm/mmu.c)."""
        for ipa in kvm.stage2.mapped(slot.base, slot.base + slot.size):
            kvm.stage2.protect(ipa, Prot.R)
