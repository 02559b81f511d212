"""What ``gff exhaust`` tries: layouts of memory, and for each the steps that can happen to it.

Everything is in the words of a case. A case of the scope is a layout's VM and set-up, and after
them any sequence of its letters, up to a length, that ends with a KVM_RUN. The order of a layout's
letters is the order in which letters that commute are written.
Slot N shows object N, which is its own; addresses of the guest do not move with a slot.
docs/exhaust.md has the table for people, and why each letter stands for what is not here.
"""

from typing import Final, NamedTuple

DEFAULT_STEPS: Final = 6


class Layout(NamedTuple):
    """A VM with its memory, and the letters; ``setup`` and ``letters`` are lines of a case."""

    name: str
    setup: str
    letters: tuple[str, ...]


class Scope(NamedTuple):
    """Layouts, and how many letters a case has at most."""

    layouts: tuple[Layout, ...]
    steps: int


# THE VMM

_LIMIT: Final = ("memory-limit on", "memory-limit off")
_FILE: Final = ("punch gmem0+0x0 size=0x1000", "poison gmem0+0x0", "release gmem0")
_OWN: Final = (
    "poison mem0+0x0",
    "munmap mem0+0x0 size=0x1000",
    "mprotect mem0+0x0 size=0x1000 none",
    "mprotect mem0+0x0 size=0x1000 read",
    "mprotect mem0+0x0 size=0x1000 read-write",
)
_SLOT: Final = ("age slot0", "memslot 0 delete")
_RUNS: Final = ("skip", "run", "run immediate-exit", "run bad-argument")

# ERRORS

_LOOKUP_FAILS: Final = (
    "fail kvm_gmem_get_pfn ENOMEM",
    "fail kvm_gmem_get_pfn EFAULT",
    "fail kvm_gmem_get_pfn EHWPOISON",
    "fail kvm_gmem_get_pfn ENOEXEC",
    "fail kvm_gmem_get_pfn EAGAIN",
)
_PIN_FAILS: Final = ("fail __kvm_faultin_pfn EFAULT", "fail __kvm_faultin_pfn EHWPOISON")
_MAP_FAILS: Final = (
    "fail kvm_mmu_topup_memory_cache ENOMEM",
    "fail kvm_pgtable_stage2_map ENOMEM",
    "fail kvm_pgtable_stage2_map EAGAIN",
)
_RELAX_FAILS: Final = ("fail kvm_pgtable_stage2_relax_perms ENOMEM",)

# THE GUEST

_IN_PAGE: Final = (
    "guest read64 0x40000008",
    "guest write64 0x40000008",
    "guest cas 0x40000008",
    "guest fetch 0x40000008",
    "guest dc-civac 0x40000008",
    "guest walk 0x40000008",
)
_ACROSS_TWO: Final = ("guest read64 0x40000ffc", "guest write-pair 0x40000ff8")
_IN_NEXT_PAGE: Final = ("guest read64 0x40001008", "guest write64 0x40001008")
_IN_HOLE: Final = (
    "guest read64 0x40001008",
    "guest write64 0x40001008",
    "guest read-pair 0x40001008",
    "guest write-pair 0x40001008",
    "guest fetch 0x40001008",
    "guest walk 0x40001008",
)
_OTHER_SLOT: Final = ("guest read64 0x80000008", "guest write-pair 0x80000008")

_GMEM: Final = "create gmem0 size=0x1000 flags=mmap,init-shared\n"
_GMEM_SLOT: Final = "memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd"
_MEM: Final = "create mem0 size=0x1000 anon\n"
_MEM_SLOT: Final = "memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0"

