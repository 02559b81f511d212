"""Kernels that a judge must condemn: ``clean`` with one slip each."""

from emu.abi import PAGE_SIZE, Errno, ExitReason
from emu.case import RunFlag
from emu.kernels.clean import Clean
from emu.kernels.thread import ScribbleAsPosted
from emu.kvm.state import MemorySlot, Vcpu
from emu.syndrome import S1PTW, fault_ipa, is_iabt


class BadScribbleSign(ScribbleAsPosted, Clean):
    """The line posted in the thread, without its minus: EHWPOISON's report is wiped.

    Source: linux-arm-kernel, 2026-May, message 1126903. Here on top of ``clean``, so that this is
    the only thing wrong.
    """


class BadReasonKept(Clean):
    """exit_reason is not reset on entry, so a later EFAULT shows an earlier MEMORY_FAULT.

    Source: what x86 did until 6.8 set exit_reason to UNKNOWN early in KVM_RUN.
    """

    def reset_exit_reason(self, vcpu: Vcpu) -> None:
        """Only the flags are."""
        vcpu.run.flags = 0


class BadReturnZero(Clean):
    """MEMORY_FAULT is filled and KVM_RUN returns 0. Synthetic; CCA v4 had it until its review."""

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """An exit like any other, it seems."""
        ret = super().kvm_handle_guest_abort(vcpu)
        return 0 if ret < 0 and vcpu.run.exit_reason == ExitReason.MEMORY_FAULT else ret


class BadGpaUnaligned(Clean):
    """memory_fault.gpa is the faulting byte, not its page. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """FAR's low bits are added, as an MMIO exit would have them."""
        offset = vcpu.fault.far & PAGE_SIZE - 1
        super().kvm_prepare_memory_fault_exit(vcpu, gpa | offset, size)


class BadSizeZero(Clean):
    """memory_fault.size is 0. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """The size is lost on the way."""
        super().kvm_prepare_memory_fault_exit(vcpu, gpa, size - PAGE_SIZE)


class BadPrepareForgotten(Clean):
    """gmem_abort() returns a documented errno and fills nothing. Synthetic."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        """Fills nothing."""


class BadAddressLeft(Clean):
    """Another errno comes without MEMORY_FAULT, but the fault's gpa and size stay in the union.

    Synthetic; ``scribble-on-exit`` does it too. Only the paranoid reading condemns it.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """Fill, and take back the reason alone."""
        self.kvm_prepare_memory_fault_exit(vcpu, ipa, PAGE_SIZE)
        if ret not in (-Errno.EFAULT, -Errno.EHWPOISON):
            vcpu.run.exit_reason = ExitReason.UNKNOWN
        return ret


class BadRawErrno(Clean):
    """``clean`` without the RFC's change for ENOMEM: the leak and nothing else. Synthetic."""

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """ENOMEM passes through."""
        aligned = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        return ret if ret == -Errno.ENOMEM else aligned


class BadUnknownExit(Clean):
    """An EFAULT of the VMM's own memory leaves with 0 instead, and with no reason. Synthetic."""

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """The error is swallowed on its way to the VMM."""
        ret = super().kvm_handle_guest_abort(vcpu)
        slot = self.gfn_to_memslot(vcpu.kvm, fault_ipa(vcpu.fault.hpfar))
        own = slot is not None and slot.gmem is None
        return 0 if ret == -Errno.EFAULT and own else ret


class BadImmediateExit(Clean):
    """immediate_exit reports itself as INTR, over a reason that the VMM may still need.

    Synthetic; Linux keeps what was there, and promises to (Sean Christopherson, 2023).
    """

    def kvm_arch_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """A signal's exit reason for what is no signal's exit."""
        ret = super().kvm_arch_vcpu_ioctl_run(vcpu)
        if vcpu.requests & RunFlag.IMMEDIATE_EXIT:
            vcpu.run.exit_reason = ExitReason.INTR
        return ret


class BadWalkMmio(Clean):
    """A stage-1 walk outside the slots is treated as an access that the VMM could emulate.

    Source: arm64 before 406504c7b040, which taught the fault path about S1PTW on read-only slots.
    """

    def abort_outside_slots(self, vcpu: Vcpu, slot: MemorySlot | None, ipa: int) -> int:
        """Branch A11 is missing."""
        esr = vcpu.fault.esr
        if esr & S1PTW and not is_iabt(esr):
            return self.io_mem_abort(vcpu, ipa | vcpu.fault.far & PAGE_SIZE - 1)
        return super().abort_outside_slots(vcpu, slot, ipa)
