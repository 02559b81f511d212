"""arch/arm64/kvm/mmio.c: accesses to addresses that no slot serves."""

from typing import Final

from emu.abi import U64, Errno, ExitReason
from emu.kvm.memslots import Memslots
from emu.kvm.state import Kvm, Vcpu
from emu.syndrome import (
    CM,
    FSC,
    ISV,
    LST,
    SF,
    SSE,
    WNR,
    access_length,
    transfer_register,
)

_MMIO: Final = ExitReason.MMIO  # a plain name, for the hot path
# Translation, access flag and permission faults, and two that only 52-bit addresses have.
_LDST64B_STATUS: Final = frozenset(range(0x04, 0x10)) | {0x2A, 0x2B}
_ZERO_REGISTER: Final = 31
_LENGTH_AND_WRITE: Final = 0xFF_FFFF_FFFF


class Mmio(Memslots):
    """Hand an access to an in-kernel device or to the VMM, and complete it afterwards."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """An access outside the slots, or a write to a read-only one, at ``fault_ipa`` (bytes).

        0: an exit for the VMM. 1: a device of the kernel took it. -ENOSYS: nothing is known of the
        access and the VMM did not ask to be told so.
        """
        esr = vcpu.fault.esr

        # DECODE
        if not esr & ISV:
            return self._without_syndrome(vcpu, fault_ipa)
        if esr & LST and esr & FSC in _LDST64B_STATUS:
            return self._report(vcpu, ExitReason.ARM_LDST64B, esr & ~FSC, fault_ipa)
        length = access_length(esr)
        write = bool(esr & WNR)
        data = self._transferred(vcpu, esr, length) if write else 0

        # FILL
        run = vcpu.run
        run.u0 = fault_ipa
        run.u2 = run.u2 & ~_LENGTH_AND_WRITE | write << 32 | length
        vcpu.mmio_needed = True

        # DELIVER
        if write and self.kvm_io_bus_write(vcpu.kvm, fault_ipa, length):
            return self.kvm_handle_mmio_return(vcpu)
        if write:
            kept = run.u1 >> 8 * length << 8 * length
            run.u1 = kept & U64 | data
        run.exit_reason = _MMIO
        return 0

    def _without_syndrome(self, vcpu: Vcpu, fault_ipa: int) -> int:
        config = vcpu.kvm.config
        if config.protected:  # whose registers and memory nobody may look at to find out
            return self.kvm_inject_sea(vcpu, iabt=False)
        if not config.nisv_to_user:
            return -Errno.ENOSYS
        return self._report(vcpu, ExitReason.ARM_NISV, vcpu.fault.esr & (CM | WNR | FSC), fault_ipa)

    @staticmethod
    def _report(vcpu: Vcpu, reason: ExitReason, iss: int, fault_ipa: int) -> int:
        run = vcpu.run
        run.exit_reason = reason
        run.u0 = iss
        run.u1 = fault_ipa
        return 0

    @staticmethod
    def _transferred(vcpu: Vcpu, esr: int, length: int) -> int:
        register = transfer_register(esr)
        value = 0 if register == _ZERO_REGISTER else vcpu.guest.register(register)
        return value & (1 << 8 * length) - 1

    def kvm_io_bus_write(self, kvm: Kvm, gpa: int, length: int) -> bool:
        """Whether a device of the kernel takes a write (virt/kvm/kvm_main.c, eventfd.c)."""
        return (gpa, length) in kvm.ioeventfds

    def kvm_handle_mmio_return(self, vcpu: Vcpu) -> int:
        """Complete the access that the VMM, or the kernel, has served; always 1.

        The length is the syndrome's, not that in kvm_run.
        """
        if not vcpu.mmio_needed:
            return 1
        vcpu.mmio_needed = False
        esr = vcpu.fault.esr
        if not esr & WNR:
            register = transfer_register(esr)
            if register != _ZERO_REGISTER:
                vcpu.guest.set_register(register, _loaded(vcpu.run.u1, esr))
        self.kvm_incr_pc(vcpu)
        return 1


def _loaded(data: int, esr: int) -> int:
    """What a load leaves in its register: ``length`` bytes, sign-extended, 32 bits if not SF."""
    bits = 8 * access_length(esr)
    value = data & (1 << bits) - 1
    if esr & SSE and value >> bits - 1:
        value |= -1 << bits
    return value & (U64 if esr & SF else 0xFFFF_FFFF)
