"""What the live machine cannot do, and why: such a case is not played at all, never differently."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from emu import wire
from emu.abi import PAGE_SIZE, Errno
from emu.access import ACCESS_FACTS, Access, Direction
from emu.case import Case, VmConfig
from emu.injection import At, Fail, ForceAbort, ForceExit, Site
from emu.live.clashes import WALKS, clash
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
    MemKind,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    PoisonGmem,
    PoisonMem,
    Protect,
    PunchHole,
    ReleaseGmem,
    Run,
    RunFlag,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
    Userfault,
    effective_address,
)
from emu.words import RUN_FLAGS, spell_bits

PAGES: Final = "the host's pages have"
NO_EL2: Final = "the host's guests have no EL2"
NO_ERRORS: Final = "a stock kernel injects no errors"

_SIMPLE: Final = frozenset(
    {
        Direction.READ,
        Direction.WRITE,
        Direction.READ_WRITE,
        Direction.FETCH,
        Direction.MAINTENANCE,
        Direction.HINT,
        Direction.VNCR_READ,
        Direction.VNCR_WRITE,
    }
)
PLAYED: Final = frozenset(
    access for access in Access if ACCESS_FACTS[access].direction in _SIMPLE or access in WALKS
)

# What allocates when it is called, and says ENOMEM for it.
_ALLOCATES: Final = (Site.KVM_GMEM_GET_PFN, Site.KVM_MMU_TOPUP_MEMORY_CACHE, Site.KVM_FAULTIN_PFN)

_STEPS: Final = (
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
    ReleaseGmem,
    Run,
    SelectVcpu,
    SetMemslot,
    Skip,
    Truncate,
    Unmap,
    Userfault,
)
_RUN_FLAGS: Final = (
    RunFlag.IMMEDIATE_EXIT | RunFlag.BAD_ARGUMENT | RunFlag.OTHER_MM | RunFlag.SIGNAL
)
_MEM_KINDS: Final = (
    MemKind.ANONYMOUS,
    MemKind.FILE,
    MemKind.SHARED,
    MemKind.THP,
    MemKind.HUGETLB,
    MemKind.DEVICE,
)
_VNCR: Final = (Direction.VNCR_READ, Direction.VNCR_WRITE)
_HUGE_KINDS: Final = (MemKind.THP, MemKind.HUGETLB)
_HUGE_PAGES_OF: Final = 0x1000  # of the hosts whose huge pages have 2 MiB
_TABLE_BITS: Final = 48  # those above are the ASID
_ZVA: Final = 64  # bytes that DC ZVA clears on the CPU of the cases


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A case that was not played. ``step`` is the index of the step in the way, None for the VM."""

    reason: str
    step: int | None

    def __str__(self) -> str:
        """One line, with steps counted from 1."""
        return self.reason if self.step is None else f"step {self.step + 1}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Host:
    """What a live machine can do; ``inert`` and ``lax`` as in ``emu.live.probes``.

    ``functions``: where those of its kernel are that errors can be injected at, where they can.
    ``failing``: those that the kernel itself lets fail, where there is no debugger.
    ``allocating``: no function fails but for an allocation of its own that does.
    """

    kernel: str
    page_size: int
    kvm: bool
    ipa_bits: int
    zva: int
    inert: frozenset[Access] = frozenset()
    lax: frozenset[Access] = frozenset()
    nested: bool = False
    functions: Mapping[str, int] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    allocating: bool = False


def objection(case: Case, host: Host) -> Unsupported | None:
    """What in ``case`` this host cannot do; None where nothing is known to be in the way."""
    reason = _vm(case.vm, host)
    if reason:
        return Unsupported(reason, None)
    bases: dict[int, int] = {}
    for index, step in enumerate(case.steps):
        if isinstance(step, SetMemslot):
            bases[step.slot] = step.gpa
        reason = _step(step, bases, host)
        if reason:
            return Unsupported(reason, index)
    found = clash(case)
    return _wordless(case) if found is None else Unsupported(*found)


