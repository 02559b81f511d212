"""arch/arm64/kvm/hyp/pgtable.c: changes to the stage-2 tables, and who asks for them.

The tables themselves are real descriptors that the emulated CPU walks (``emu.stage2``).
"""

from emu.abi import Errno
from emu.injection import Site
from emu.kvm.nested_mmu import NestedMmu
from emu.kvm.state import Kvm, MemorySlot, Vcpu


class Pgtable(NestedMmu):
    """Map, relax, make young, unmap."""

    def kvm_pgtable_stage2_map(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int) -> int:
        """Map one page; 0 or -errno. Tables come from the vCPU's page-table cache."""
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_PGTABLE_STAGE2_MAP)):
            return -errno
        vcpu.mmu_page_cache -= vcpu.hw_mmu.map(ipa, pfn, prot)
        return 0

    def kvm_pgtable_stage2_map_block(self, vcpu: Vcpu, ipa: int, pfn: int, prot: int) -> int:
        """The same call for a block: its first address, and the first frame behind it."""
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_PGTABLE_STAGE2_MAP)):
            return -errno
        vcpu.mmu_page_cache -= vcpu.hw_mmu.map_block(ipa, pfn, prot)
        return 0

    def kvm_pgtable_stage2_relax_perms(self, vcpu: Vcpu, ipa: int, prot: int) -> int:
        """Add permissions to an existing leaf; 0 or -errno, -EAGAIN where there is none."""
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_PGTABLE_STAGE2_RELAX_PERMS)):
            return -errno
        return 0 if vcpu.hw_mmu.relax(ipa, prot) else -Errno.EAGAIN

    def kvm_pgtable_stage2_mkyoung(self, vcpu: Vcpu, ipa: int) -> None:
        """Set the access flag of a leaf."""
        vcpu.hw_mmu.mkyoung(ipa)

    def kvm_unmap_gfn_range(self, kvm: Kvm, start: int, end: int) -> None:
        """Take every leaf of [start, end) out of stage 2 (arch/arm64/kvm/mmu.c)."""
        if kvm.config.protected:
            return  # its pages are its own until it ends
        for ipa in kvm.stage2.mapped(start, end):
            kvm.stage2.unmap(ipa)
        if kvm.nested is not None:
            self.kvm_nested_s2_unmap(kvm.nested)
            self.kvm_invalidate_vncr_ipa(kvm.nested, start, end)

    def kvm_age_gfn(self, kvm: Kvm, slot: MemorySlot) -> None:
        """Clear the access flag of every leaf of a slot (arch/arm64/kvm/mmu.c)."""
        if kvm.config.protected:
            return
        for ipa in kvm.stage2.mapped(slot.base, slot.base + slot.size):
            kvm.stage2.age(ipa)
