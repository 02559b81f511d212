"""The spelling of a case for people and for git: one step a line.

The grammar is in docs/case-format.md. Each verb has its reader in ``emu.verbs`` and its writer in
``dump_step``.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, assert_never

from emu.case import Case, VcpuState, VmConfig
from emu.injection import At, Fail, ForceAbort, ForceExit
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
    L1Map,
    L1Table,
    L1Vtcr,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    PoisonGmem,
    PoisonMem,
    Protect,
    PunchHole,
    Ref,
    ReleaseGmem,
    Run,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
    Userfault,
)
from emu.tokens import CaseSyntaxError, Line, Thing, Word, one_of
from emu.tokens import spell_reference as _ref
from emu.verbs import READERS
from emu.words import (
    ABORT_BITS,
    GMEM_FLAGS,
    IPA_SIZES,
    L1_BITS,
    MEM_FLAGS,
    PAGE_SIZE_WORDS,
    RUN_FLAGS,
    VCPU_STATES,
    spell_bits,
)

__all__ = ["CaseSyntaxError", "dump", "dump_step", "load"]


def load(text: str, name: str = "<case>") -> Case:
    """The case that ``text`` spells; ``name`` is what an error calls the file."""
    vm, told = VmConfig(), set[str]()
    steps: list[Step] = []
    for number, content in enumerate(text.split("\n"), start=1):
        line = Line.split(name, number, content)
        if not line.more():
            continue
        verb = line.need("a step")
        if verb.text != "vm":
            steps.append(line.choice(verb, READERS)(line))
        elif steps:
            raise line.wrong(verb, "vm lines only before the first other line")
        else:
            vm = _vm(line, vm, told)
        line.done()
    return Case(vm, tuple(steps))


def dump(case: Case) -> str:
    """The canonical spelling of ``case``."""
    return "".join(f"{line}\n" for line in [*_dump_vm(case.vm), *map(dump_step, case.steps)])


def _vm(line: Line, vm: VmConfig, told: set[str]) -> VmConfig:
    word = line.need(one_of(list(_FACTS)))
    key, sign, _ = word.text.partition("=")
    fact = Word(key + sign, word.column)
    reader = line.choice(fact, _FACTS)
    if key in told:
        raise line.twice(word)
    told.add(key)
    return reader(line, word.after(len(fact.text)), vm)


_FACTS: Final[Mapping[str, Callable[[Line, Word, VmConfig], VmConfig]]] = {
    "ipa-bits=": lambda line, value, vm: replace(vm, ipa_bits=line.choice(value, IPA_SIZES)),
    "nisv-to-user": lambda _line, _value, vm: replace(vm, nisv_to_user=True),
    "sea-to-user": lambda _line, _value, vm: replace(vm, sea_to_user=True),
    "page-size=": lambda line, value, vm: replace(
        vm, page_size=line.choice(value, PAGE_SIZE_WORDS)
    ),
    "nested": lambda _line, _value, vm: replace(vm, nested=True),
    "protected": lambda _line, _value, vm: replace(vm, protected=True),
    "mte": lambda _line, _value, vm: replace(vm, mte=True),
    "coherent": lambda _line, _value, vm: replace(vm, coherent=True),
    "cold": lambda _line, _value, vm: replace(vm, cold=True),
    "vcpu=": lambda line, value, vm: replace(vm, vcpu=line.choice(value, VCPU_STATES)),
}


def _dump_vm(vm: VmConfig) -> list[str]:
    facts = (
        (f"vm ipa-bits={vm.ipa_bits}", vm.ipa_bits != VmConfig().ipa_bits),
        ("vm nisv-to-user", vm.nisv_to_user),
        ("vm sea-to-user", vm.sea_to_user),
        (f"vm page-size={vm.page_size >> 10}k", vm.page_size != VmConfig().page_size),
        ("vm nested", vm.nested),
        ("vm protected", vm.protected),
        ("vm mte", vm.mte),
        ("vm coherent", vm.coherent),
        ("vm cold", vm.cold),
        (f"vm vcpu={vm.vcpu.value}", vm.vcpu is not VcpuState.READY),
    )
    return [text for text, told in facts if told]


def dump_step(step: Step) -> str:  # noqa: C901 - one arm a step, nothing else
    """The canonical spelling of one step."""
    match step:
        case CreateGmem(index, size, flags):
            return f"create gmem{index} size={size:#x}{_flags(flags, GMEM_FLAGS)}"
        case CreateMem(index, size, kind):
            return f"create mem{index} size={size:#x} {kind.value}"
        case SetMemslot():
            return _dump_memslot(step)
        case PunchHole(gmem, size):
            return f"punch {_ref(Thing.GMEM, gmem)} size={size:#x}"
        case Allocate(gmem, size):
            return f"allocate {_ref(Thing.GMEM, gmem)} size={size:#x}"
        case ReleaseGmem(index):
            return f"release gmem{index}"
        case PoisonGmem(gmem):
            return f"poison {_ref(Thing.GMEM, gmem)}"
        case PoisonMem(mem):
            return f"poison {_ref(Thing.MEM, mem)}"
        case Unmap(mem, size):
            return f"munmap {_ref(Thing.MEM, mem)} size={size:#x}"
        case Protect(mem, size, protection):
            return f"mprotect {_ref(Thing.MEM, mem)} size={size:#x} {protection.value}"
        case Truncate(index, size):
            return f"truncate mem{index} size={size:#x}"
        case Age(slot):
            return f"age slot{slot}"
        case MemoryLimit(on):
            return f"memory-limit {'on' if on else 'off'}"
        case IoEventFd(gpa, size):
            return f"ioeventfd gpa={gpa:#x} size={size}"
        case Fail(site, errno, nth):
            return f"fail {site.value} {errno.name}" + (f" nth={nth}" if nth != 1 else "")
        case ForceExit(cpu_exit):
            return f"force-exit {cpu_exit.value}"
        case ForceAbort(fsc, bits):
            return " ".join([f"force-abort fsc={fsc:#x}", *spell_bits(bits, ABORT_BITS)])
        case Guest(access, slot, address):
            return f"guest {access.value} {_place(slot, address)}"
        case Run(flags):
            return " ".join(["run", *spell_bits(flags, RUN_FLAGS)])
        case Skip():
            return "skip"
        case MmioData(value):
            return f"mmio-data {value:#x}"
        case Userfault(mem, size, mode):
            return f"userfault {_ref(Thing.MEM, mem)} size={size:#x} {mode.value}"
        case GetDirtyLog(slot):
            return f"dirty-log slot{slot}"
        case MemlockLimit(on):
            return f"memlock-limit {'on' if on else 'off'}"
        case SelectVcpu(index):
            return f"vcpu {index}"
        case At(point):
            return f"at {point.value}"
        case L1Map(ipa, slot, address, prot, block, old):
            words = f"l1-map {ipa:#x} {_place(slot, address)}{_flags(prot, L1_BITS)}"
            return words + (" block" if block else "") + (" old" if old else "")
        case L1Table(level, slot, address):
            return f"l1-table {level} {_place(slot, address)}"
        case L1Vtcr(legal, hardware_af):
            words = f"l1-vtcr {'legal' if legal else 'illegal'}"
            return f"{words} hardware-af" if hardware_af else words
        case GuestL2(access, address):
            return f"l2 {access.value} {address:#x}"
        case _:
            assert_never(step)


def _place(slot: int | None, address: int) -> str:
    """Where a step of the guest points: into a slot, or at an address."""
    return f"{address:#x}" if slot is None else _ref(Thing.SLOT, Ref(slot, address))


def _dump_memslot(step: SetMemslot) -> str:
    if step == SetMemslot(step.slot, 0, 0, 0, None, None):
        return f"memslot {step.slot} delete"
    words = [f"memslot {step.slot} gpa={step.gpa:#x} size={step.size:#x}"]
    if step.mem is not None:
        words.append(_ref(Thing.MEM, step.mem))
    if step.gmem is not None:
        words.append(_ref(Thing.GMEM, step.gmem))
    return " ".join(words) + _flags(step.flags, MEM_FLAGS) + (" v1" if step.v1 else "")


def _flags(flags: int, table: Mapping[str, int]) -> str:
    """The flags as words where all of them have one, else as a number."""
    if flags == 0:
        return ""
    known = flags & ~sum(table.values()) == 0
    return f" flags={','.join(spell_bits(flags, table)) if known else f'{flags:#x}'}"
