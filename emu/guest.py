"""The guest of a case: a program of accesses, and what became of each.

It stands between the modelled kernel and the emulated CPU. Accesses that the CPU can finish need
no kernel; an abort to EL2 is handed out with its real syndrome. The handler of an exception notes
ESR_EL1 where the VMM finds it, gives the access up and goes on. When the program is at its end the
guest stores to the idle doorbell, an MMIO write that the kernel serves like any other.
"""

from collections import deque
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

import msgspec

from emu.abi import PAGE_MASK, PAGE_SIZE
from emu.access import Access, touched
from emu.cpu import Cpu, Exit
from emu.injection import AbortBit, CpuExit, ForceAbort
from emu.outcome import IDLE
from emu.syndrome import FNV, FSC, LST, S1PTW, fault_ipa

# Two pages, each mapped and then relaxed, code and stage-1 tables in a cold VM: far below this.
SAME_ACCESS_LIMIT: Final = 32


@unique
class ArmException(Enum):
    """ARM_EXCEPTION_CODE() of a guest exit, as handle_exit() tells them apart."""

    TRAP = "trap"
    IRQ = "irq"
    EL1_SERROR = "el1-serror"
    ILLEGAL_RETURN = "illegal-return"
    HYP_GONE = "hyp-gone"
    UNKNOWN = "unknown"


_FORCED: Final = {
    CpuExit.IRQ: ArmException.IRQ,
    CpuExit.SERROR: ArmException.EL1_SERROR,
    CpuExit.ILLEGAL_RETURN: ArmException.ILLEGAL_RETURN,
    CpuExit.HYP_GONE: ArmException.HYP_GONE,
    CpuExit.UNKNOWN: ArmException.UNKNOWN,
}

_FORCED_ESR: Final = (
    (AbortBit.S1PTW, S1PTW),
    (AbortBit.FNV, FNV),
    (AbortBit.LST, LST & -LST),
)


class StuckError(Exception):
    """The guest takes the same abort again and again: on real hardware it would go on for ever."""


@dataclass(slots=True)
class Fault:
    """struct kvm_vcpu_fault_info: the syndrome registers of the latest abort to EL2."""

    esr: int = 0
    far: int = 0
    hpfar: int = 0
    hpfar_valid: bool = True


@dataclass(slots=True)
class VncrTlb:
    """The host's own mapping of L1's VNCR page (struct vncr_tlb, and the fixmap made from it).

    ``page``: its address in L1's memory, or None where it is not mapped.
    """

    page: int | None = None
    writable: bool = False


@unique
class Special(Enum):
    """Whose an access is, if it is not L1's own."""

    L2 = "l2"
    VNCR = "vncr"  # the CPU's, at L1's VNCR page


class Pending(msgspec.Struct, frozen=True, gc=False):
    """An access of the program: the step that asked for it, and its effective address."""

    step: int
    access: Access
    address: int
    special: Special | None = None


@unique
class _Place(Enum):
    """Where the guest's PC is."""

    BETWEEN = "between"  # the next access is not loaded yet
    ACCESS = "access"
    IDLE = "idle"  # at the idle doorbell's store
    HANDLER = "handler"  # at the exception vector, the access not given up yet


# Plain names, for the hot path: see emu.abi.
_BETWEEN, _ACCESS, _IDLE, _HANDLER = _Place
_L2: Final = Special.L2
_VNCR: Final = Special.VNCR
_AT_WALK: Final = Access.AT_WALK
_ABORT: Final = Exit.ABORT
_DONE: Final = Exit.DONE
_EXCEPTION: Final = Exit.EXCEPTION
_TRAP: Final = ArmException.TRAP
VNCR_ACCESSES: Final = frozenset({Access.VNCR_READ, Access.VNCR_WRITE})


