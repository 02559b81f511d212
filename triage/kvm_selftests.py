"""What KVM's other selftests assert, as cases with the outcomes that they want.

Source: tools/testing/selftests/kvm, as of Linux 7.3.4. What cannot be said in a case is left out:

external_aborts: mmio_abort, mmio_ease and the four of SError need KVM_SET_VCPU_EVENTS.
guest_memfd_test: what mmap(), read(), mbind() and fstat() do to the VMM never meets the guest.
set_memory_region_test: another VM's file; a zero-memslot run, for the harness has a slot.
private_mem_kvm_exits_test, pre_fault_memory_test: x86 and s390, of which arm64 has nothing.
"""

from typing import Final, NamedTuple

from emu.steps import MemKind

ALL: Final = (MemKind.ANONYMOUS, MemKind.SHARED, MemKind.THP, MemKind.HUGETLB)
HUGE: Final = (MemKind.THP, MemKind.HUGETLB)


class Assertion(NamedTuple):
    """One thing that a selftest asserts.

    In ``steps``, {kind} and {size} are those of the backing; without ``kinds`` there is none.
    ``expected``: lines as in a case file.
    """

    test: str
    name: str
    rule: str
    kinds: tuple[MemKind, ...]
    steps: str
    expected: tuple[str, ...]


_MEMORY: Final = """
create mem0 size={size} {kind}
memslot 0 gpa=0x40000000 size={size} mem0+0x0
"""
_GMEM: Final = """
create gmem0 size=0x4000 flags=mmap,init-shared
"""
_DONE: Final = "0 MMIO doorbell"
_EFAULT: Final = "-1 EFAULT UNKNOWN"
_FIRST_FLAG: Final = 3  # no region flag has this bit yet, nor one above it

