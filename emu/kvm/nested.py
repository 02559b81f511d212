"""arch/arm64/kvm/nested.c: L1's stage 2 as KVM walks it, and the faults that L1 gets from it.

An abort of L2's is at an address of L2's. KVM looks it up in L1's tables before it looks for a slot
(A6 to A9 of docs/model.md), and maps what it finds into the shadow that L2 runs under.
"""

from typing import Final

from emu.abi import Errno
from emu.injection import Point
from emu.kvm.mem_abort import kvm_is_write_fault
from emu.kvm.nested_state import L1_IPA_BITS, LAST_LEVEL, L1Stage2, Nested, S2Trans
from emu.kvm.pkvm import Pkvm
from emu.kvm.state import HOST_IPA_BITS, Kvm, Vcpu, user_object
from emu.stage2 import Prot
from emu.steps import Protection
from emu.syndrome import FSC, FSC_ADDRESS_SIZE, FSC_SEA_ON_WALK, PERMISSION, is_iabt

# Plain names, for the hot path: see emu.abi.
_AGAIN: Final = -Errno.EAGAIN
_SWAP: Final = Point.SWAP

_TRANSLATION: Final = 0x04
_ACCESS_FLAG: Final = 0x08
_PERMISSION: Final = 0x0C


class NestedAbort(Pkvm):
    """Walk, forward, limit."""

    def kvm_nested_guest_abort(self, vcpu: Vcpu, nested: Nested, ipa: int) -> int:
        """The nested part of kvm_handle_guest_abort(): what that returns, or 0 to go on.

        An abort of L2's then has ``vcpu.s2_trans``; one of L1's has not.
        """
        vcpu.s2_trans = None
        if not vcpu.guest.in_l2:
            vcpu.hw_mmu = vcpu.kvm.stage2
            return 0
        vcpu.hw_mmu = nested.shadow
        ret = self.kvm_walk_nested_s2(vcpu, nested, ipa)
        if ret == _AGAIN:  # A6
            return self.nested_walk_raced()
        if ret:  # A7, A8
            self.kvm_inject_s2_fault(vcpu)
            return self.nested_walk_failed(ret)
        if self.kvm_s2_handle_perm_fault(vcpu):  # A9
            return self.kvm_inject_s2_fault(vcpu)
        return 0

    def nested_walk_raced(self) -> int:
        """L1 changed a descriptor that was being walked: L2 goes on, and faults again."""
        return 1

    def nested_walk_failed(self, ret: int) -> int:
        """What becomes of a fault that L1 was given already; Linux 7.3.4 returns an error too."""
        return ret

    def kvm_walk_nested_s2(self, vcpu: Vcpu, nested: Nested, ipa: int) -> int:
        """Translate L2's page into ``vcpu.s2_trans``: 0, or 1 for a fault of L1's making, or
        -EFAULT where L1's tables cannot be read, or -EAGAIN where they changed.
        """
        ret, vcpu.s2_trans = self.walk_nested_s2_pgd(vcpu.kvm, nested.l1, ipa)
        return ret

    def walk_nested_s2_pgd(self, kvm: Kvm, l1: L1Stage2, ipa: int) -> tuple[int, S2Trans]:
        """The walk, level by level."""
        if not l1.legal:
            return -Errno.EFAULT, _fault(ipa, _TRANSLATION)
        if ipa >> L1_IPA_BITS:
            return 1, _fault(ipa, _TRANSLATION | 1)  # of the level that the walk starts at
        for level in range(1, LAST_LEVEL + 1):
            if level in l1.tables:
                return self._read_placed_table(kvm, l1, ipa, level)
            leaf = l1.leaf(ipa, level)
            if leaf is not None:
                if leaf.output >> HOST_IPA_BITS:
                    return 1, _fault(ipa, FSC_ADDRESS_SIZE | level)
                ret = self._walk_old_leaf(kvm, l1, ipa, level) if leaf.old else 0
                if ret:
                    return ret, _fault(ipa, _ACCESS_FLAG | level)
                return 0, S2Trans(ipa, leaf.output, leaf.prot, level)
            if not l1.has_table(ipa, level):
                break
        return 1, _fault(ipa, _TRANSLATION | level)

    def _walk_old_leaf(self, kvm: Kvm, l1: L1Stage2, ipa: int, level: int) -> int:
        """A leaf without access flag: a fault of L1's, or KVM's to set, as L1's VTCR_EL2 says.

        Its permissions are looked at later.
        """
        return self.swap_guest_s2_desc(kvm, l1, ipa, level) if self.walk_sets_af(l1) else 1

    def walk_sets_af(self, l1: L1Stage2) -> bool:
        """Whether access flags are set in L1's stead: VTCR_EL2.HA (e4c7dfac2f1a)."""
        return l1.hardware_af

    def swap_guest_s2_desc(self, kvm: Kvm, l1: L1Stage2, ipa: int, level: int) -> int:
        """Set the access flag if the leaf is still what was read; 0 or -EAGAIN.

        Tables with leaves lie in memory of the harness, and that can be written.
        """
        if kvm.races is not None:
            read = l1.leaf(ipa, level)
            kvm.races.reach(_SWAP)
            if l1.leaf(ipa, level) != read:
                return _AGAIN
        l1.set_access_flag(ipa, level)
        return 0

    def _read_placed_table(
        self, kvm: Kvm, l1: L1Stage2, ipa: int, level: int
    ) -> tuple[int, S2Trans]:
        """A table in memory of the case: nothing is in it, if it can be read at all."""
        address = l1.descriptor(ipa, level)
        if address >> HOST_IPA_BITS:
            return 1, _fault(ipa, FSC_ADDRESS_SIZE | level - 1)
        if not self.kvm_read_guest(kvm, address):
            return -Errno.EFAULT, _fault(ipa, FSC_SEA_ON_WALK | level)
        return 1, _fault(ipa, _TRANSLATION | level)

    def kvm_read_guest(self, kvm: Kvm, gpa: int) -> bool:
        """Whether the host can read this address of L1's, through the slot's userspace_addr.

        A guest_memfd slot is read there too, and mostly has nothing there (virt/kvm/kvm_main.c).
        """
        slot = self.gfn_to_memslot(kvm, gpa)
        if slot is None:
            return False
        hva = slot.userspace_addr + (gpa - slot.base)
        vma = self.vma_lookup(kvm, hva)
        if vma is None or vma.protection is Protection.NONE:
            return False
        index, offset = user_object(hva)
        page = offset >> kvm.page_shift
        pfn, _ = self._handle_mm_fault(kvm, index, page, write=False, may_write=False)
        return pfn >= 0

    def kvm_s2_handle_perm_fault(self, vcpu: Vcpu) -> bool:
        """Whether a permission fault is L1's doing: the shadow never permits more than L1."""
        esr, trans = vcpu.fault.esr, vcpu.s2_trans
        if esr & FSC not in PERMISSION or trans is None:
            return False
        if trans.prot & _wanted(esr):
            return False
        vcpu.s2_trans = trans._replace(fsc=_PERMISSION | trans.level)
        return True

    def kvm_inject_s2_fault(self, vcpu: Vcpu) -> int:
        """L1, at its EL2, gets L2's abort with the status that its own tables gave; always 1."""
        trans = vcpu.s2_trans
        fsc = trans.fsc if trans is not None else 0
        vcpu.guest.take_exception(vcpu.fault.esr & ~FSC | fsc)
        return 1

    # WHAT L1 DOES

    def handle_tlbi(self, nested: Nested) -> None:
        """L1 changed its tables and says so: the shadow goes (arch/arm64/kvm/sys_regs.c), with L2's
        own code.
        """
        for ipa in nested.shadow.mapped(0, 1 << 64):
            nested.shadow.unmap(ipa)


def _wanted(esr: int) -> int:
    if is_iabt(esr):
        return Prot.X
    return Prot.W if kvm_is_write_fault(esr) else Prot.R


def _fault(ipa: int, fsc: int) -> S2Trans:
    return S2Trans(ipa, 0, 0, 0, fsc)
