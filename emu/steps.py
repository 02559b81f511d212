"""The steps of a case: one record for each thing that a VMM, its guest or the host can do."""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import Final

from emu.abi import U64
from emu.access import Access
from emu.injection import At, Fail, ForceAbort, ForceExit

OBJECTS: Final = 8  # memory objects, and guest_memfds, that a case can number: 0 to 7


@unique
class MemKind(Enum):
    """What backs a range of the VMM's own memory."""

    __hash__ = object.__hash__  # as in Access

    ANONYMOUS = "anon"
    FILE = "file"
    SHARED = "shared"  # anonymous and shared: shmem
    THP = "thp"  # anonymous, with transparent huge pages
    HUGETLB = "hugetlb"  # 2 MiB pages
    DEVICE = "device"  # VM_PFNMAP, mapped as device memory
    PFNMAP = "pfnmap"  # VM_PFNMAP, mapped cacheable


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
class UserfaultMode(Enum):
    """What userfaultfd is asked to do about a range of the VMM's memory."""

    MISSING = "missing"  # a page that is not there: the VMM's handler places a zeroed one
    WRITE_PROTECT = "write-protect"  # a write: the handler lifts the protection
    SIGBUS = "sigbus"  # UFFD_FEATURE_SIGBUS: no handler is asked
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Userfault:
    """UFFDIO_REGISTER of a range of the VMM's memory, or UFFDIO_UNREGISTER; size in bytes."""

    mem: Ref
    size: int
    mode: UserfaultMode


@dataclass(frozen=True, slots=True)
class GetDirtyLog:
    """KVM_GET_DIRTY_LOG: the slot's bitmap, which is clear and write-protected afterwards."""

    slot: int


@dataclass(frozen=True, slots=True)
class MemlockLimit:
    """RLIMIT_MEMLOCK of the VMM: 0 where ``on``. Only protected VMs lock the guest's pages."""

    on: bool


@dataclass(frozen=True, slots=True)
class SelectVcpu:
    """The guest's and KVM_RUN's steps that follow are this vCPU's; it is made when first named."""

    index: int


class L1Bit(IntEnum):
    """What L1's stage 2 permits on a page."""

    READ = 1
    WRITE = 2
    EXECUTE = 4


@dataclass(frozen=True, slots=True)
class L1Map:
    """L1 writes a leaf into its stage 2: 2 MiB at level 2 where ``block``, else 4 KiB at level 3.

    ``ipa`` is an address of L2's, aligned down; ``slot`` and ``address`` name L1's as in ``Guest``;
    ``prot`` as in ``L1Bit``. ``old``: its access flag is clear.
    """

    ipa: int
    slot: int | None
    address: int
    prot: int
    block: bool
    old: bool = False


@dataclass(frozen=True, slots=True)
class L1Table:
    """L1 places its stage-2 tables of one level (1 to 3) at this guest-physical address.

    Level 1 is what VTTBR_EL2 points to. Memory of the case holds no descriptors: what can be read
    there is an empty table. ``slot`` and ``address`` as in ``Guest``.
    """

    level: int
    slot: int | None
    address: int


@dataclass(frozen=True, slots=True)
class L1Vtcr:
    """L1 writes VTCR_EL2: 40 bits, or a forbidden geometry; ``hardware_af``: walks set AF (HA)."""

    legal: bool
    hardware_af: bool = False


@dataclass(frozen=True, slots=True)
class GuestL2:
    """L2's program goes on with this access at an address of L2's; L1 enters L2 for it."""

    access: Access
    address: int


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
    | Userfault
    | GetDirtyLog
    | MemlockLimit
    | SelectVcpu
    | At
    | L1Map
    | L1Table
    | L1Vtcr
    | GuestL2
)


def effective_address(guest: Guest | L1Map | L1Table, bases: dict[int, int]) -> int:
    """The guest-physical address that a step names; ``bases``: the one last named for each slot.

    A slot that no step has named starts at 0.
    """
    if guest.slot is None:
        return guest.address
    return (bases.get(guest.slot, 0) + guest.address) & U64
