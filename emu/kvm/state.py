"""The state that the modelled kernel works on. The kernel classes have none of their own.

Names follow the kernel's structures (struct kvm, kvm_vcpu, kvm_run, kvm_memory_slot, kvm_gmem).
What is made anew for each case and holds collections is a msgspec struct, which is made quickly.
Addresses and sizes are in bytes, gfn and index in pages of the host, pfn as in ``emu.arena``.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from emu.abi import PAGE_SHIFT, PAGE_SIZE, MemFlag
from emu.arena import Arena
from emu.case import VmConfig
from emu.guest import Fault, GuestContext
from emu.injection import Site
from emu.kvm.nested_state import Nested, S2Trans
from emu.races import Races
from emu.stage2 import Stage2
from emu.steps import MemKind, Protection, UserfaultMode

# The host's own limit (facts of its CPU). Above the largest IPA size a case can ask for is nothing
# that the CPU would still translate, so branch A3 needs a host with less than its CPU's 44 bits.
HOST_IPA_BITS: Final = 42
MMU_CACHE_CAPACITY: Final = 40
_READONLY: Final = MemFlag.READONLY  # a plain name, for the hot path

# Where the VMM maps memory object N: far apart, so that no range of one can reach the next.
USER_BASE: Final = 0x1000_0000_0000
USER_STRIDE_SHIFT: Final = 36
USER_TOP: Final = 1 << 48


@dataclass(slots=True)
class KvmRun:
    """The page shared with userspace. ``u0`` to ``u3``: exit union at offsets 32, 40, 48 and 56."""

    exit_reason: int = 0
    flags: int = 0
    u0: int = 0
    u1: int = 0
    u2: int = 0
    u3: int = 0


class Gmem(msgspec.Struct):
    """A guest_memfd file. ``folios`` maps an index to its pfn; ``allocated`` are ranges of indices
    that fallocate() has paid for and nobody has touched; ``bindings`` are (first index, end index,
    slot). ``released`` is set once its last descriptor and mapping are gone.
    """

    size: int
    flags: int
    folios: dict[int, int] = msgspec.field(default_factory=dict)
    allocated: list[tuple[int, int]] = msgspec.field(default_factory=list)
    poisoned: set[int] = msgspec.field(default_factory=set)
    bindings: "list[tuple[int, int, MemorySlot]]" = msgspec.field(default_factory=list)
    released: bool = False

    def is_allocated(self, index: int) -> bool:
        """Whether fallocate() has paid for the page at this index."""
        allocated = self.allocated
        return bool(allocated) and any(start <= index < end for start, end in allocated)


@dataclass(slots=True, eq=False)
class MemorySlot:
    """struct kvm_memory_slot. The slot holds no reference on ``gmem``'s file. ``dirty``: its dirty
    bitmap, as the numbers of the host pages that were written, where it has one.
    """

    id: int
    base: int
    size: int
    flags: int
    userspace_addr: int
    gmem: Gmem | None
    gmem_index: int
    dirty: set[int] | None = None

    @property
    def readonly(self) -> bool:
        """KVM_MEM_READONLY."""
        return bool(self.flags & _READONLY)


@dataclass(slots=True)
class Vma:
    """A stretch of a memory object with one protection; offsets in bytes, ``end`` exclusive."""

    start: int
    end: int
    protection: Protection
    kind: MemKind


@dataclass(slots=True)
class Registration:
    """A range of a memory object that userfaultfd watches; ``end`` exclusive. ``unit``: the size of
    its pages. ``lifted``: the numbers of those that are no longer write-protected.
    """

    start: int
    end: int
    mode: UserfaultMode
    unit: int
    lifted: set[int] = field(default_factory=set)


class Huge(NamedTuple):
    """What is where in a memory object that can have huge pages, by 2 MiB numbers.

    ``real``: a huge page. ``zero``: the huge zero page. ``tables``: a page table, for small pages.
    ``poisoned``: a page of hugetlbfs with a memory error.
    """

    real: set[int]
    zero: set[int]
    tables: set[int]
    poisoned: set[int]


class UserMemory(msgspec.Struct):
    """One memory object of the VMM: its mappings, and the pages that exist behind them. ``zeros``
    are the pages for which the zero page stands, or stood before it was written.
    """

    kind: MemKind
    file_size: int
    vmas: list[Vma]
    pages: dict[int, int] = msgspec.field(default_factory=dict)
    poisoned: set[int] = msgspec.field(default_factory=set)
    zeros: set[int] = msgspec.field(default_factory=set)
    userfaults: list[Registration] = msgspec.field(default_factory=list)
    huge: Huge | None = None

    def vma(self, offset: int) -> Vma | None:
        """The mapping that holds this byte, if one does."""
        for vma in self.vmas:
            if vma.start <= offset < vma.end:
                return vma
        return None


@dataclass(slots=True)
class Injection:
    """An errno that waits for the nth call of a function."""

    site: Site
    errno: int
    remaining: int


class Kvm(msgspec.Struct):
    """struct kvm, with the parts of the host that matter to it.

    ``page_size`` and ``page_shift`` are the host's, as in ``config``.
    """

    config: VmConfig
    arena: Arena
    stage2: Stage2
    memslots: list[MemorySlot] = msgspec.field(default_factory=list)
    gmems: dict[int, Gmem] = msgspec.field(default_factory=dict)
    memory: dict[int, UserMemory] = msgspec.field(default_factory=dict)
    ioeventfds: set[tuple[int, int]] = msgspec.field(default_factory=set)
    injections: list[Injection] = msgspec.field(default_factory=list)
    injected: bool = False
    userfaults: int = 0  # resolved by the VMM's handler so far
    memory_limit: bool = False
    memlock_limit: bool = False
    vm_dead: bool = False
    hyp_vm: bool = False  # pKVM's own part of a protected VM is there: a vCPU has run
    mmu_invalidate_seq: int = 0
    races: Races | None = None  # where the case has other threads
    page_size: int = PAGE_SIZE
    page_shift: int = PAGE_SHIFT
    nested: Nested | None = None  # where the guest has EL2

    def inject(self, site: Site) -> int:
        """The errno that this call of ``site`` must fail with, or 0. Counts the call."""
        for injection in self.injections:
            if injection.site is site:
                injection.remaining -= 1
                if injection.remaining == 0:
                    self.injections.remove(injection)
                    self.injected = True
                    return injection.errno
        return 0

    def charge_page(self) -> int | None:
        """A zeroed page charged to the VMM's cgroup, or None where its memory.max forbids it."""
        return None if self.memory_limit else self.arena.allocate()


@dataclass(slots=True)
class Vcpu:
    """struct kvm_vcpu. ``requests`` are the ``RunFlag`` bits of the current KVM_RUN."""

    kvm: Kvm
    guest: GuestContext
    hw_mmu: Stage2  # what it runs under: the VM's, or the shadow of L1's
    run: KvmRun = field(default_factory=KvmRun)
    fault: Fault = field(default_factory=Fault)
    ran_once: bool = False
    mmio_needed: bool = False
    mmu_page_cache: int = 0
    requests: int = 0
    signal_pending: bool = False
    sigbus: bool = False
    index: int = 0
    s2_trans: S2Trans | None = None  # of the abort that is served, if it is L2's


def user_address(index: int, offset: int) -> int:
    """The VMM's virtual address of a byte of memory object ``index`` (not reduced)."""
    return USER_BASE + (index << USER_STRIDE_SHIFT) + offset


def user_object(hva: int) -> tuple[int, int]:
    """Memory object and byte offset at a VMM address; the object need not exist."""
    relative = hva - USER_BASE
    return relative >> USER_STRIDE_SHIFT, relative & (1 << USER_STRIDE_SHIFT) - 1
