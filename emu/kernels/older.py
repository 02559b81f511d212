"""Releases before 7.3, walked back one by one: a release is the class of the next one, undone.

All of it is read, none of it run, but for what is called observed, and for the leaks that ``v7.3``
has: Debian's 6.18.15, 6.19.14, 7.0.13, 7.1.13 and 7.2.12 showed both. Before 6.18 arm64 has no
guest_memfd.
"""

from dataclasses import replace
from typing import Final

from emu.abi import Errno, MemFlag
from emu.kernels.releases import V73
from emu.kvm.memslots import MemoryRegion
from emu.kvm.nested_state import L1Stage2
from emu.kvm.state import Gmem, Kvm, MemorySlot, Vcpu
from emu.syndrome import FSC, FSC_EXCL_ATOMIC, LST

_S64: Final = 1 << 63


class V72(V73):
    """Linux 7.2. Inferred: the page-table cache is filled for permission faults in guest_memfd too;
    a binding that cannot be stored goes unnoticed (e6ecb88711d9), so that the guest's accesses get
    EIO; and the file's range is bound before the architecture looks at the slot (3fe5d2944e5a).
    Leaves: all that ``v7.3`` leaves; the leak was observed.
    """

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        """The cache comes first, whatever the fault."""
        return self.kvm_mmu_topup_memory_cache(vcpu) or super().gmem_abort(vcpu, ipa, slot)

    def kvm_gmem_prepare_bind(self, kvm: Kvm, fd: int, offset: int, size: int) -> Gmem | int:
        """Rule 18 goes before 15 and 16."""
        gmem = super().kvm_gmem_prepare_bind(kvm, fd, offset, size)
        if isinstance(gmem, int):
            return gmem
        start, end = offset >> kvm.page_shift, offset + size >> kvm.page_shift
        bound = any(start < last and first < end for first, last, _ in gmem.bindings)
        return -Errno.EEXIST if bound else gmem

    def kvm_gmem_bind(self, kvm: Kvm, gmem: Gmem, slot: MemorySlot) -> int:
        """Storing fails, and the slot is made."""
        super().kvm_gmem_bind(kvm, gmem, slot)
        return 0


class V71(V72):
    """Linux 7.1. Inferred: a range that is bound already is EINVAL (EEXIST since 7ea987a90585), and
    offset and size may add up to a negative number, which is inside every file (eba85fee7fc6).
    Leaves: all that ``v7.2`` leaves; the leak was observed.
    """

    def kvm_gmem_prepare_bind(self, kvm: Kvm, fd: int, offset: int, size: int) -> Gmem | int:
        """As signed numbers, and with the older errno."""
        gmem = kvm.gmems.get(fd)
        if gmem is not None and offset < _S64 <= offset + size:
            return gmem
        found = super().kvm_gmem_prepare_bind(kvm, fd, offset, size)
        return -Errno.EINVAL if found == -Errno.EEXIST else found


class V70(V71):
    """Linux 7.0. Inferred: a permission fault in guest_memfd is answered with "map", which leaves
    what is mapped as it is, and the guest faults for ever (9be19df816de, in 7.1).
    Leaves: all that ``v7.1`` leaves, the leak observed, and C11 where a page that was touched as
    data is fetched from.
    """

    def kvm_pgtable_stage2_relax_perms(self, vcpu: Vcpu, ipa: int, prot: int) -> int:
        """EAGAIN: a leaf is there, and only its permissions differ."""
        at = ipa if vcpu.s2_trans is None else vcpu.s2_trans.output
        slot = self.gfn_to_memslot(vcpu.kvm, at)
        if slot is not None and slot.gmem is not None:
            return -Errno.EAGAIN
        return super().kvm_pgtable_stage2_relax_perms(vcpu, ipa, prot)

    def pfn_is_map_memory(self, _kvm: Kvm, _hva: int) -> bool:
        """Not asked: a device's page serves for VNCR. Observed on 7.0.13, 6.19.14 and 6.18.15, and
        that it does not on 7.1.13.
        """
        return True


class V619(V70):
    """Linux 6.19. Inferred: 64-byte loads and stores have no exit of their own, and an unsupported
    atomic or exclusive access is an unsupported fault status. Observed on 6.19.14 and 6.18.15, not
    on 7.0.13: no access flag is set in L1's stead, whatever its VTCR_EL2 says.
    Leaves: all that ``v7.0`` leaves; the leak was observed.
    """

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """Branch A5 takes fault status 0x35."""
        if vcpu.fault.esr & FSC == FSC_EXCL_ATOMIC and vcpu.fault.hpfar_valid:
            return -Errno.EFAULT
        return super().kvm_handle_guest_abort(vcpu)

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """LDST64B is not told apart."""
        vcpu.fault.esr &= ~LST
        return super().io_mem_abort(vcpu, fault_ipa)

    def walk_sets_af(self, _l1: L1Stage2) -> bool:
        """HA is RES0 in L1's VTCR_EL2 until 9d2de5182559, in 7.0: kvm_init_nv_sysregs."""
        return False


class V618(V619):
    """Linux 6.18, the first with guest_memfd on arm64. Inferred: no ARM_SEA exit, and GUEST_MEMFD
    can be taken off a slot, which is the VMM's own memory from then on (9935df5333aa).
    Leaves: all that ``v6.19`` leaves; the leak was observed.
    """

    def kvm_handle_guest_sea(self, vcpu: Vcpu) -> int:
        """An SError for the guest, whatever the VMM asks for."""
        return self.kvm_inject_serror(vcpu)

    def kvm_set_memory_region(self, kvm: Kvm, region: MemoryRegion) -> int:
        """Rule 11 asks for the new flags alone, and the file's range stays bound."""
        old = next((slot for slot in kvm.memslots if slot.id == region.slot), None)
        dropped = region.size and not region.flags & MemFlag.GUEST_MEMFD
        if dropped and old is not None and old.gmem is not None:
            own = replace(old, flags=old.flags & ~MemFlag.GUEST_MEMFD, gmem=None)
            kvm.memslots[kvm.memslots.index(old)] = own
            ret = super().kvm_set_memory_region(kvm, region)
            if ret:
                kvm.memslots[kvm.memslots.index(own)] = old
            return ret
        return super().kvm_set_memory_region(kvm, region)
