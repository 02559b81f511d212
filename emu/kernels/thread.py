"""The cures proposed in May 2026, each as one change to Linux 7.3.4.

Modelled from their descriptions on linux-arm-kernel (lists.infradead.org, 2026-May, messages
1126887, 1126903 and 1127183). None was merged. None but the first is meant to cure the VNCR path.
"""

from typing import Final

from emu.abi import Errno, ExitReason
from emu.kernels.releases import V73
from emu.kvm.state import Vcpu

REPORTED: Final = (-Errno.EFAULT, -Errno.EHWPOISON)


class RfcAlignErrno(V73):
    """Alexandru Elisei's RFC: only the two documented errnos come with MEMORY_FAULT.

    Its diff was not available; this is its description: gmem_abort() and the VNCR path leave with
    EHWPOISON where that was the cause and with EFAULT for every other, and with MEMORY_FAULT
    always. Leaves: L2's address for L1's (C4), the misaligned one on large host pages (C4), and the
    error besides the exception where L1's tables cannot be read (C10).
    """

    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        """Any other errno becomes EFAULT before it is handed out."""
        return _documented(super().gmem_abort_without_pfn(vcpu, ipa, ret))

    def translate_vncr_without_pfn(self, vcpu: Vcpu, page: int, ret: int) -> int:
        """The same."""
        return _documented(super().translate_vncr_without_pfn(vcpu, page, ret))

    def vncr_gmem_exit(self, ret: int) -> int:
        """What kvm_run says is returned as well."""
        return ret


class ScribbleOnExit(V73):
    """Sean Christopherson's counter-proposal, its missing minus put right.

    kvm_vcpu_ioctl() writes UNKNOWN over MEMORY_FAULT when the architecture's KVM_RUN returned
    another error; success, and errors before that call, are left alone. Leaves: the fault's gpa in
    the union (C7, which only the paranoid reading asks for), and V73's C3 after ENOEXEC. Observed:
    the VNCR path still returns 0 with MEMORY_FAULT (C1). Nested and large pages as in V73.
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

    Leaves, observed: the VNCR path returns 0, with MEMORY_FAULT for EFAULT and EHWPOISON (C1) and
    with UNKNOWN for ENOMEM and EIO (C6). Nested and large pages as in V73.
    """

    def prepare_gmem_fault_exit(self, vcpu: Vcpu, gpa: int, size: int, ret: int) -> None:
        """kvm_prepare_memory_fault_exit() with one argument more."""
        if ret in REPORTED:
            super().prepare_gmem_fault_exit(vcpu, gpa, size, ret)


class GatedPrepareReset(GatedPrepare):
    """The same, and the helper writes UNKNOWN where it does not fill.

    Leaves what ``gated-prepare`` does; inferred, for it was not run.
    """

    def prepare_gmem_fault_exit(self, vcpu: Vcpu, gpa: int, size: int, ret: int) -> None:
        """No earlier reason of this KVM_RUN can be taken for this error's."""
        if ret not in REPORTED:
            vcpu.run.exit_reason = ExitReason.UNKNOWN
        super().prepare_gmem_fault_exit(vcpu, gpa, size, ret)


def _documented(ret: int) -> int:
    return ret if ret == -Errno.EHWPOISON else -Errno.EFAULT
