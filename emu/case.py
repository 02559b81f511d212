"""The case: what a VMM and its guest do, step by step, on either kind of machine.

A case is a VM configuration and a list of steps. Any step may be deleted and the rest is still a
case: nothing refers to another step, only to things by number (memory object, guest_memfd, slot),
and what is not there answers as the kernel would (EBADF, EINVAL, no slot).
The two spellings are ``emu.text`` (people, git) and ``emu.wire`` (the fuzzer).
"""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import Final

from emu.abi import U64, Errno
from emu.access import Access

OBJECTS: Final = 8  # memory objects, and guest_memfds, that a case can number: 0 to 7


@unique
class VcpuState(Enum):
    """How far the VMM got with its vCPU before the first step."""

    READY = "ready"
    UNINITIALIZED = "uninitialized"  # no KVM_ARM_VCPU_INIT
    UNFINALIZED = "unfinalized"  # SVE asked for, no KVM_ARM_VCPU_FINALIZE


IPA_BITS: Final = (32, 36, 40, 42)


@dataclass(frozen=True, slots=True)
class VmConfig:
    """What is fixed when the VM is made. ``cold``: no warm-up KVM_RUN before the first step, so
    that the vCPU's page-table cache is still empty.
    """

    ipa_bits: int = 40
    nisv_to_user: bool = False
    sea_to_user: bool = False
    cold: bool = False
    vcpu: VcpuState = VcpuState.READY


@unique
class MemKind(Enum):
    """What backs a range of the VMM's own memory."""

    ANONYMOUS = "anon"
    FILE = "file"


@unique
class Protection(Enum):
    """mprotect()'s argument."""

    NONE = "none"
    READ = "read"
    READ_WRITE = "read-write"


@dataclass(frozen=True, slots=True)
class Ref:
    """A byte in a numbered object: memory object, guest_memfd or slot, and offset in bytes.

    The offset is taken modulo 2**64: a slot reference may point below the slot.
    """

    index: int
    offset: int


@dataclass(frozen=True, slots=True)
class CreateGmem:
    """KVM_CREATE_GUEST_MEMFD; ``flags`` as in ``GmemFlag``, unknown bits allowed; size in bytes."""

    index: int
    size: int
    flags: int


@dataclass(frozen=True, slots=True)
class CreateMem:
    """mmap() of ``size`` bytes of the VMM's memory, readable and writable, not yet populated."""

    index: int
    size: int
    kind: MemKind


@dataclass(frozen=True, slots=True)
class SetMemslot:
    """KVM_SET_USER_MEMORY_REGION2, or the first version of it where ``v1``.

    ``slot`` is the whole field: address space in its high 16 bits. ``size`` 0 deletes.
    ``flags`` as in ``MemFlag``, unknown bits allowed. ``mem`` gives userspace_addr, ``gmem`` the
    guest_memfd and its offset; whether GUEST_MEMFD is set is ``flags``' business alone.
    """

    slot: int
    gpa: int
    size: int
    flags: int
    mem: Ref | None
    gmem: Ref | None
    v1: bool = False


@dataclass(frozen=True, slots=True)
class PunchHole:
    """fallocate(PUNCH_HOLE | KEEP_SIZE) on a guest_memfd; size in bytes."""

    gmem: Ref
    size: int


@dataclass(frozen=True, slots=True)
class Allocate:
    """fallocate(KEEP_SIZE) on a guest_memfd; size in bytes."""

    gmem: Ref
    size: int


@dataclass(frozen=True, slots=True)
class ReleaseGmem:
    """Close the last descriptor of a guest_memfd and unmap it: its file goes, its slots stay."""

    index: int


@dataclass(frozen=True, slots=True)
class PoisonGmem:
    """A memory error in the guest_memfd's page that holds this byte; populated first."""

    gmem: Ref


@dataclass(frozen=True, slots=True)
class PoisonMem:
    """A memory error in the page of the VMM's memory that holds this byte; populated first."""

    mem: Ref


@dataclass(frozen=True, slots=True)
class Unmap:
    """munmap() of a range of the VMM's memory; size in bytes."""

    mem: Ref
    size: int


@dataclass(frozen=True, slots=True)
class Protect:
    """mprotect() of a range of the VMM's memory; size in bytes."""

    mem: Ref
    size: int
    protection: Protection


@dataclass(frozen=True, slots=True)
class Truncate:
    """ftruncate() of the file behind the VMM's memory; size in bytes. EBADF where it is none."""

    index: int
    size: int


