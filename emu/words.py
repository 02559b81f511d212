"""The words of a case's text, and what each stands for.

An enum's value is its spelling; the bits of a set of flags are spelled here.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeVar

from emu.abi import Errno, GmemFlag, MemFlag
from emu.access import Access
from emu.case import IPA_BITS, PAGE_SIZES, VCPUS, VcpuState
from emu.injection import AbortBit, CpuExit, Point, Site
from emu.steps import L1Bit, MemKind, Protection, RunFlag, UserfaultMode

E = TypeVar("E", bound=Enum)


def _spellings(members: type[E]) -> Mapping[str, E]:
    return {str(member.value): member for member in members}


ACCESSES: Final = _spellings(Access)
SITES: Final = _spellings(Site)
CPU_EXITS: Final = _spellings(CpuExit)
MEM_KINDS: Final = _spellings(MemKind)
PROTECTIONS: Final = _spellings(Protection)
USERFAULT_MODES: Final = _spellings(UserfaultMode)
POINTS: Final = _spellings(Point)
VCPU_STATES: Final = _spellings(VcpuState)
ERRNOS: Final[Mapping[str, Errno]] = {errno.name: errno for errno in Errno}
SWITCH: Final[Mapping[str, bool]] = {"on": True, "off": False}
PAGE_SIZE_WORDS: Final[Mapping[str, int]] = {f"{size >> 10}k": size for size in PAGE_SIZES}
VCPU_NUMBERS: Final[Mapping[str, int]] = {str(index): index for index in range(VCPUS)}
LEVELS: Final[Mapping[str, int]] = {"1": 1, "2": 2, "3": 3}
LEGALITY: Final[Mapping[str, bool]] = {"legal": True, "illegal": False}
IPA_SIZES: Final[Mapping[str, int]] = {str(bits): bits for bits in IPA_BITS}
IOEVENTFD_SIZES: Final[Mapping[str, int]] = {str(size): size for size in (1, 2, 4, 8)}

GMEM_FLAGS: Final[Mapping[str, int]] = {
    "mmap": GmemFlag.MMAP,
    "init-shared": GmemFlag.INIT_SHARED,
}
MEM_FLAGS: Final[Mapping[str, int]] = {
    "log-dirty": MemFlag.LOG_DIRTY_PAGES,
    "readonly": MemFlag.READONLY,
    "guest-memfd": MemFlag.GUEST_MEMFD,
}
L1_BITS: Final[Mapping[str, int]] = {
    "read": L1Bit.READ,
    "write": L1Bit.WRITE,
    "execute": L1Bit.EXECUTE,
}
ABORT_BITS: Final[Mapping[str, int]] = {
    "hpfar-invalid": AbortBit.HPFAR_INVALID,
    "fnv": AbortBit.FNV,
    "s1ptw": AbortBit.S1PTW,
    "lst": AbortBit.LST,
}
RUN_FLAGS: Final[Mapping[str, int]] = {
    "immediate-exit": RunFlag.IMMEDIATE_EXIT,
    "bad-argument": RunFlag.BAD_ARGUMENT,
    "other-mm": RunFlag.OTHER_MM,
    "signal": RunFlag.SIGNAL,
    "killed": RunFlag.KILLED,
    "vm-dead": RunFlag.VM_DEAD,
    "suspend": RunFlag.SUSPEND,
    "dirty-ring-full": RunFlag.DIRTY_RING_FULL,
    "irq-line": RunFlag.IRQ_LINE,
    "cpu-unsupported": RunFlag.CPU_UNSUPPORTED,
}


def spell_bits(bits: int, table: Mapping[str, int]) -> list[str]:
    """The words for the bits that are set."""
    return [word for word, bit in table.items() if bits & bit]
