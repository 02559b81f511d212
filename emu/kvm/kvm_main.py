"""virt/kvm/kvm_main.c: the KVM_RUN ioctl from the system call's side."""

from typing import Final

from emu.abi import Errno
from emu.kvm.arm import Arm
from emu.kvm.state import Vcpu
from emu.steps import RunFlag

# Plain names, for the hot path: see emu.abi.
_OTHER_MM: Final = RunFlag.OTHER_MM
_KILLED: Final = RunFlag.KILLED
_BAD_ARGUMENT: Final = RunFlag.BAD_ARGUMENT


class Kernel(Arm):
    """The whole modelled kernel: behaviour without state. Releases and variants subclass it."""

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """kvm_vcpu_ioctl() for KVM_RUN. Nothing that it does itself writes kvm_run."""
        requests = vcpu.requests
        if requests & _OTHER_MM or vcpu.kvm.vm_dead:
            return -Errno.EIO
        if requests & _KILLED:
            return -Errno.EINTR
        if requests & _BAD_ARGUMENT:
            return -Errno.EINVAL
        if not vcpu.ran_once and (ret := self.kvm_arch_vcpu_run_pid_change(vcpu)):
            return ret
        return self.kvm_arch_vcpu_ioctl_run(vcpu)
