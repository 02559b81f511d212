"""arch/arm64/kvm/mmu.c: what happens to a guest's stage-2 abort.

``kvm_handle_guest_abort`` takes the branches A1 to A18 of docs/model.md, in that order. Nested and
protected VMs (A6 to A9, A15) are not modelled; they would stand at the two places that say so.
Every function returns what the kernel's does: negative errno, 0 to leave, 1 to resume.
"""

from emu.abi import PAGE_SIZE, Errno, ExitReason
from emu.kvm.mem_abort import MemAbort, kvm_is_write_fault
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
_NOT_EXECUTABLE = -Errno.ENOEXEC

_SEA_GPA_VALID = 1
_SEA_ESR = EC | IL | FNV | EA | CM | WNR | FSC
_PAGE_OFFSET = PAGE_SIZE - 1
_SERVABLE = TRANSLATION | PERMISSION | ACCESS_FLAG | {FSC_EXCL_ATOMIC}


class Mmu(MemAbort):
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