@dataclass(frozen=True, slots=True)
class Age:
    """The host clears the access flag of every page that the slot has mapped."""

    slot: int


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """memory.max of the VMM's cgroup: 0 where ``on``, with nobody the OOM killer may take."""

    on: bool


@dataclass(frozen=True, slots=True)
class IoEventFd:
    """KVM_IOEVENTFD: guest writes of ``size`` bytes at ``gpa`` are the kernel's to complete."""

    gpa: int
    size: int


@unique
class Site(Enum):
    """Kernel functions at which an errno can be injected; the value is the kernel's spelling."""

    KVM_GMEM_GET_PFN = "kvm_gmem_get_pfn"
    KVM_MMU_TOPUP_MEMORY_CACHE = "kvm_mmu_topup_memory_cache"
    KVM_PGTABLE_STAGE2_MAP = "kvm_pgtable_stage2_map"
    KVM_PGTABLE_STAGE2_RELAX_PERMS = "kvm_pgtable_stage2_relax_perms"
    KVM_FAULTIN_PFN = "__kvm_faultin_pfn"
    KVM_GMEM_BIND = "kvm_gmem_bind"
    KVM_ARCH_VCPU_RUN_PID_CHANGE = "kvm_arch_vcpu_run_pid_change"


@dataclass(frozen=True, slots=True)
class Fail:
    """Inject ``errno`` at the ``nth`` call of ``site`` from here on (1 is the next), once."""

    site: Site
    errno: Errno
    nth: int


@unique
class CpuExit(Enum):
    """Why the next guest entry ends, in place of the guest's own doing."""

    IRQ = "irq"
    SERROR = "serror"
    ILLEGAL_RETURN = "illegal-return"
    HYP_GONE = "hyp-gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ForceExit:
    """The next guest entry ends at once with this exit code. No real machine can be asked to."""

    exit: CpuExit


class AbortBit(IntEnum):
    """What else is unusual about an abort that the CPU is made to report."""

    HPFAR_INVALID = 1
    FNV = 2
    S1PTW = 4
    LST = 8  # ESR[12:11] not 0: a 64-byte load or store


@dataclass(frozen=True, slots=True)
class ForceAbort:
    """The guest's next access aborts at stage 2, and the CPU reports ``fsc`` as its status."""

    fsc: int
    bits: int


@dataclass(frozen=True, slots=True)
class Guest:
    """The guest's program goes on with this access.

    The effective address is ``address`` where ``slot`` is None, else ``address`` is an offset from
    the guest-physical address that the latest memslot step before this one named for the slot.
    """

    access: Access
    slot: int | None
    address: int


class RunFlag(IntEnum):
    """What is special about one KVM_RUN."""

    IMMEDIATE_EXIT = 1
    BAD_ARGUMENT = 2  # the ioctl's argument is 1
    OTHER_MM = 4  # called from a process with another mm
    SIGNAL = 8  # a signal is pending
    KILLED = 16  # killed while it waits for the vCPU's mutex
    VM_DEAD = 32  # KVM_REQ_VM_DEAD is pending
    SUSPEND = 64  # KVM_REQ_SUSPEND is pending
    DIRTY_RING_FULL = 128
    IRQ_LINE = 256  # the userspace irqchip's view of a line is out of date
    CPU_UNSUPPORTED = 512  # on a physical CPU that this VM cannot use


@dataclass(frozen=True, slots=True)
class Run:
    """One KVM_RUN. The guest goes on where it was: after a fault, that is the same access again."""

    flags: int


@dataclass(frozen=True, slots=True)
class Skip:
    """The VMM moves the guest's PC past the access that it is at."""


@dataclass(frozen=True, slots=True)
class MmioData:
    """What the VMM answers to a pending MMIO read; little-endian in ``mmio.data``."""

    value: int


Step = (
    CreateGmem
    | CreateMem
    | SetMemslot
    | PunchHole
    | Allocate
    | ReleaseGmem
    | PoisonGmem
    | PoisonMem
    | Unmap
    | Protect
    | Truncate
    | Age
    | MemoryLimit
    | IoEventFd
    | Fail
    | ForceExit
    | ForceAbort
    | Guest
    | Run
    | Skip
    | MmioData
)


@dataclass(frozen=True, slots=True)
class Case:
    """A VM and the steps done to it, in order."""

    vm: VmConfig
    steps: tuple[Step, ...]


def effective_address(guest: Guest, bases: dict[int, int]) -> int:
    """Where ``guest`` touches memory; ``bases`` maps a slot to the address last named for it.

    A slot that no step has named starts at 0.
    """
    if guest.slot is None:
        return guest.address
    return (bases.get(guest.slot, 0) + guest.address) & U64