def _wordless(case: Case) -> Unsupported | None:
    """The executor is told a case in bytes, which have less room than text."""
    for index, step in enumerate(case.steps):
        try:
            wire.encode_step(step)
        except ValueError:
            return Unsupported("the bytes have no room for it", index)
    few = len(case.steps) <= wire.MAX_STEPS
    return None if few else Unsupported(f"more than {wire.MAX_STEPS} steps", None)


def _vm(vm: VmConfig, host: Host) -> str:
    if not host.kvm:
        return "the host has no KVM"
    if vm.page_size != host.page_size:
        return f"{PAGES} {host.page_size >> 10} KiB, those of the case {vm.page_size >> 10}"
    if vm.ipa_bits > host.ipa_bits:
        return f"the host's VMs have at most {host.ipa_bits} IPA bits"
    plain = VmConfig(
        ipa_bits=vm.ipa_bits,
        nisv_to_user=vm.nisv_to_user,
        sea_to_user=vm.sea_to_user,
        cold=vm.cold,
        vcpu=vm.vcpu,
        page_size=vm.page_size,
        nested=vm.nested,
    )
    if vm.nested and not host.nested:
        return NO_EL2
    return "" if vm == plain else "the executor makes no VM of this kind"


def _step(step: Step, bases: dict[int, int], host: Host) -> str:
    match step:
        case Run():
            flags = spell_bits(step.flags & ~_RUN_FLAGS, RUN_FLAGS)
            return f"no VMM can ask for {' '.join(flags)}" if flags else ""
        case Guest():
            return _access(step.access, effective_address(step, bases), host)
        case GuestL2():
            if step.access in WALKS:
                return f"l2 {step.access.value}: L2 has no table of its own for it"
            return _access(step.access, step.address, host)
        case CreateMem():
            return _memory(step.kind, host)
        case Fail():
            return _injection(step, host)
        case ForceExit() | ForceAbort():
            return "no CPU can be asked to do this"
        case At():
            return "nothing stops a kernel half-way"
        case Age():
            return "nothing on the host asks KVM for this when told to"
        case _:
            known = isinstance(step, _STEPS)
            return "" if known else f"the executor does not know {type(step).__name__}"


def _injection(step: Fail, host: Host) -> str:
    site = step.site
    if host.allocating:
        failed = site in _ALLOCATES and step.errno is Errno.ENOMEM and step.nth == 1
        return "" if failed else "no single allocation that fails comes to this"
    if host.functions:
        known = site.value in host.functions
        return "" if known else f"the kernel has no function {site.value} of its own"
    if not host.failing:
        return NO_ERRORS
    if site.value not in host.failing:
        return f"the kernel does not let {site.value} fail"
    # Its result is a pfn: fail_function's errnos are all taken for that of a fault.
    poisoned = site is Site.KVM_FAULTIN_PFN and step.errno is Errno.EHWPOISON
    return "fail_function cannot return a poisoned pfn" if poisoned else ""


def _memory(kind: MemKind, host: Host) -> str:
    if kind in _HUGE_KINDS and host.page_size != _HUGE_PAGES_OF:
        return f"{kind.value}: the host's huge pages are larger than 2 MiB"
    return "" if kind in _MEM_KINDS else f"the executor has no {kind.value}"


def _access(access: Access, address: int, host: Host) -> str:
    if access not in PLAYED:
        return f"the executor does not know {access.value}"
    if access in host.inert:
        return f"{access.value}: the CPU does nothing for it"
    if access in host.lax and address % ACCESS_FACTS[access].aligned:
        return f"{access.value}: the CPU does not look at its alignment, or too late"
    if ACCESS_FACTS[access].direction in _VNCR and host.page_size != PAGE_SIZE:
        # The executor has L2 do it, and KVM hides from L1 the granule of L2's tables.
        return f"{access.value}: no L2 on a host with pages of {host.page_size >> 10} KiB"
    if access in WALKS and address >> _TABLE_BITS:
        return f"{access.value}: TTBR1_EL1 has no room for a table past 2^{_TABLE_BITS}"
    if access is Access.DC_ZVA and host.zva != _ZVA:
        return f"{access.value}: the CPU clears {host.zva} bytes, not {_ZVA}"
    return ""
