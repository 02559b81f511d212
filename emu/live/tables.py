"""The case language for the C executor: a header made of the Python tables, so that no number and
no instruction is written twice.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Final

from emu import abi, harness, wire
from emu.access import ACCESS_FACTS, Access
from emu.asm import SNIPPETS, Assembler
from emu.case import IPA_BITS, PAGE_SIZES, VCPUS, Case, VcpuState, VmConfig
from emu.injection import Site
from emu.live.injector import FUNCTIONS, TELL_FUNCTIONS, Ask
from emu.live.protocol import Kind, Why
from emu.live.unsupported import PLAYED
from emu.plan import VECTORS
from emu.record import Op
from emu.steps import OBJECTS, L1Map, L1Vtcr, MemKind, Protection, RunFlag, UserfaultMode

_WORD: Final = 4
_WORDS: Final = 4  # of the longest snippet

_REAL: Final = {Access.WALK_AF: Access.WALK}

_NUMBERS: Final = {
    "PROTOCOL_HEADER": wire.HEADER,
    "PROTOCOL_RECORD": wire.RECORD,
    "PROTOCOL_VERSION": wire.VERSION,
    "MAX_STEPS": wire.MAX_STEPS,
    "OBJECTS": OBJECTS,
    "VCPUS": VCPUS,
    "SITES": len(Site),
    "ERRNOS": len(abi.Errno),
    "ACCESSES": len(Access),
    "HARNESS_BASE": abi.HARNESS_BASE,
    "HARNESS_SIZE": abi.HARNESS_SIZE,
    "HARNESS_SLOT": abi.HARNESS_SLOT,
    "DOORBELL": abi.DOORBELL,
    "STAMP_GPA": abi.STAMP_GPA,
    "STAMP_SIZE": abi.STAMP_SIZE,
    "MMIO": abi.ExitReason.MMIO,
    "STAGE1_BITS": harness.INPUT_BITS,
    "STAGE1_TTBR0": harness.TTBR0,
    "STAGE1_TTBR1": harness.TTBR1,
    "STAGE1_TCR": harness.TCR,
    "STAGE1_MAIR": harness.MAIR,
    "STAGE1_UPPER_HALF": harness.UPPER_HALF,
}


def header(assembler: Assembler) -> str:
    """The text of ``tables.h``; the accesses' code is what ``assembler`` makes of it."""
    parts = [
        "/* Made by emu/live/tables.py of the Python tables. */",
        "#ifndef GFF_TABLES_H",
        "#define GFF_TABLES_H",
        *(f"#define {name} {number:#x}" for name, number in _numbers()),
        "#ifndef __ASSEMBLER__",
        "#include <stdint.h>",
        *_enum("kind", "KIND_", Kind),
        *_enum("why", "", Why),
        "struct vm_size { uint8_t code, ipa_bits; uint32_t page_size; };",
        *_array("vm_size", "vm_sizes", _vm_sizes()),
        "struct access { uint8_t played, width, block, bias, words; uint32_t code[4]; };",
        f"#define TELL_FUNCTIONS {_quoted(TELL_FUNCTIONS)}",
        f"static const char *const functions[] = {{ {', '.join(map(_quoted, FUNCTIONS))} }};",
        f"static const uint16_t errnos[] = {{ {', '.join(f'{each:d}' for each in abi.Errno)} }};",
        *_array("access", "accesses", (_access(each, assembler) for each in Access)),
        "#endif",
        "#endif",
    ]
    return "\n".join(parts) + "\n"


def _enum(name: str, prefix: str, members: type[IntEnum]) -> Iterator[str]:
    spelled = (f"{prefix}{each.name} = {each.value:#x}" for each in members)
    yield f"enum {name} {{ {', '.join(spelled)} }};"


def _array(kind: str, name: str, rows: Iterable[str]) -> Iterator[str]:
    yield f"static const struct {kind} {name}[] = {{"
    yield from (f"\t{{ {row} }}," for row in rows)
    yield "};"


def _numbers() -> Iterator[tuple[str, int]]:
    yield from _NUMBERS.items()
    yield from ((f"OP_{name}", number) for name, number in vars(Op).items() if name.isupper())
    yield from ((f"RUN_{flag.name}", flag) for flag in RunFlag)
    yield from ((f"INJECT_{ask.name}", ask) for ask in Ask)
    yield from _places("ACCESS", [access.name for access in Access])
    yield from _places("SITE", [site.name for site in Site])
    yield from _places("MEM", [kind.name for kind in MemKind])
    yield from _places("PROTECTION", [protection.name for protection in Protection])
    yield from _places("USERFAULT", [mode.name for mode in UserfaultMode])
    for state in VcpuState:
        yield f"VCPU_{state.name}", _coded(VmConfig(vcpu=state))[3]
    yield "VM_NISV", _coded(VmConfig(nisv_to_user=True))[2]
    yield "VM_SEA", _coded(VmConfig(sea_to_user=True))[2]
    yield "VM_NESTED", _coded(VmConfig(nested=True))[2]
    yield "L1_BLOCK", wire.encode_step(L1Map(0, None, 0, 0, block=True))[1]
    yield "L1_OLD", wire.encode_step(L1Map(0, None, 0, 0, block=False, old=True))[1]
    yield "L1_LEGAL", wire.encode_step(L1Vtcr(legal=True))[1]
    yield "L1_HARDWARE_AF", wire.encode_step(L1Vtcr(legal=False, hardware_af=True))[1]
    yield "VM_COLD", _coded(VmConfig(cold=True))[2]


def _places(prefix: str, names: list[str]) -> Iterator[tuple[str, int]]:
    """A code is a place: see emu.record."""
    return ((f"{prefix}_{name}", place) for place, name in enumerate(names))


def _quoted(word: str) -> str:
    return f'"{word}"'


def _coded(vm: VmConfig) -> bytes:
    return wire.encode(Case(vm, ()))[: wire.HEADER]


def _vm_sizes() -> Iterator[str]:
    for page_size in PAGE_SIZES:
        for bits in IPA_BITS:
            code = _coded(VmConfig(ipa_bits=bits, page_size=page_size))[1]
            yield f"{code}, {bits}, {page_size:#x}"


def _access(access: Access, assembler: Assembler) -> str:
    if access not in PLAYED:
        return f"0 /* {access.value} */"
    # A store stands for the walk that updates its descriptor where the CPU cannot: see emu.exits.
    facts, snippet = ACCESS_FACTS[access], SNIPPETS[_REAL.get(access, access)]
    # The load before cache maintenance is for an emulator's sake: see emu.asm.
    code = assembler.assemble(snippet.text)[_WORD if snippet.probed else 0 :]
    words = [code[place : place + _WORD] for place in range(0, len(code), _WORD)]
    if len(words) > _WORDS:
        raise ValueError(f"{access.value} takes {len(words)} words, of at most {_WORDS}")
    spelled = ", ".join(f"{int.from_bytes(word, 'little'):#010x}" for word in words)
    kind = 2 if access in VECTORS else 1
    return (
        f"{kind}, {facts.width}, {facts.block}, {snippet.bias}, {len(words)},"
        f" {{ {spelled} }} /* {access.value} */"
    )
