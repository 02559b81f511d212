"""Slips around the guest's entry: KVM_RUN's own steps, and what the guest is left with."""

from emu.abi import U64, Errno, ExitReason
from emu.kernels.clean import Clean
from emu.kernels.thread import REPORTED
from emu.kvm.state import Vcpu
from emu.steps import RunFlag
from emu.syndrome import ISV, WNR, transfer_register


class BadReasonKept(Clean):
    """exit_reason is not reset on entry, so a later EFAULT shows an earlier MEMORY_FAULT.

    Source: zoo C5; what x86 did until 6.8 set exit_reason to UNKNOWN early in KVM_RUN.
    """

    def reset_exit_reason(self, vcpu: Vcpu) -> None:
        """Only the flags are."""
        vcpu.run.flags = 0


class BadScribbleAny(Clean):
    """The scribble of the thread done whatever KVM_RUN returns: even 0 loses its reason.

    Source: zoo C12, "or also for RC 0".
    """

    def kvm_arch_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """Only the two documented errnos are spared."""
        ret = super().kvm_arch_vcpu_ioctl_run(vcpu)
        if ret not in REPORTED and not vcpu.requests & RunFlag.IMMEDIATE_EXIT:
            vcpu.run.exit_reason = ExitReason.UNKNOWN
        return ret


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


class BadImmediateRecord(Clean):
    """immediate_exit zeroes the exit union, whose record the VMM may still need. Synthetic."""

    def kvm_arch_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """The union is cleared before anybody looks at immediate_exit."""
        run = vcpu.run
        if run.exit_reason != ExitReason.MMIO:
            run.u0 = run.u1 = run.u2 = run.u3 = 0
        return super().kvm_arch_vcpu_ioctl_run(vcpu)


class BadArgumentReason(Clean):
    """KVM_RUN with an argument that it must not have writes FAIL_ENTRY. Synthetic."""

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """EINVAL, as for an illegal exception return."""
        if vcpu.requests & RunFlag.BAD_ARGUMENT:
            vcpu.run.exit_reason = ExitReason.FAIL_ENTRY
        return super().kvm_vcpu_ioctl_run(vcpu)


class BadSignalLost(Clean):
    """A signal that a fault raised does not end the loop: the guest faults again, for ever.

    Source: zoo C9, f41fb17143df: RISC-V did not propagate an interrupted G-stage fault.
    """

    def before_guest_entry(self, vcpu: Vcpu) -> int:
        """Only signals from before the call are looked at."""
        if vcpu.sigbus:
            return 1
        return super().before_guest_entry(vcpu)


class BadDeadVmRuns(Clean):
    """A VM that was declared dead runs on. Source: zoo C10, 8cd280282d12: VM_DEAD was cleared."""

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """As if nothing had happened."""
        vcpu.kvm.vm_dead = False
        return super().kvm_vcpu_ioctl_run(vcpu)


class BadPcAdvanced(Clean):
    """A fault that goes to the VMM leaves the guest behind the access. Synthetic.

    mmu_stress_test expects the PC where it was, so that the access can be tried again.
    """

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """The instruction is skipped as if somebody had emulated it."""
        ret = super().kvm_handle_guest_abort(vcpu)
        if ret == -Errno.EFAULT:
            vcpu.guest.advance()
        return ret


class BadRegisterClobbered(Clean):
    """A load that fails with EFAULT has all ones in its register. Synthetic."""

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        """What a bus gives that nobody answers."""
        ret, esr = super().kvm_handle_guest_abort(vcpu), vcpu.fault.esr
        if ret == -Errno.EFAULT and esr & ISV and not esr & WNR:
            vcpu.guest.set_register(transfer_register(esr), U64)
        return ret
