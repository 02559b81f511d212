"""Slips in the exits that ask the VMM to emulate an access: MMIO, NISV, ENOSYS."""

from typing import Final

from emu.abi import PAGE_MASK, PAGE_SIZE, Errno, ExitReason
from emu.kernels.clean import Clean
from emu.kvm.state import Kvm, MemorySlot, Vcpu
from emu.syndrome import ISV, S1PTW, fault_ipa, is_iabt

_WRITE: Final = 1 << 32
_LENGTH: Final = 0xFFFF_FFFF


class BadWalkMmio(Clean):
    """A stage-1 walk outside the slots is treated as an access that the VMM could emulate.

    Source: zoo F5; arm64 before 406504c7b040, which taught the fault path about S1PTW on read-only
    slots.
    """

    def abort_outside_slots(self, vcpu: Vcpu, slot: MemorySlot | None, ipa: int) -> int:
        """Branch A11 is missing."""
        esr = vcpu.fault.esr
        if esr & S1PTW and not is_iabt(esr):
            return self.io_mem_abort(vcpu, ipa | vcpu.fault.far & PAGE_SIZE - 1)
        return super().abort_outside_slots(vcpu, slot, ipa)


class BadFetchMmio(Clean):
    """A fetch outside the slots is treated as an access that the VMM could emulate. Synthetic."""

    def abort_outside_slots(self, vcpu: Vcpu, slot: MemorySlot | None, ipa: int) -> int:
        """Branch A10 is missing."""
        if is_iabt(vcpu.fault.esr):
            return self.io_mem_abort(vcpu, ipa | vcpu.fault.far & PAGE_SIZE - 1)
        return super().abort_outside_slots(vcpu, slot, ipa)


class BadReadOnlyMmio(Clean):
    """A load from a read-only slot is the VMM's to emulate, as a store is. Synthetic."""

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """The direction is not asked for."""
        esr, ipa = vcpu.fault.esr, fault_ipa(vcpu.fault.hpfar)
        slot = self.gfn_to_memslot(vcpu.kvm, ipa)
        if slot is not None and slot.readonly and not is_iabt(esr) and not esr & S1PTW:
            return self.io_mem_abort(vcpu, ipa | vcpu.fault.far & PAGE_SIZE - 1)
        return super().kvm_handle_guest_abort(vcpu)


class BadReleasedMmio(Clean):
    """A slot whose guest_memfd was released is treated as a hole. Synthetic."""

    def gfn_to_memslot(self, kvm: Kvm, ipa: int) -> MemorySlot | None:
        """No file, no slot."""
        slot = super().gfn_to_memslot(kvm, ipa)
        released = slot is not None and slot.gmem is not None and slot.gmem.released
        return None if released else slot


class BadMmioOffset(Clean):
    """mmio.phys_addr is the page of the access and not its byte. Synthetic."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """HPFAR has no bits 11:0, and nobody asks FAR for them."""
        return super().io_mem_abort(vcpu, fault_ipa & PAGE_MASK)


class BadMmioLength(Clean):
    """mmio.len is 8 whatever the width of the access. Synthetic."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """A register's length for the access's."""
        ret, run = super().io_mem_abort(vcpu, fault_ipa), vcpu.run
        if not ret and run.exit_reason == ExitReason.MMIO:
            run.u2 = run.u2 & ~_LENGTH | 8
        return ret


class BadMmioDirection(Clean):
    """mmio.is_write says the opposite. Synthetic."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """A load is handed out as a store, a store as a load."""
        ret, run = super().io_mem_abort(vcpu, fault_ipa), vcpu.run
        if not ret and run.exit_reason == ExitReason.MMIO:
            run.u2 ^= _WRITE
        return ret


class BadMmioWithoutSyndrome(Clean):
    """An access without a valid syndrome becomes MMIO, its length and register read from bits that
    mean nothing. Synthetic.
    """

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """ISV is not looked at."""
        vcpu.fault.esr |= ISV
        return super().io_mem_abort(vcpu, fault_ipa)


class BadNisvUnasked(Clean):
    """An access without a syndrome is NISV although the VMM did not ask for it. Synthetic."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """The capability is not looked at."""
        ret = super().io_mem_abort(vcpu, fault_ipa)
        if ret == -Errno.ENOSYS:
            run = vcpu.run
            run.exit_reason, run.u0, run.u1 = ExitReason.ARM_NISV, 0, fault_ipa
            return 0
        return ret


class BadNisvRefused(Clean):
    """With KVM_CAP_ARM_NISV_TO_USER an access without a syndrome is ENOSYS still. Synthetic."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """What the VMM asked for is filled, and then refused."""
        ret, run = super().io_mem_abort(vcpu, fault_ipa), vcpu.run
        if not ret and run.exit_reason == ExitReason.ARM_NISV:
            run.exit_reason = ExitReason.UNKNOWN
            return -Errno.ENOSYS
        return ret


class BadNisvOffset(Clean):
    """arm_nisv.fault_ipa is the page of the access and not its byte. Synthetic."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """As ``bad-mmio-offset``."""
        ret, run = super().io_mem_abort(vcpu, fault_ipa), vcpu.run
        if not ret and run.exit_reason == ExitReason.ARM_NISV:
            run.u1 &= PAGE_MASK
        return ret


class BadNisvAdvanced(Clean):
    """The guest is behind its access at an NISV exit, so that nobody sees what it was. Synthetic.

    api.rst leaves the decoding to userspace, which reads the instruction at the PC.
    """

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """The PC moves on."""
        ret = super().io_mem_abort(vcpu, fault_ipa)
        if not ret and vcpu.run.exit_reason == ExitReason.ARM_NISV:
            vcpu.guest.advance()
        return ret


class BadEnosysMmio(Clean):
    """ENOSYS comes with an exit_reason of MMIO. Synthetic."""

    def io_mem_abort(self, vcpu: Vcpu, fault_ipa: int) -> int:
        """The reason is written before the syndrome is looked at."""
        vcpu.run.exit_reason = ExitReason.MMIO
        return super().io_mem_abort(vcpu, fault_ipa)
