"""The emulated CPU as the model sees it: a guest that stands before one access, and its exits.

Unicorn runs the guest with both stages of translation on; QEMU's own walker finds the faults.
"""

from copy import copy
from typing import Final

from emu import layout, selftest
from emu.abi import DOORBELL, HARNESS_BASE, PAGE_MASK, PAGE_SHIFT, PAGE_SIZE, U64
from emu.access import Access
from emu.arena import CODE_SIZE, SHADOW_PFN, Arena
from emu.asm import assembler
from emu.case import IPA_BITS, PAGE_SIZES
from emu.engine import EXCEPTION, OK, Context, EmulatorError, Engine, SystemRegister
from emu.exits import EC_HVC, EC_UNKNOWN, FSC_INVALID_ENTRY, REFUSALS, Exit
from emu.harness import MAIR, NOWHERE, TCR, TTBR0, TTBR1, UPPER_HALF, Harness
from emu.plan import VECTORS, WALKS, Plan, plan_for
from emu.registers import Registers, part
from emu.stage2 import ROOT_ADDRESS, Stage2, vtcr
from emu.syndrome import (
    EC_DABT_CUR,
    EC_DABT_LOW,
    EC_IABT_LOW,
    EC_SHIFT,
    FSC,
    FSC_PERMISSION_3,
    FSC_TRANSLATION_3,
    IL,
    S1PTW,
    VNCR,
    WNR,
)

__all__ = ["Cpu", "Exit"]

# Plain names, for the hot path: see emu.abi.
_ABORT: Final = Exit.ABORT
_FETCH: Final = Access.FETCH
_WALK: Final = Access.WALK
_WALK_AF: Final = Access.WALK_AF
_WRITE_EXCLUSIVE: Final = Access.WRITE_EXCLUSIVE

_EL2: Final = 2
SHADOW_IPA_BITS: Final = IPA_BITS[-1]  # a shadow is as large as the host allows
_DESCRIPTOR_SIZE: Final = 8
_HPFAR_SHIFT: Final = 4  # HPFAR_EL2.FIPA
_VNCR_ABORT: Final = EC_DABT_CUR << EC_SHIFT | IL | VNCR

_VTTBR_EL2: Final = SystemRegister(3, 4, 2, 1, 0)
_VTCR_EL2: Final = SystemRegister(3, 4, 2, 1, 2)
_SYSTEM: Final = (
    (SystemRegister(3, 6, 1, 1, 0), 0x501),  # SCR_EL3: NS, HCE, RW
    (SystemRegister(3, 4, 1, 1, 0), 1 << 31 | 1),  # HCR_EL2: RW, VM
    (SystemRegister(3, 0, 10, 2, 0), MAIR),
    (SystemRegister(3, 0, 2, 0, 2), TCR),
    (SystemRegister(3, 0, 2, 0, 0), TTBR0),
    (SystemRegister(3, 0, 2, 0, 1), TTBR1),
    (SystemRegister(3, 0, 1, 0, 2), 3 << 20),  # CPACR_EL1: vector registers do not trap
    (SystemRegister(3, 0, 1, 0, 0), 0x34D0_D805),  # SCTLR_EL1: RES1, M, C, I, DZE, UCT, UCI; not A
)


