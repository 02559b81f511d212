"""arch/arm64/kvm/mmu.c: what happens to a guest's stage-2 abort.

``kvm_handle_guest_abort`` takes the branches A1 to A18 of docs/model.md, in that order.
Every function returns what the kernel's does: negative errno, 0 to leave, 1 to resume.
"""

from typing import Final

from emu.abi import PAGE_SIZE, Errno, ExitReason
from emu.kvm.mem_abort import kvm_is_write_fault
from emu.kvm.nested import NestedAbort
from emu.kvm.state import HOST_IPA_BITS, MemorySlot, Vcpu
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
_NOT_EXECUTABLE: Final = -Errno.ENOEXEC

_SEA_GPA_VALID: Final = 1
_SEA_ESR: Final = EC | IL | FNV | EA | CM | WNR | FSC
_PAGE_OFFSET: Final = PAGE_SIZE - 1
_SERVABLE: Final = TRANSLATION | PERMISSION | ACCESS_FLAG | {FSC_EXCL_ATOMIC}


class Mmu(NestedAbort):
    """The abort, and who serves it."""

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
        if fsc in TRANSLATION and ipa >> kvm.config.ipa_bits and self.beyond_hw_mmu(vcpu, ipa):
            return self.abort_beyond_ipa_space(vcpu, ipa)  # A3, A4
        if fsc not in _SERVABLE:  # A5
            return -Errno.EFAULT

        # LOOK UP
        if kvm.nested is not None:  # A6 to A9
            if ret := self.kvm_nested_guest_abort(vcpu, kvm.nested, ipa):
                return ret
            ipa = ipa if vcpu.s2_trans is None else vcpu.s2_trans.output
        if kvm.races is None:
            slot = self.gfn_to_memslot(kvm, ipa)
        else:
            slot = self.racing_gfn_to_memslot(kvm, kvm.races, ipa)
        if slot is None or (kvm_is_write_fault(esr) and slot.readonly):
            return self.abort_outside_slots(vcpu, slot, ipa)
        if fsc in ACCESS_FLAG:  # A14
            self.handle_access_fault(vcpu, fault_ipa(fault.hpfar))
            return 1

        return self.abort_in_slot(vcpu, slot, ipa)

    def abort_in_slot(self, vcpu: Vcpu, slot: MemorySlot, ipa: int) -> int:
        """The access is permitted and its page is not there, or not so."""
        if vcpu.kvm.config.protected:  # A15
            ret = self.pkvm_mem_abort(vcpu, ipa, slot)
        elif slot.gmem is not None:  # A16
            ret = self.gmem_abort(vcpu, ipa, slot)
        else:  # A17
            ret = self.user_mem_abort(vcpu, ipa, slot)
        if ret == _NOT_EXECUTABLE:  # A18
            return self.kvm_inject_sea(vcpu, iabt=True)
        return ret or 1

    def beyond_hw_mmu(self, vcpu: Vcpu, ipa: int) -> bool:
        """Past what the guest's stage 2 can hold; L2's shadow can hold all that the host has."""
        return not vcpu.guest.in_l2 or bool(ipa >> HOST_IPA_BITS)

    def abort_beyond_ipa_space(self, vcpu: Vcpu, ipa: int) -> int:
        """An address that the VM does not have: past the host's limit, or past its own."""
        if vcpu.fault.esr & S1PTW:
            return self.walk_beyond_ipa_space(vcpu)
        if ipa >> HOST_IPA_BITS:  # A3
            self.kvm_inject_size_fault(vcpu)
            return 1
        return self.kvm_inject_sea(vcpu, iabt=is_iabt(vcpu.fault.esr))  # A4

    def walk_beyond_ipa_space(self, _vcpu: Vcpu) -> int:
        """A3 and A4 for a stage-1 table that the VM does not have.

        7.3.4 looks for the table's level by the IPA as if that were the address which the guest
        used. It finds none, takes the abort for a passing one, and the guest meets it again, for
        ever. That it hangs was observed on Debian's 7.3.4; why, was read (inject_fault.c, since
        50f77dc87f13).
        """
        return 1

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
        self.kvm_pgtable_stage2_mkyoung(vcpu, ipa)
