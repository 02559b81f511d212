"""arch/arm64/kvm/handle_exit.c: why the guest stopped, and who deals with it."""

from typing import Final, assert_never

from emu.abi import Errno, ExitReason
from emu.guest import ArmException
from emu.kvm.state import Vcpu
from emu.kvm.vncr import VncrAbort
from emu.syndrome import EC_DABT_CUR, exception_class

_TRAP: Final = ArmException.TRAP  # a plain name, for the hot path


class HandleExit(VncrAbort):
    """Dispatch of a guest exit."""

    def handle_exit(self, vcpu: Vcpu, exception: ArmException) -> int:
        """Negative errno, 0 to leave, 1 to resume."""
        if exception is _TRAP:
            return self.handle_trap_exceptions(vcpu)
        match exception:
            case ArmException.IRQ | ArmException.EL1_SERROR:
                return 1
            case ArmException.HYP_GONE:
                vcpu.run.exit_reason = ExitReason.FAIL_ENTRY
                return 0
            case ArmException.ILLEGAL_RETURN:
                vcpu.run.exit_reason = ExitReason.FAIL_ENTRY
                return -Errno.EINVAL
            case ArmException.UNKNOWN:
                vcpu.run.exit_reason = ExitReason.INTERNAL_ERROR
                return 0
        assert_never(exception)

    def handle_trap_exceptions(self, vcpu: Vcpu) -> int:
        """The only traps that a case's guest takes are instruction and data aborts.

        A data abort from the host's own level is one at L1's VNCR page.
        """
        tlb = vcpu.guest.vncr_tlb
        if tlb is not None and exception_class(vcpu.fault.esr) == EC_DABT_CUR:
            return self.kvm_handle_vncr_abort(vcpu, tlb)
        return self.kvm_handle_guest_abort(vcpu)
