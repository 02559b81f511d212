"""What each step of a scope reads and changes, whatever the kernel: the ground for leaving out.

Two steps commute if neither changes what the other reads or changes. This is said of the machine,
and assumed of every kernel: a kernel in which punching a hole looks at the memory limit would need
another table. Where it is in doubt, a step is said to touch more.
"""

from enum import Flag, auto
from typing import Final, NamedTuple, assert_never

from emu.abi import MemFlag
from emu.injection import Fail, Site
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    L1Map,
    MemoryLimit,
    PoisonGmem,
    PoisonMem,
    Protect,
    PunchHole,
    ReleaseGmem,
    Run,
    RunFlag,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
)


class Thing(Flag):
    """What a step can read or change. ``MEMORY_N``: slot, guest_memfd and memory object N."""

    LIMIT = auto()
    REPORT = auto()  # kvm_run
    PLACE = auto()  # the access that the guest is at
    PROGRAM = auto()  # those that it has still to do
    L1 = auto()  # L1's stage 2
    MEMORY_0 = auto()
    MEMORY_1 = auto()
    LOOKUP = auto()  # errors that wait at a function
    TOPUP = auto()
    MAP = auto()
    RELAX = auto()
    PIN = auto()
    BIND = auto()
    START = auto()


class Presence(Flag):
    """What can be there or not: a guest_memfd's number, a slot."""

    FILE_0 = auto()
    FILE_1 = auto()
    SLOT_0 = auto()
    SLOT_1 = auto()


class Footprint(NamedTuple):
    """A step's. ``needs``, ``excludes``: what must be there, or must not, or the step is refused
    and changes nothing. ``settles``: done twice in a row, the second time changes nothing.
    ``observes``: it has an outcome.
    """

    reads: Thing
    changes: Thing
    needs: Presence = Presence(0)
    excludes: Presence = Presence(0)
    takes: Presence = Presence(0)
    brings: Presence = Presence(0)
    settles: bool = False
    observes: bool = False

    def disturbs(self, other: "Footprint") -> bool:
        """Whether ``other`` may go another way after this one."""
        return bool(self.changes & (other.reads | other.changes))

    def commutes(self, other: "Footprint") -> bool:
        """Whether the order of the two makes no difference."""
        return not self.disturbs(other) and not other.disturbs(self)


_NOTHING: Final = Thing(0)
_ALL: Final = ~_NOTHING
_MEMORY: Final = (Thing.MEMORY_0, Thing.MEMORY_1)
_FILE: Final = (Presence.FILE_0, Presence.FILE_1)
_SLOT: Final = (Presence.SLOT_0, Presence.SLOT_1)
_SITES: Final[dict[Site, Thing]] = {
    Site.KVM_GMEM_GET_PFN: Thing.LOOKUP,
    Site.KVM_MMU_TOPUP_MEMORY_CACHE: Thing.TOPUP,
    Site.KVM_PGTABLE_STAGE2_MAP: Thing.MAP,
    Site.KVM_PGTABLE_STAGE2_RELAX_PERMS: Thing.RELAX,
    Site.KVM_FAULTIN_PFN: Thing.PIN,
    Site.KVM_GMEM_BIND: Thing.BIND,
    Site.KVM_ARCH_VCPU_RUN_PID_CHANGE: Thing.START,
}
# What every KVM_RUN tells; with BIND, as an error that has struck marks all outcomes behind it.
_TOLD: Final = Thing.REPORT | Thing.PLACE | Thing.BIND
# The guest is not entered: it stays where it is, but for an MMIO that is completed.
_EARLY: Final = Footprint(
    _TOLD | Thing.START, Thing.REPORT | Thing.PLACE | Thing.START, observes=True
)
_REFUSED: Final = Footprint(_TOLD, Thing.REPORT, observes=True)
_ORDINARY: Final = Footprint(_ALL, _ALL & ~Thing.LIMIT, observes=True)


def footprint(step: Step) -> Footprint:
    """What the step reads and changes. ValueError if no scope may have such a step."""
    match step:
        case Run(flags):
            return _run(flags)
        case Guest() | GuestL2():
            return Footprint(_NOTHING, Thing.PROGRAM)
        case Skip():
            return Footprint(_NOTHING, Thing.PLACE, settles=True)
        case Fail(site) if site in _SITES:
            return Footprint(_NOTHING, _SITES[site])
        case MemoryLimit():
            return Footprint(_NOTHING, Thing.LIMIT, settles=True)
        case L1Map():
            return Footprint(_NOTHING, Thing.L1, settles=True)
        case CreateGmem() | PunchHole() | Allocate() | PoisonGmem() | ReleaseGmem():
            return _file(step)
        case CreateMem() | PoisonMem() | Unmap() | Protect() | Truncate():
            return _own_memory(step)
        case SetMemslot() | Age() | GetDirtyLog():
            return _slot(step)
        case _:
            raise ValueError(f"no footprint is known of {step}")


def _run(flags: int) -> Footprint:
    if flags == RunFlag.BAD_ARGUMENT:
        return _REFUSED
    return _EARLY if flags == RunFlag.IMMEDIATE_EXIT else _ORDINARY


def _file(step: CreateGmem | PunchHole | Allocate | PoisonGmem | ReleaseGmem) -> Footprint:
    match step:
        case CreateGmem(index):
            return Footprint(_NOTHING, _MEMORY[index], brings=_FILE[index])
        case ReleaseGmem(index):
            file = _FILE[index]
            return Footprint(_NOTHING, _MEMORY[index], needs=file, takes=file)
        case PunchHole(gmem):
            return Footprint(_NOTHING, _MEMORY[gmem.index], needs=_FILE[gmem.index], settles=True)
        case Allocate(gmem) | PoisonGmem(gmem):
            # Both take memory, if the limit lets them.
            file = _FILE[gmem.index]
            return Footprint(Thing.LIMIT, _MEMORY[gmem.index], needs=file, settles=True)
        case _:
            assert_never(step)


def _own_memory(step: CreateMem | PoisonMem | Unmap | Protect | Truncate) -> Footprint:
    match step:
        case CreateMem(index):
            return Footprint(_NOTHING, _MEMORY[index])
        case Truncate(index):
            return Footprint(_NOTHING, _MEMORY[index], settles=True)
        case PoisonMem(mem):
            return Footprint(Thing.LIMIT, _MEMORY[mem.index], settles=True)
        case Unmap(mem) | Protect(mem):
            return Footprint(_NOTHING, _MEMORY[mem.index], settles=True)
        case _:
            assert_never(step)


def _slot(step: SetMemslot | Age | GetDirtyLog) -> Footprint:
    number = step.slot
    memory, slot = _MEMORY[number], _SLOT[number]
    match step:
        case GetDirtyLog():
            return Footprint(_NOTHING, memory, needs=slot, observes=True)
        case Age():
            return Footprint(_NOTHING, memory, needs=slot, settles=True)
        case SetMemslot(size=0):
            return Footprint(_NOTHING, memory, needs=slot, takes=slot)
        case SetMemslot(flags=flags) if flags & MemFlag.GUEST_MEMFD:
            file = _FILE[number]
            return Footprint(_NOTHING, memory | Thing.BIND, needs=file, excludes=slot, brings=slot)
        case _:
            return Footprint(_NOTHING, memory, brings=slot, settles=True)