LAYOUTS: Final[tuple[Layout, ...]] = (
    Layout(
        "one page of guest_memfd",
        _GMEM + _GMEM_SLOT,
        (
            *(*_LIMIT, *_FILE, "allocate gmem0+0x0 size=0x1000", *_SLOT, _GMEM_SLOT),
            *(*_LOOKUP_FAILS, *_MAP_FAILS, *_RELAX_FAILS, *_IN_PAGE, *_RUNS),
        ),
    ),
    Layout(
        "guest_memfd and the hole behind it",
        _GMEM + _GMEM_SLOT,
        (
            *(*_LIMIT, *_FILE, "memslot 0 delete", *_LOOKUP_FAILS[:1]),
            *("guest read64 0x40000008", *_ACROSS_TWO, *_IN_HOLE, *_RUNS),
        ),
    ),
    Layout(
        "the same, faults without syndrome to the VMM",
        f"vm nisv-to-user\n{_GMEM}{_GMEM_SLOT}",
        (
            *(*_LIMIT, "release gmem0", "memslot 0 delete", *_LOOKUP_FAILS[:1]),
            *("guest read64 0x40000008", *_ACROSS_TWO, *_IN_HOLE, *_RUNS),
        ),
    ),
    Layout(
        "two pages of guest_memfd",
        "create gmem0 size=0x2000 flags=mmap,init-shared\n"
        "memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd",
        (
            *(*_LIMIT, *_FILE, "punch gmem0+0x1000 size=0x1000", "poison gmem0+0x1000"),
            *("memslot 0 delete", *_LOOKUP_FAILS[:3], "fail kvm_gmem_get_pfn EFAULT nth=2"),
            *("guest read64 0x40000008", "guest write64 0x40000008"),
            *(*_ACROSS_TWO, *_IN_NEXT_PAGE, "guest read-pair 0x40001ff8", *_RUNS),
        ),
    ),
    Layout(
        "guest_memfd that is not shared",
        f"create gmem0 size=0x1000 flags=mmap\n{_GMEM_SLOT}",
        (
            *(*_LIMIT, "punch gmem0+0x0 size=0x1000", "release gmem0", "memslot 0 delete"),
            *(*_LOOKUP_FAILS[:3], *_IN_PAGE, "guest read64 0x40000ffc", *_RUNS),
        ),
    ),
    Layout(
        "one page of the VMM's own memory",
        _MEM + _MEM_SLOT,
        (
            *(*_LIMIT, *_OWN, *_SLOT, _MEM_SLOT),
            *(*_PIN_FAILS, *_MAP_FAILS, *_RELAX_FAILS, *_IN_PAGE, *_RUNS),
        ),
    ),
    Layout(
        "the VMM's own memory, read-only, and the hole behind it",
        f"{_MEM}{_MEM_SLOT} flags=readonly",
        (
            *(*_OWN[:3], "memslot 0 delete", *_PIN_FAILS, *_IN_PAGE, "guest write-pair 0x40000008"),
            *("guest walk-af 0x40000008", *_ACROSS_TWO[:1], *_RUNS),
        ),
    ),
    Layout(
        "the VMM's own memory, writes logged",
        f"{_MEM}{_MEM_SLOT} flags=log-dirty",
        (
            *(*_LIMIT, *_OWN[1:], *_SLOT, _MEM_SLOT, f"{_MEM_SLOT} flags=log-dirty"),
            *("fail kvm_mmu_topup_memory_cache ENOMEM", *_RELAX_FAILS),
            *("guest read64 0x40000008", "guest write64 0x40000008", "guest cas 0x40000008"),
            *("guest walk-af 0x40000008", "skip", "dirty-log slot0", *_RUNS[1:]),
        ),
    ),
    Layout(
        "guest_memfd, and the VMM's own memory right behind it",
        f"{_GMEM}create mem1 size=0x1000 anon\n{_GMEM_SLOT}\n"
        "memslot 1 gpa=0x40001000 size=0x1000 mem1+0x0",
        (
            *(*_LIMIT, *_FILE, "memslot 0 delete", "munmap mem1+0x0 size=0x1000"),
            *("poison mem1+0x0", "memslot 1 delete", *_LOOKUP_FAILS[:3], *_PIN_FAILS),
            *("guest read64 0x40000008", "guest write64 0x40000008"),
            *(*_ACROSS_TWO, *_IN_NEXT_PAGE, *_RUNS),
        ),
    ),
    Layout(
        "two guest_memfds in two slots",
        f"{_GMEM}create gmem1 size=0x1000 flags=mmap,init-shared\n{_GMEM_SLOT}\n"
        "memslot 1 gpa=0x80000000 size=0x1000 gmem1+0x0 flags=guest-memfd",
        (
            *(*_LIMIT, *_FILE, "memslot 0 delete"),
            *("punch gmem1+0x0 size=0x1000", "poison gmem1+0x0", "release gmem1"),
            *("memslot 1 delete", *_LOOKUP_FAILS[:4]),
            *("guest read64 0x40000008", "guest write64 0x40000008"),
            *(*_OTHER_SLOT, *_RUNS),
        ),
    ),
    Layout(
        "no slot at all, until one is made",
        _GMEM.rstrip(),
        (
            *(*_LIMIT, *_FILE, _GMEM_SLOT, "fail kvm_gmem_bind ENOMEM", *_LOOKUP_FAILS[:2]),
            *(*_IN_PAGE, "guest write-pair 0x40000008", *_RUNS),
        ),
    ),
    Layout(
        "guest_memfd, and a vCPU that has not run",
        f"vm cold\n{_GMEM}{_GMEM_SLOT}",
        (
            *(*_LIMIT, *_FILE, "memslot 0 delete", *_LOOKUP_FAILS[:3], *_MAP_FAILS),
            *("fail __kvm_faultin_pfn EFAULT", "fail kvm_arch_vcpu_run_pid_change ENOMEM"),
            *("guest read64 0x40000008", "guest write64 0x40000008", "guest fetch 0x40000008"),
            *("guest walk 0x40000008", *_RUNS),
        ),
    ),
    Layout(
        "guest_memfd, and a vCPU that was not initialized",
        f"vm vcpu=uninitialized\n{_GMEM}{_GMEM_SLOT}",
        (*_LIMIT, *_FILE, *_LOOKUP_FAILS[:2], *_IN_PAGE[:2], *_RUNS),
    ),
    Layout(
        "guest_memfd under a guest that has EL2",
        f"vm nested\n{_GMEM}{_GMEM_SLOT}\nl1-map 0x10000000 0x40000000",
        (
            *(*_LIMIT, *_FILE, "memslot 0 delete", *_LOOKUP_FAILS, "fail kvm_gmem_get_pfn ENOENT"),
            *("l1-map 0x10000000 0x40000000 flags=read", "guest read64 0x40000008"),
            *("guest vncr-read 0x40000008", "guest vncr-write 0x40000008"),
            *("l2 read64 0x10000008", "l2 write64 0x10000008", "l2 read64 0x10001008", *_RUNS),
        ),
    ),
    Layout(
        "the VMM's own memory under a guest that has EL2",
        f"vm nested\n{_MEM}{_MEM_SLOT}\nl1-map 0x10000000 0x40000000",
        (
            *(*_LIMIT, *_OWN[:3], "memslot 0 delete", *_PIN_FAILS, *_MAP_FAILS[:1]),
            *("l1-map 0x10000000 0x40000000 flags=read", "guest read64 0x40000008"),
            *("guest vncr-read 0x40000008", "guest vncr-write 0x40000008"),
            *("l2 read64 0x10000008", "l2 write64 0x10000008", "l2 read64 0x10001008", *_RUNS),
        ),
    ),
)