ASSERTIONS: Final = (
    Assertion(
        "memslot_modification_stress_test",
        "other-slot",
        "A slot comes and goes, and the guest of another one does not notice.",
        ALL,
        f"""{_MEMORY}
create mem1 size={{size}} {{kind}}
guest write64 slot0+0x0
run
memslot 1 gpa=0x50000000 size={{size}} mem1+0x0
guest write64 slot0+0x1000
run
memslot 1 delete
guest read64 slot0+0x0
run""",
        (f"run 1: {_DONE}", f"run 2: {_DONE}", f"run 3: {_DONE}"),
    ),
    Assertion(
        "memslot_modification_stress_test",
        "other-slot-within-a-fault",
        "The same while the guest is inside a fault.",
        ALL,
        f"""{_MEMORY}
create mem1 size={{size}} {{kind}}
guest write64 slot0+0x0
at pin
memslot 1 gpa=0x50000000 size={{size}} mem1+0x0
run
memslot 0 delete
{_MEMORY.splitlines()[-1]}
guest read64 slot0+0x0
at map
memslot 1 delete
run""",
        (f"run 1: {_DONE}", f"run 2: {_DONE}"),
    ),
    Assertion(
        "mmu_stress_test",
        "skipped",
        "A write to PROT_READ memory fails each time it is tried, and can be skipped.",
        ALL,
        f"""{_MEMORY}
guest write64 slot0+0x0
run
mprotect mem0+0x0 size={{size}} read
guest write64 slot0+0x0
run
run
skip
guest read64 slot0+0x0
run""",
        (f"run 1: {_DONE}", f"run 2: {_EFAULT}", f"run 3: {_EFAULT}", f"run 4: {_DONE}"),
    ),
    Assertion(
        "mmu_stress_test",
        "writable-again",
        "A write to PROT_READ memory succeeds once the memory is writable again.",
        ALL,
        f"""{_MEMORY}
mprotect mem0+0x0 size={{size}} read
guest read64 slot0+0x0
guest write64 slot0+0x0
run
mprotect mem0+0x0 size={{size}} read-write
run""",
        (f"run 1: {_EFAULT}", f"run 2: {_DONE}"),
    ),
    Assertion(
        "external_aborts",
        "mmio-nisv",
        "No syndrome, and nobody who would like to know.",
        (),
        "guest read-post-index 0x60000000\nrun",
        ("run 1: -1 ENOSYS UNKNOWN",),
    ),
    Assertion(
        "external_aborts",
        "mmio-nisv-abort",
        "No syndrome, and a VMM that asked for KVM_EXIT_ARM_NISV.",
        (),
        "vm nisv-to-user\nguest read-post-index 0x60000000\nrun",
        ("run 1: 0 ARM_NISV iss=0x5 ipa=0x60000000",),
    ),
    Assertion(
        "external_aborts",
        "s1ptw-abort",
        "A stage-1 table where no memory is: an external abort of the guest that names its level.",
        (),
        "guest walk 0x60000000\nrun",
        (f"run 1: {_DONE} exception=0x96000015",),
    ),
    Assertion(
        "sea_to_user",
        "reported",
        "A synchronous external abort that the host does not handle is the VMM's.",
        (),
        """
vm sea-to-user
create mem0 size=0x1000 anon
memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0
force-abort fsc=0x10
guest read64 slot0+0x10
run""",
        ("run 1: 0 ARM_SEA flags=0x1 esr=0x92000010 gva=0x40000010 gpa=0x40000000",),
    ),
    *(
        Assertion(
            "mmio_sign_ext",
            f"ldrs{letter}",
            "A sign-extending load: its size reaches the VMM, its extension is KVM's business.",
            (),
            f"""
guest read-signed{8 * size} 0x60000000
run
mmio-data {1 << 8 * size - 1:#x}
run""",
            (f"run 1: 0 MMIO gpa=0x60000000 len={size} read", f"run 2: {_DONE}"),
        )
        for letter, size in (("b", 1), ("h", 2), ("w", 4))
    ),
    Assertion(
        "stage2_block_transitions",
        "collapse",
        "Pages that dirty logging has split become a block again.",
        HUGE,
        f"""{_MEMORY.rstrip()} flags=log-dirty
guest write64 slot0+0x0
guest write64 slot0+0x1000
run
{_MEMORY.splitlines()[-1]}
guest write64 slot0+0x2000
run
guest read64 slot0+0x0
run""",
        (f"run 1: {_DONE}", f"run 2: {_DONE}", f"run 3: {_DONE}"),
    ),
    Assertion(
        "stage2_block_transitions",
        "exec-split",
        "A fetch from a block that was mapped for data.",
        HUGE,
        f"""{_MEMORY}
guest write64 slot0+0x0
run
guest fetch slot0+0x1000
run
guest write64 slot0+0x1000
run""",
        (f"run 1: {_DONE}", f"run 2: {_DONE}", f"run 3: {_DONE}"),
    ),
    Assertion(
        "guest_memfd_test",
        "flags",
        "Flags that no guest_memfd has.",
        (),
        "\n".join(f"create gmem0 size=0x1000 flags={1 << bit:#x}" for bit in range(2, 64)),
        tuple(f"step {number}: EINVAL" for number in range(1, 63)),
    ),
    Assertion(
        "guest_memfd_test",
        "sizes",
        "Sizes that are not whole pages.",
        (),
        "\n".join(f"create gmem0 size={size:#x}" for size in (0, 1, 0x800, 0xFFF, 0x1001, 0x1800)),
        tuple(f"step {number}: EINVAL" for number in range(1, 7)),
    ),
    Assertion(
        "guest_memfd_test",
        "allocate",
        "Whole pages inside the file can be allocated, and nothing else.",
        (),
        f"""{_GMEM}
allocate gmem0+0x0 size=0x4000
allocate gmem0+0xfff size=0x1000
allocate gmem0+0x4000 size=0x1000
allocate gmem0+0x5000 size=0x1000
punch gmem0+0x4000 size=0x1000
punch gmem0+0x5000 size=0x1000
punch gmem0+0x1000 size=0xfff
punch gmem0+0x1000 size=0x1000
allocate gmem0+0x1000 size=0x1000""",
        ("step 3: EINVAL", "step 4: EINVAL", "step 5: EINVAL", "step 8: EINVAL"),
    ),
    Assertion(
        "guest_memfd_test",
        "punch",
        "Holes that are not whole pages.",
        (),
        _GMEM
        + "\n".join(
            f"punch gmem0+{offset:#x} size={size:#x}"
            for offset, sizes in (
                (0, (1, 0xFFF, 0x1001)),
                (1, (1, 0xFFF, 0x1000, 0x1001)),
                (0x1000, (1, 0xFFF, 0x1001)),
            )
            for size in sizes
        ),
        tuple(f"step {number}: EINVAL" for number in range(2, 12)),
    ),
    Assertion(
        "guest_memfd_test",
        "bind",
        "A slot must take whole pages of the file, inside it, that no other slot has.",
        (),
        f"""{_GMEM}
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x1 flags=guest-memfd
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x3000 flags=guest-memfd
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
memslot 1 gpa=0x50000000 size=0x2000 gmem0+0x1000 flags=guest-memfd
memslot 1 gpa=0x50000000 size=0x2000 gmem0+0x2000 flags=guest-memfd""",
        ("step 2: EINVAL", "step 3: EINVAL", "step 5: EEXIST"),
    ),
    Assertion(
        "guest_memfd_test",
        "guest",
        "A guest loads from guest_memfd and stores to it, at 4 GiB.",
        (),
        f"""{_GMEM}
memslot 1 gpa=0x100000000 size=0x4000 gmem0+0x0 flags=guest-memfd
guest read64 slot1+0x0
guest write64 slot1+0x0
guest read64 slot1+0x3000
run""",
        (f"run 1: {_DONE}",),
    ),
    Assertion(
        "set_memory_region_test",
        "flags",
        "Flags that no region has, and GUEST_MEMFD with those that it excludes.",
        (),
        f"""{_GMEM}
create mem0 size=0x4000 anon
{{unknown}}
memslot 0 gpa=0x40000000 size=0x4000 gmem0+0x0 flags=log-dirty,guest-memfd
memslot 0 gpa=0x40000000 size=0x4000 gmem0+0x0 flags=readonly,guest-memfd""".replace(
            "{unknown}",
            "\n".join(
                f"memslot 0 gpa=0x40000000 size=0x4000 mem0+0x0 flags={1 << bit:#x}"
                for bit in range(_FIRST_FLAG, 32)
            ),
        ),
        tuple(f"step {number}: EINVAL" for number in range(3, 3 + 32 - _FIRST_FLAG + 2)),
    ),
    Assertion(
        "set_memory_region_test",
        "too-many",
        "The id above the last slot's.",
        (),
        "create mem0 size=0x1000 anon\nmemslot 32767 gpa=0x40000000 size=0x1000 mem0+0x0",
        ("step 2: EINVAL",),
    ),
    Assertion(
        "dirty_log_test",
        "again",
        "A page is on the log once for each time that it was written since the log was read.",
        ALL,
        f"""{_MEMORY.rstrip()} flags=log-dirty
guest write64 slot0+0x1000
run
dirty-log slot0
guest read64 slot0+0x1000
run
dirty-log slot0
guest write64 slot0+0x1000
guest write64 slot0+0x0
run
dirty-log slot0
{_MEMORY.splitlines()[-1]}
dirty-log slot0""",
        (
            f"run 1: {_DONE}",
            f"run 2: {_DONE}",
            f"run 3: {_DONE}",
            "step 5: dirty 1",
            "step 8: clean",
            "step 12: dirty 0,1",
            "step 14: ENOENT",
        ),
    ),
    Assertion(
        "access_tracking_perf_test",
        "aged",
        "A page that the host has aged.",
        ALL,
        f"""{_MEMORY}
guest write64 slot0+0x0
run
age slot0
guest read64 slot0+0x0
guest write64 slot0+0x1000
run""",
        (f"run 1: {_DONE}", f"run 2: {_DONE}"),
    ),
    Assertion(
        "demand_paging_test",
        "missing",
        "Each page that is not there is the VMM's to place, once.",
        tuple(kind for kind in ALL if kind not in HUGE),
        f"""{_MEMORY}
userfault mem0+0x0 size={{size}} missing
guest read64 slot0+0x0
guest write64 slot0+0x1000
run
guest write64 slot0+0x0
run""",
        (f"run 1: {_DONE} userfaults=2", f"run 2: {_DONE}"),
    ),
    Assertion(
        "vcpu_run_complete_io",
        "immediate-exit",
        "immediate_exit completes a pending MMIO read and runs nothing.",
        (),
        """
guest read64 0x60000000
run
mmio-data 0x1
run immediate-exit
run""",
        (
            "run 1: 0 MMIO gpa=0x60000000 len=8 read",
            "run 2: -1 EINTR MMIO gpa=0x60000000 len=8 read moved changed",
            f"run 3: {_DONE}",
        ),
    ),
)
