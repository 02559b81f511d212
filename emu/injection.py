"""What a case forces on a machine that it would not do by itself: errors, exits, losing a race."""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique

from emu.abi import Errno


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
    GET_USER_MAPPING_SIZE = "get_user_mapping_size"
    PIN_USER_PAGES = "pin_user_pages"


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


@unique
class Point(Enum):
    """A place in the fault path where a vCPU can lose a race; the value is its spelling."""

    ENTRY = "entry"  # before the guest is entered
    WALK = "walk"  # L1's stage 2 was walked, no slot looked up yet
    LOOKUP = "lookup"  # the slot is looked up, the invalidation count not read yet
    PIN = "pin"  # the count is read, the page not looked up yet
    MAP = "map"  # the page is in hand, the fault lock not taken yet
    SWAP = "swap"  # a leaf of L1's is read, its access flag not set yet


@dataclass(frozen=True, slots=True)
class At:
    """The next step takes place when a vCPU reaches this point, in another thread of the VMM.

    That is the next time that any vCPU does. Steps of the guest and of the harness are not moved,
    but for an ``L1Map`` to where L1's tables are walked.
    """

    point: Point
