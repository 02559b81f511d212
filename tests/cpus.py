"""What the tests of the emulated CPU share: one CPU, two pages, and how an abort is taken."""

import functools
from dataclasses import dataclass
from typing import Final

from emu.abi import PAGE_SIZE
from emu.access import Access
from emu.cpu import Cpu, Exit
from emu.guest import VNCR_ACCESSES
from emu.stage2 import Prot

RW: Final = Prot.R | Prot.W
RX: Final = Prot.R | Prot.X
RWX: Final = Prot.R | Prot.W | Prot.X

PAGE: Final = 0x12_3456_7000
SECOND: Final = PAGE + PAGE_SIZE
ADDRESS: Final = PAGE + 0x340

IABT: Final = 0x20
DABT: Final = 0x24
TRANSLATION: Final = 0x04
ACCESS_FLAG: Final = 0x08
PERMISSION: Final = 0x0C

# What goes through stage 2 at all, and what of it can abort there.
STAGE2: Final = tuple(access for access in Access if access not in VNCR_ACCESSES)
TOUCHING: Final = tuple(access for access in STAGE2 if access is not Access.PREFETCH)


@functools.cache
def _standing() -> Cpu:
    return Cpu()


def empty_vm() -> Cpu:
    """The tests' one CPU, with an empty 40-bit VM: it must not remember the test before."""
    cpu = _standing()
    cpu.reset(40, warm=True)
    return cpu


@dataclass(frozen=True)
class Abort:
    """What the CPU told EL2 of an abort."""

    esr: int
    far: int
    hpfar: int

    @property
    def ipa(self) -> int:
        return self.hpfar << 8


def abort(cpu: Cpu) -> Abort:
    """Enter the guest; it must abort, and not at the doorbell."""
    assert cpu.enter() is Exit.ABORT
    assert not cpu.at_doorbell
    return Abort(cpu.esr, cpu.far, cpu.hpfar)


def new_page(cpu: Cpu, contents: bytes = b"") -> int:
    pfn = cpu.arena.allocate()
    cpu.arena.buffer[pfn << 12 : (pfn << 12) + len(contents)] = contents
    return pfn


def read_page(cpu: Cpu, pfn: int) -> bytes:
    return cpu.arena.buffer[pfn << 12 : (pfn << 12) + PAGE_SIZE]


def map_new(cpu: Cpu, ipa: int, prot: int = RWX) -> int:
    pfn = new_page(cpu)
    cpu.stage2.map(ipa, pfn, prot)
    return pfn


def read_word(cpu: Cpu, address: int) -> int:
    """What the guest reads there."""
    cpu.load(Access.READ64, address, last=False)
    assert cpu.enter() is Exit.DONE
    return cpu.register(0)