class Cpu:
    """One CPU, its memory and its stage 2: the ``canonical`` one or, while L2 runs, the ``shadow``.

    After an ABORT, ``esr``, ``far`` and ``hpfar`` are ESR_EL2, FAR_EL2 and HPFAR_EL2; after an
    EXCEPTION, ``esr`` is ESR_EL1. ``pc`` is where the guest stands. A new CPU must be reset.
    """

    __slots__ = (
        "_base",
        "_bases",
        "_canonical_base",
        "_engine",
        "_engines",
        "_general",
        "_harness",
        "_idle",
        "_last",
        "_layout",
        "_more",
        "_nothing",
        "_operands",
        "_plan",
        "_refusal",
        "_refused",
        "_registers",
        "_shadow_base",
        "_start",
        "_target",
        "arena",
        "canonical",
        "esr",
        "far",
        "hpfar",
        "pc",
        "shadow",
        "stage2",
    )

    def __init__(self) -> None:
        self.arena = Arena()
        self.stage2 = self.canonical = Stage2(self.arena)
        self.shadow = Stage2(self.arena, SHADOW_PFN)
        self.esr = self.far = self.hpfar = self.pc = 0
        self._harness = harness = Harness(assembler())
        harness.write(self.arena)
        # By identity: Enum's own hash is a Python function.
        self._more = {id(access): plan_for(access, harness.more[access]) for access in Access}
        self._last = {id(access): plan_for(access, harness.last[access]) for access in Access}
        self._idle = self._plan = Plan(harness.ring)
        self._nothing = Plan(harness.leave)  # an access that does nothing
        self._refused = Plan(harness.leave)  # one that the CPU refuses, with ``_refusal``
        self._refusal = 0
        self._target = NOWHERE  # of a branch
        # What x0 to x30 and sp hold at the start of an access.
        self._operands = memoryview(bytearray(8 * 32)).cast("Q")
        self._operands[28] = DOORBELL
        self._start_engine()
        selftest.check(self)

    def sibling(self) -> "Cpu":
        """Another CPU with the same memory and the same stage 2; join() lets it take part."""
        other = copy(self)
        other._operands = memoryview(bytearray(self._operands)).cast("Q")
        other._open_engine()
        other._find_registers()
        return other

    def _start_engine(self) -> None:
        self._engines = list[Engine]()
        self._open_engine()
        self._engines.append(self._engine)
        self.stage2.reset(IPA_BITS[-1], warm=True)
        self._layout = layout.find(self._engine, self._harness)
        self._find_registers()

    def _open_engine(self) -> None:
        self._engine = engine = Engine(self.arena)
        self._start = engine.start
        self._bases = {
            (bits, size): _base(engine, bits, page_size=size)
            for bits in IPA_BITS
            for size in PAGE_SIZES
        }
        self._shadow_base = _base(engine, SHADOW_IPA_BITS, self.shadow.root)
        self._base = self._canonical_base = base = self._bases[IPA_BITS[-1], PAGE_SIZE]
        engine.restore(base.pointer)

    def _find_registers(self) -> None:
        self._registers = Registers(self._engine, self._layout)
        self._general = self._registers.general
        self._engine.restore(self._base.pointer)

    def reset(self, ipa_bits: int, warm: bool, page_size: int = PAGE_SIZE) -> None:
        """A new VM on a host with these pages; ``warm``: its harness is mapped."""
        if self.stage2 is self.shadow:
            self.stage2 = self.canonical
            self.stage2.stale = True  # as in switch()
        self.arena.reset(page_size)
        if self.stage2.exposed:
            self._harness.write(self.arena)
            for engine in self._engines:
                engine.flush_code()
        del self._engines[1:]
        self.stage2.reset(ipa_bits, warm, page_size)
        base = self._bases[ipa_bits, page_size]
        if self._base is not base:
            self._base = base
            self._engine.restore(self._base.pointer)
        self.esr = self.far = self.hpfar = 0
        self.load_idle()

    def join(self, ipa_bits: int, page_size: int) -> None:
        """Take part in the VM of the CPU that this one is a sibling of."""
        self.stage2 = self.canonical
        self._engines.append(self._engine)
        self._engine.flush_tlb()
        self._canonical_base = base = self._bases[ipa_bits, page_size]
        if self._base is not base:
            self._base = base
            self._engine.restore(base.pointer)
        self.esr = self.far = self.hpfar = 0
        self.load_idle()

    # WHAT THE GUEST DOES NEXT

    def load(self, access: Access, address: int, last: bool) -> None:
        """The guest stands before this access; the last one is followed by the idle doorbell.

        Its registers are the snippet's operands, whatever was in them before.
        """
        plan = (self._last if last else self._more)[id(access)]
        if plan.plain:
            self._operands[1] = address - plan.bias & U64
            self._place(plan)
        else:
            self._load_special(plan, access, address)

    def switch(self, l2: bool) -> None:
        """What is loaded next is L2's, or L1's again."""
        if l2:
            self._canonical_base, self._base = self._base, self._shadow_base
        else:
            self._base = self._canonical_base
        self._engine.restore(self._base.pointer)
        self.stage2 = self.shadow if l2 else self.canonical
        self.stage2.stale = True  # the CPU does not tell the translations of the two apart

    def load_idle(self) -> None:
        """The guest stands before the store to the idle doorbell."""
        self._operands[1] = 0
        self._place(self._idle)

    def load_nothing(self) -> None:
        """The guest stands before an access that another does, as ``abort_vncr``."""
        self._place(self._nothing)

    def _place(self, plan: Plan) -> None:
        if self._plan.soils:
            self._engine.restore(self._base.pointer)
        self._plan = plan
        self._general[:] = self._operands
        self._target = NOWHERE
        self._start = self._engine.start
        self.pc = plan.program.start

    def _load_special(self, plan: Plan, access: Access, address: int) -> None:
        refusal = REFUSALS[access](address)
        if refusal:
            self._refusal = refusal
            plan = self._refused
        elif refusal == 0:
            plan = self._nothing if plan.program.bell == NOWHERE else self._idle
        walk = plan.access in WALKS
        self._operands[1] = _walked(address) if walk else address
        if plan.access is _WALK_AF:
            self._operands[1] = address & -_DESCRIPTOR_SIZE
        self._place(plan)
        if walk:
            self._registers.words[self._layout.ttbr1] = address & PAGE_MASK
            self._engine.flush_tlb()  # this VA may be in it, from another walk's table
        elif plan.access is _FETCH:
            self._target = address
            if address - HARNESS_BASE in range(CODE_SIZE):
                # Only in the harness's own code can a guest run on: it may branch to its branch.
                self._start = self._engine.start_watched

    # RUNNING

    def enter(self) -> Exit:
        """Run until the next exit. After an ABORT, the same access again."""
        engine, at, registers = self._engine, self._layout, self._registers
        if self.stage2.stale:
            for each in self._engines:
                each.flush_tlb()
            self.stage2.stale = False
        engine.entry.value = self.pc
        status = self._start()
        words, halves = registers.words, registers.halves
        self.pc = words[at.pc]
        if status != EXCEPTION:
            return _hung(status)
        self.esr = esr = halves[at.esr]
        if halves[at.target_el] != _EL2:
            return self._exception(esr)
        if esr >> EC_SHIFT == EC_HVC:
            return self._left()
        self.far = words[at.far]
        self.hpfar = words[at.hpfar]
        if self._plan.corrected or esr & S1PTW:
            self._correct(self._plan)
        return _ABORT

    def abort_fetch(self) -> Exit:
        """The same where stage 2 does not map the guest's code.

        Corrected: the harness's stage 1 would abort first, on its own tables. It stands for none:
        a guest with its MMU off was observed.
        """
        self.esr = EC_IABT_LOW << EC_SHIFT | IL | self.stage2.fault_status(self.pc)
        self.far = self.pc
        self.hpfar = self.pc >> PAGE_SHIFT << _HPFAR_SHIFT
        return _ABORT

    def abort_vncr(self, address: int, *, write: bool, mapped: bool) -> Exit:
        """The same at L1's VNCR page. The CPU accesses it at the host's EL2, where stage 2 has no
        part and HPFAR_EL2 is not valid.

        Corrected: Unicorn has no FEAT_NV2.
        """
        status = FSC_PERMISSION_3 if mapped else FSC_TRANSLATION_3
        self.esr = _VNCR_ABORT | (WNR if write else 0) | status
        self.far, self.hpfar = address, 0
        return _ABORT

    def _left(self) -> Exit:
        if self._plan is self._refused:
            self.esr = self._refusal
            self.pc = self._plan.program.start
            return Exit.EXCEPTION
        return Exit.DONE

    def _exception(self, esr: int) -> Exit:
        """An exception to EL1, which is how a successful fetch or walk ends: of zeros."""
        plan = self._plan
        if plan.access is _FETCH:
            done = esr >> EC_SHIFT == EC_UNKNOWN and self.pc == self._target
        else:
            done = (
                plan.access is _WALK
                and esr >> EC_SHIFT == EC_DABT_CUR
                and esr & FSC == FSC_INVALID_ENTRY
            )
        if not done:
            return Exit.EXCEPTION
        self.pc = plan.program.end
        return Exit.DONE if plan.program.bell == NOWHERE else self.enter()

    def _correct(self, plan: Plan) -> None:
        if self.esr & S1PTW:
            # Corrected: for a fault on a stage-1 walk Unicorn reports a translation fault at the
            # level of the stage-1 walk, whatever stage 2 found.
            self.esr = self.esr & ~FSC | self.stage2.fault_status(self.hpfar << 8)
        if self.esr >> EC_SHIFT == EC_DABT_LOW and self.pc != plan.program.bell:
            self.esr = self.esr & ~plan.clear | plan.add
            if plan.access is _WALK_AF:
                self.far = _walked(self.far)
        if plan.access is _WRITE_EXCLUSIVE:
            # Corrected: the return from an exception opens the exclusive monitor.
            self._registers.words[self._layout.exclusive] = U64

    # THE GUEST'S STATE

    @property
    def at_doorbell(self) -> bool:
        """Whether the guest stands before its program's store to a doorbell."""
        return self.pc == self._plan.program.bell

    @property
    def moved(self) -> bool:
        """Whether the PC is elsewhere than at the access (for a fetch: or at its target)."""
        return self.pc not in self._plan.program.stands and self.pc != self._target

    @property
    def changed(self) -> bool:
        """Whether another register is not what it was when the access was loaded.

        Vector registers are compared where the access names one: nothing else can write them.
        """
        registers, at, base = self._registers, self._layout, self._base.words
        return (
            self._general != self._operands
            or registers.flags != part(base, at.flags)
            or (self._plan.access in VECTORS and registers.vectors != part(base, at.vectors))
        )

    def register(self, n: int) -> int:
        """General-purpose register ``n``."""
        return self._general[n]

    def set_register(self, n: int, value: int) -> None:
        """Set general-purpose register ``n``."""
        self._general[n] = value & U64

    def advance(self) -> None:
        """Move the PC past one instruction."""
        self.pc += 4


def _base(
    engine: Engine, ipa_bits: int, root: int = ROOT_ADDRESS, page_size: int = PAGE_SIZE
) -> Context:
    """The state of a new CPU under a stage 2 of this size."""
    for register, value in (*_SYSTEM, (_VTTBR_EL2, root), (_VTCR_EL2, vtcr(ipa_bits, page_size))):
        engine.set_system(register, value)
    return engine.snapshot()


def _walked(address: int) -> int:
    """The virtual address whose walk reads the descriptor at ``address``."""
    return UPPER_HALF | (address & ~PAGE_MASK) >> 3 << 30


def _hung(status: int) -> Exit:
    if status != OK:
        raise EmulatorError(f"Unicorn: uc_emu_start failed with error {status}")
    return Exit.HANG