class GuestContext:
    """One vCPU's guest: program, place, and the exceptions it took in the current KVM_RUN."""

    __slots__ = (
        "_entries",
        "_place",
        "_special",
        "cpu",
        "current",
        "exceptions",
        "forced_abort",
        "forced_exit",
        "in_l2",
        "program",
        "vncr_tlb",
    )

    def __init__(self, cpu: Cpu) -> None:
        self.cpu = cpu
        self.program: deque[Pending] = deque()
        self.current: Pending | None = None
        self.exceptions: list[tuple[int, int]] = []
        self.forced_abort: ForceAbort | None = None
        self.forced_exit: CpuExit | None = None
        self.in_l2 = False
        self.vncr_tlb: VncrTlb | None = None  # where the guest has EL2
        self._place = _BETWEEN
        self._special: Special | None = None  # of what is loaded
        self._entries = 0

    # THE KERNEL'S SIDE

    def enter(self, fault: Fault) -> ArmException:
        """Run until something needs the kernel; an abort's syndrome goes to ``fault``.

        Raises StuckError after SAME_ACCESS_LIMIT entries without an access done, and where the CPU
        runs without an end.
        """
        if self.forced_exit is not None:
            forced, self.forced_exit = self.forced_exit, None
            return _FORCED[forced]
        self._entries += 1
        if self._entries > SAME_ACCESS_LIMIT:
            raise StuckError
        while True:
            if self._place is _BETWEEN or self._place is _HANDLER:
                self._load_next()
            if self.forced_abort is None and self._special is None:
                exit_ = self.cpu.enter()
            else:
                exit_ = self._enter_specially()
            if exit_ is _ABORT:
                if self.cpu.at_doorbell and self._goes_on():
                    continue
                self._report(fault)
                return _TRAP
            if exit_ is _DONE:
                self._drop()
            elif exit_ is _EXCEPTION:
                self.take_exception(self.cpu.esr)
            else:
                raise StuckError

    def take_exception(self, esr: int) -> None:
        """The guest's handler runs next: it notes ``esr`` and gives the access up."""
        self.exceptions.append((self.step, esr))
        self._place = _HANDLER

    def advance(self) -> None:
        """The instruction at the PC was emulated: go past it."""
        if self.cpu.at_doorbell:
            self._drop()
        else:
            self.cpu.advance()

    def register(self, number: int) -> int:
        """A general-purpose register."""
        return self.cpu.register(number)

    def set_register(self, number: int, value: int) -> None:
        """Set a general-purpose register."""
        self.cpu.set_register(number, value)

    # THE VMM'S SIDE

    def begin_run(self) -> None:
        """A KVM_RUN begins."""
        self.exceptions = []
        self._entries = 0

    def skip(self) -> None:
        """Move the guest past the access that it is at, undone."""
        if self._place is _ACCESS:
            self._drop()

    @property
    def step(self) -> int:
        """The step whose access the guest is at, or IDLE."""
        return IDLE if self.current is None else self.current.step

    @property
    def moved(self) -> bool:
        """Whether the PC is not that of the access that the guest is at."""
        if self._place is _HANDLER:
            return True
        return self._place is _ACCESS and self.cpu.moved

    @property
    def changed(self) -> bool:
        """Whether another register is not what it was when the access began; not told of a guest
        in its exception handler.
        """
        return self._place is _ACCESS and self.cpu.changed

    # THE GUEST'S OWN

    def _load_next(self) -> None:
        self._entries = 0
        if self.program:
            self.current = pending = self.program.popleft()
            if pending.special is not self._special:
                self._change_to(pending.special)
            emulated = pending.access is _AT_WALK and self.vncr_tlb is not None
            if pending.special is None and not emulated:
                self.cpu.load(pending.access, pending.address, not self.program)
            else:
                self._load_special(pending)
            self._place = _ACCESS
        else:
            self.current = None
            if self._special is not None:
                self._change_to(None)
            self.cpu.load_idle()
            self._place = _IDLE

    def _change_to(self, special: Special | None) -> None:
        """L1 enters L2, or L2 is done; or neither."""
        self._special = special
        in_l2 = special is Special.L2
        if in_l2 is not self.in_l2:
            self.in_l2 = in_l2
            self.cpu.switch(in_l2)

    def _load_special(self, pending: Pending) -> None:
        if pending.special is not _L2:  # L1's AT too is trapped, and done by __kvm_at_s1e01()
            self.cpu.load_nothing()
        else:  # the doorbell is L1's to ring
            self.cpu.load(pending.access, pending.address, False)

    def _drop(self) -> None:
        self.current = None
        self._place = _BETWEEN
        self._entries = 0

    def _goes_on(self) -> bool:
        """At a doorbell: whether the program has grown since its last access was loaded, so that
        there is more to do before the VMM is told.
        """
        if self.program:
            self._drop()
            return True
        self.current = None
        self._place = _IDLE
        return False

    def _report(self, fault: Fault) -> None:
        cpu = self.cpu
        fault.esr, fault.far, fault.hpfar = cpu.esr, cpu.far, cpu.hpfar
        fault.hpfar_valid = self._special is not _VNCR
        if self.forced_abort is not None and self._is_own_abort():
            self._force(fault, self.forced_abort)

    def _force(self, fault: Fault, abort: ForceAbort) -> None:
        """Make the abort the one that was asked for."""
        self.forced_abort = None
        fault.esr = fault.esr & ~FSC | abort.fsc
        for bit, esr_bit in _FORCED_ESR:
            if abort.bits & bit:
                fault.esr |= esr_bit
        if abort.bits & AbortBit.HPFAR_INVALID:
            fault.hpfar_valid = False

    def _enter_vncr(self, pending: Pending) -> Exit:
        """L1's access of an EL2 register in memory, through what the host has mapped."""
        tlb, write = self.vncr_tlb, pending.access is Access.VNCR_WRITE
        mapped = tlb is not None and tlb.page == pending.address & PAGE_MASK
        permitted = mapped and tlb is not None and (tlb.writable or not write)
        if permitted and self.forced_abort is None:
            return _DONE
        return self.cpu.abort_vncr(pending.address, write=write, mapped=mapped)

    def _enter_specially(self) -> Exit:
        """What is L2's, at L1's VNCR page, or made to abort."""
        cpu = self.cpu
        if self._special is _VNCR and self.current is not None:
            return self._enter_vncr(self.current)
        if self.in_l2 and cpu.stage2.descriptor(cpu.pc) is None:
            return cpu.abort_fetch()
        return cpu.enter() if self.forced_abort is None else self._enter_forced()

    def _enter_forced(self) -> Exit:
        """Enter with the pages of the access out of stage 2, so that it must abort."""
        stage2 = self.cpu.stage2
        removed = []
        for ipa in self._own_pages():
            descriptor = stage2.descriptor(ipa)
            if descriptor is not None:
                removed.append((ipa, descriptor))
                stage2.unmap(ipa)
        exit_ = self.cpu.enter()
        for ipa, descriptor in removed:
            stage2.restore(ipa, descriptor)
        return exit_

    def _is_own_abort(self) -> bool:
        """Whether the abort is the access's, not that of the harness's code or doorbell."""
        return self._special is _VNCR or fault_ipa(self.cpu.hpfar) in self._own_pages()

    def _own_pages(self) -> range:
        if self._place is not _ACCESS or self.current is None:
            return range(0)
        first, last = touched(self.current.access, self.current.address)
        return range(first & PAGE_MASK, last + 1, PAGE_SIZE)
