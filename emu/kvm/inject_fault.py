"""arch/arm64/kvm/inject_fault.c: exceptions that KVM queues for the guest.

The guest of a case runs at EL1 with SError unmasked, so each is taken at the next entry at the
latest; the model takes it at once, which no caller can tell apart.
"""

from typing import Final

from emu.abi import PAGE_MASK
from emu.access import Access
from emu.harness import LEVEL1_TABLES, TTBR0
from emu.kvm.pgtable import Pgtable
from emu.kvm.state import Vcpu
from emu.syndrome import (
    EC_DABT_CUR,
    EC_IABT_CUR,
    EC_SERROR,
    EC_SHIFT,
    FSC_ADDRESS_SIZE,
    FSC_EXCL_ATOMIC,
    FSC_SEA,
    FSC_SEA_ON_WALK,
    IL,
    ISV,
    S1PTW,
    fault_ipa,
    is_iabt,
)

_WALKS: Final = (Access.WALK, Access.AT_WALK, Access.WALK_AF)


class InjectFault(Pgtable):
    """Aborts and SErrors as the guest's EL1 sees them."""

    def _inject_abort(self, vcpu: Vcpu, *, iabt: bool, fsc: int) -> None:
        ec = EC_IABT_CUR if iabt else EC_DABT_CUR
        vcpu.guest.take_exception(ec << EC_SHIFT | IL | fsc)

    def kvm_inject_sea(self, vcpu: Vcpu, *, iabt: bool) -> int:
        """A synchronous external abort; always 1.

        One that a stage-1 walk met says at which level. A walk that cannot be found again was a
        passing one, and the guest simply goes on.
        """
        fsc = FSC_SEA
        if vcpu.fault.esr & S1PTW:
            level = self.kvm_find_s1_desc_level(vcpu)
            if level is None:
                return 1
            fsc = FSC_SEA_ON_WALK | level
        self._inject_abort(vcpu, iabt=iabt, fsc=fsc)
        return 1

    def kvm_find_s1_desc_level(self, vcpu: Vcpu) -> int | None:
        """The level of the guest's stage-1 table that the fault is in (arch/arm64/kvm/at.c).

        The tables of a case, which TTBR1_EL1 points to, are of level 1. Those of the harness are
        of levels 0 and 1, and no fault is in them but in a cold VM.
        """
        ipa = fault_ipa(vcpu.fault.hpfar)
        if ipa == TTBR0:
            return 0
        if ipa in LEVEL1_TABLES:
            return 1
        current = vcpu.guest.current
        if current is None or current.access not in _WALKS:
            return None
        return 1 if current.address & PAGE_MASK == ipa else None

    def kvm_inject_size_fault(self, vcpu: Vcpu) -> None:
        """A level-0 address size fault, of the kind that the abort was."""
        self._inject_abort(vcpu, iabt=is_iabt(vcpu.fault.esr), fsc=FSC_ADDRESS_SIZE)

    def kvm_inject_dabt_excl_atomic(self, vcpu: Vcpu) -> int:
        """An unsupported exclusive or atomic access; always 1."""
        self._inject_abort(vcpu, iabt=False, fsc=FSC_EXCL_ATOMIC)
        return 1

    def kvm_inject_serror(self, vcpu: Vcpu) -> int:
        """A virtual SError without a syndrome of its own (IDS, where ISV would be); always 1."""
        vcpu.guest.take_exception(EC_SERROR << EC_SHIFT | IL | ISV)
        return 1

    def kvm_incr_pc(self, vcpu: Vcpu) -> None:
        """Step over the instruction that was emulated (arch/arm64/include/asm/kvm_emulate.h)."""
        vcpu.guest.advance()
