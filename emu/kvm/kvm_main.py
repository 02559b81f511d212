"""virt/kvm/kvm_main.c: the KVM_RUN ioctl from the system call's side."""

from emu.abi import Errno
from emu.case import RunFlag
from emu.kvm.arm import Arm
from emu.kvm.state import Vcpu


class Kernel(Arm):
    """The whole modelled kernel: behaviour without state. Releases and variants subclass it."""

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """kvm_vcpu_ioctl() for KVM_RUN. Nothing that it does itself writes kvm_run."""
        requests = vcpu.requests
        if requests & RunFlag.OTHER_MM or vcpu.kvm.vm_dead:
            return -Errno.EIO
        if requests & RunFlag.KILLED:
            return -Errno.EINTR
        if requests & RunFlag.BAD_ARGUMENT:
            return -Errno.EINVAL
        if not vcpu.ran_once and (ret := self.kvm_arch_vcpu_run_pid_change(vcpu)):
            return ret
        return self.kvm_arch_vcpu_ioctl_run(vcpu)
