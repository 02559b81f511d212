"""The cures proposed in May 2026, each as one change to Linux 7.3.4.

Modelled from their descriptions on linux-arm-kernel (lists.infradead.org, 2026-May, messages
1126887, 1126903 and 1127183). None was merged. The VNCR path, which none but the first is
meant to cure, is not modelled yet.
"""

from typing import Final

from emu.abi import PAGE_SIZE, Errno, ExitReason
from emu.kernels.releases import V73
from emu.kvm.state import Vcpu

REPORTED: Final = (-Errno.EFAULT, -Errno.EHWPOISON)


class RfcAlignErrno(V73):
    """Alexandru Elisei's RFC: gmem_abort() leaves only with the two documented errnos.

    Its diff was not available; this is its description: MEMORY_FAULT always, with EHWPOISON where
    that was the cause and with EFAULT for every other. Leaves: nothing in what is modelled. It
    is meant to cure the VNCR path too, which is not.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """Any other errno becomes EFAULT before it is handed out."""
        ret = super().gmem_abort_without_pfn(vcpu, ipa, ret)
        return ret if ret == -Errno.EHWPOISON else -Errno.EFAULT


class ScribbleOnExit(V73):
    """Sean Christopherson's counter-proposal, its missing minus put right.

    kvm_vcpu_ioctl() writes UNKNOWN over MEMORY_FAULT when the architecture's KVM_RUN returned
    another error; success, and errors before that call, are left alone. Leaves: the fault's gpa in
    the union (C7, which only the paranoid reading asks for), and V73's C3 after ENOEXEC. Outside
    the model, observed: the VNCR path still returns 0 with MEMORY_FAULT.
    """

    spared: tuple[int, ...] = REPORTED

    def kvm_arch_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        """The write stands in kvm_vcpu_ioctl(), right behind this call."""
        ret = super().kvm_arch_vcpu_ioctl_run(vcpu)
        run = vcpu.run
        if ret < 0 and ret not in self.spared and run.exit_reason == ExitReason.MEMORY_FAULT:
            run.exit_reason = ExitReason.UNKNOWN
        return ret


class ScribbleAsPosted(ScribbleOnExit):
    """The same, as it was posted: the minus before EHWPOISON is missing.

    Leaves: C7 and C3 as ``scribble-on-exit`` does, and EHWPOISON's report is wiped (C5). The VNCR
    path was not run with it.
    """

    spared = (-Errno.EFAULT, Errno.EHWPOISON)


class GatedPrepare(V73):
    """Alexandru Elisei's alternative: the helper is told the errno and fills only for the two.

    Leaves: nothing in what is modelled. Outside the model, observed: the VNCR path returns 0, with
    MEMORY_FAULT for EFAULT and EHWPOISON and with UNKNOWN for ENOMEM and EIO.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """kvm_prepare_memory_fault_exit() with one argument more."""
        if ret in REPORTED:
            self.kvm_prepare_memory_fault_exit(vcpu, ipa, PAGE_SIZE)
        return ret


class GatedPrepareReset(GatedPrepare):
    """The same, and the helper writes UNKNOWN where it does not fill.

    Leaves: nothing in what is modelled. Inferred: the VNCR path as in ``gated-prepare``.
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """No earlier reason of this KVM_RUN can be taken for this error's."""
        if ret not in REPORTED:
            vcpu.run.exit_reason = ExitReason.UNKNOWN
        return super().gmem_abort_without_pfn(vcpu, ipa, ret)
