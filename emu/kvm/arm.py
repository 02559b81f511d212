"""arch/arm64/kvm/arm.c: one KVM_RUN from the architecture's side."""

from typing import Final

from emu.abi import Errno, ExitReason
from emu.case import VcpuState
from emu.injection import Point, Site
from emu.kvm.handle_exit import HandleExit
from emu.kvm.state import Vcpu
from emu.steps import RunFlag

# Plain names, for the hot path: see emu.abi.
_MMIO: Final = ExitReason.MMIO
_UNKNOWN: Final = ExitReason.UNKNOWN
_IMMEDIATE_EXIT: Final = RunFlag.IMMEDIATE_EXIT
_ENTRY: Final = Point.ENTRY

_SYSTEM_EVENT_WAKEUP: Final = 4
_CPU_UNSUPPORTED: Final = 1


class Arm(HandleExit):
    """Entry, the run loop, and what ends it."""

    def kvm_arch_vcpu_run_pid_change(self, vcpu: Vcpu) -> int:
        """What a vCPU must be before its first run; 0 or -errno."""
        kvm = vcpu.kvm
        if kvm.injections and (errno := kvm.inject(Site.KVM_ARCH_VCPU_RUN_PID_CHANGE)):
            return -errno
        if kvm.config.vcpu is VcpuState.UNINITIALIZED:
            return -Errno.ENOEXEC
        if kvm.config.vcpu is VcpuState.UNFINALIZED:
            return -Errno.EPERM
        if kvm.config.protected and (errno := self.pkvm_create_hyp_vm(kvm)):
            return errno
        vcpu.ran_once = True
        return 0

    def kvm_arch_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """Complete a pending MMIO, then run the guest until something needs the VMM.

        exit_reason becomes UNKNOWN once a call, not once a turn of the loop: what one turn leaves
        in kvm_run stays there if the guest resumes.
        """
        run, races = vcpu.run, vcpu.kvm.races
        if run.exit_reason == _MMIO:
            self.kvm_handle_mmio_return(vcpu)
        if vcpu.requests & _IMMEDIATE_EXIT:
            return -Errno.EINTR
        self.reset_exit_reason(vcpu)
        ret = 1
        while ret > 0:
            if races is not None:
                races.reach(_ENTRY)
            ret = self.before_guest_entry(vcpu)
            if ret > 0:
                ret = self.handle_exit(vcpu, vcpu.guest.enter(vcpu.fault))
                if races is not None:
                    races.leave()
        return ret

    def reset_exit_reason(self, vcpu: Vcpu) -> None:
        """Before the loop: exit_reason is UNKNOWN and no flag is set. The union is left alone."""
        vcpu.run.exit_reason = _UNKNOWN
        vcpu.run.flags = 0

    def before_guest_entry(self, vcpu: Vcpu) -> int:
        """What keeps the loop from entering the guest: signals, requests, the state of the host."""
        if vcpu.signal_pending:
            vcpu.run.exit_reason = ExitReason.INTR
            return -Errno.EINTR
        return self.check_vcpu_requests(vcpu) if vcpu.requests else 1

    def check_vcpu_requests(self, vcpu: Vcpu) -> int:
        """Requests made of the vCPU from elsewhere, and the last look before entry; in order."""
        run = vcpu.run
        if vcpu.requests & RunFlag.VM_DEAD:
            self.kvm_vm_bugged(vcpu.kvm)
            return -Errno.EIO
        if vcpu.requests & RunFlag.SUSPEND:
            run.exit_reason = ExitReason.SYSTEM_EVENT
            run.u0, run.u1, run.u2, run.u3 = _SYSTEM_EVENT_WAKEUP, 0, 0, 0
            return 0
        if vcpu.requests & RunFlag.DIRTY_RING_FULL:
            run.exit_reason = ExitReason.DIRTY_RING_FULL
            return 0
        if vcpu.requests & RunFlag.IRQ_LINE:
            run.exit_reason = ExitReason.INTR
            return -Errno.EINTR
        if vcpu.requests & RunFlag.CPU_UNSUPPORTED:
            run.exit_reason = ExitReason.FAIL_ENTRY
            run.u0, run.u1 = _CPU_UNSUPPORTED, run.u1 >> 32 << 32
            return 0
        return 1
