"""After a fault exit: the guest as before, what can be served is, and memory errors (C12, C15,
C16).
"""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import Errno, ExitReason
from emu.outcome import IDLE, RunOutcome
from tests.handmade import (
    ABORT,
    ANON,
    DONE,
    FAULT,
    GMEM,
    GPA,
    MF,
    MMIO,
    NISV,
    NO_MEMORY,
    POISONED,
    READ,
    READONLY,
    RECORD,
    RELEASED,
    REPORT,
    UNKNOWN,
    condemned,
    outcome,
)

ENDED: Final = ExitReason.SYSTEM_EVENT
# Where L1 maps nothing for L2, although L2's own address is in a slot.
L2_LOST: Final = (
    "vm nested\n" + GMEM + "l1-map 0x10000000 slot0+0x0 flags=read,write\nrelease gmem0\n"
    "l2 read64 0x40000010\nrun\n"
)
POISON: Final = outcome(-1, Errno.EHWPOISON, MF, RECORD)
ENOSYS: Final = outcome(-1, Errno.ENOSYS, UNKNOWN)
LOAD: Final = "guest read64 slot1+0x0\nrun\n"
STORE: Final = "guest write64 slot1+0x0\nrun\n"
HOLE: Final = "guest cas 0x60000010\nrun\n"
BAD_PAGES: Final = RELEASED.replace("read64 slot0+0x10", "{} slot0+0xff8")

AS_BEFORE: Final = [
    # The PC, or a register, after each kind of fault exit.
    (RELEASED, replace(REPORT, moved=True), ["C12"]),
    (RELEASED, replace(REPORT, changed=True), ["C12"]),
    (POISONED, replace(POISON, moved=True), ["C12"]),
    ("memory-limit on\n" + READ, replace(NO_MEMORY, moved=True), ["C12"]),
    (HOLE, replace(ENOSYS, access=0, changed=True), ["C12"]),
    (
        "vm nisv-to-user\n" + HOLE,
        outcome(0, 0, NISV, (5, 0x60000010, 0, 0), moved=True),
        ["C12"],
    ),
    (RELEASED, REPORT, []),
    # A signal is no fault exit; a forced exit may do anything.
    (RELEASED, outcome(-1, Errno.EINTR, UNKNOWN, moved=True), []),
    ("force-exit irq\n" + RELEASED, replace(REPORT, moved=True), []),
    ("force-abort fsc=0x7\n" + RELEASED, replace(REPORT, moved=True), []),
    (RELEASED, outcome(0, Errno.EFAULT, ENDED, moved=True), []),
    (READ, replace(FAULT, access=IDLE, changed=True), []),
    # The first page of a pair may have been loaded; that of a load or a store may not.
    (BAD_PAGES.format("read-pair"), replace(REPORT, changed=True), []),
    (BAD_PAGES.format("write-pair"), replace(REPORT, changed=True), ["C12"]),
    (BAD_PAGES.format("read-pair").replace("ff8", "ff0"), replace(REPORT, changed=True), ["C12"]),
    (BAD_PAGES.format("read-pair"), replace(REPORT, moved=True), ["C12"]),
    (BAD_PAGES.format("read-simd-multiple"), replace(REPORT, changed=True), []),
    (BAD_PAGES.format("casp"), replace(REPORT, changed=True), []),
    (L2_LOST.replace("read64", "read-pair"), replace(FAULT, changed=True), []),
]

OTHERS: Final = (
    "",
    "munmap mem1+0x0 size=0x1000\n",
    "mprotect mem1+0x0 size=0x1000 none\n",
    "poison mem1+0x0\n",
    "userfault mem1+0x0 size=0x1000 missing\n",
    "truncate mem1 size=0x0\n",
)
SERVED: Final = [
    # Nothing keeps these from being served.
    (READ, FAULT, ["C12"]),
    (READ, REPORT, ["C12"]),
    (ANON + LOAD, FAULT, ["C12"]),
    (ANON + STORE, FAULT, ["C12"]),
    (READONLY + LOAD, FAULT, ["C12"]),
    *((ANON.replace("anon", kind) + LOAD, FAULT, ["C12"]) for kind in ("file", "shared", "thp")),
    (ANON + LOAD.replace("+0x0", "+0x1000"), FAULT, ["C12"]),
    # What happens to other memory is no reason.
    *((ANON + f"create mem1 size=0x800 anon\n{event}" + LOAD, FAULT, ["C12"]) for event in OTHERS),
    (ANON + "mprotect mem0+0x1000 size=0x1000 none\n" + LOAD, FAULT, ["C12"]),
    (ANON + "munmap mem0+0x0 size=0x1000\n" + LOAD.replace("+0x0", "+0x1000"), FAULT, ["C12"]),
    (ANON + "munmap mem0+0x800 size=0x0\n" + LOAD, FAULT, ["C12"]),
    # The cause was undone.
    ("memory-limit on\nmemory-limit off\n" + READ, NO_MEMORY, ["C12"]),
    (POISONED.replace("guest r", "punch gmem0+0x0 size=0x1000\nguest r"), POISON, ["C12"]),
    (ANON + "mprotect mem0+0x0 size=0x1000 read\nmprotect mem0+0x0 size=0x1000 read-write\n"
     + STORE, FAULT, ["C12"]),
    (ANON + "munmap mem0+0x0 size=0x1000\ncreate mem0 size=0x2000 anon\n" + LOAD, FAULT, ["C12"]),
    # Something does, or may.
    (RELEASED, REPORT, []),
    (READ, NO_MEMORY, []),
    ("memory-limit on\n" + READ, REPORT, []),
    ("fail kvm_gmem_get_pfn EIO nth=9\n" + READ, REPORT, []),
    ("force-abort fsc=0x7\n" + READ, FAULT, []),
    (READ.replace("run\n", "run signal\n"), FAULT, []),
    (READ.replace("mmap,init-shared", "mmap"), REPORT, []),
    ("vm mte\n" + ANON + LOAD, FAULT, []),
    ("vm protected\n" + ANON + LOAD, FAULT, []),
    (ANON.replace("anon", "hugetlb") + LOAD, FAULT, []),
    (ANON.replace("anon", "device") + LOAD, FAULT, []),
    (ANON.replace("size=0x2000 anon", "size=0x800 anon") + LOAD, FAULT, []),
    (ANON + "munmap mem0+0x0 size=0x1000\n" + LOAD, FAULT, []),
    (ANON + "munmap mem0+0x1000 size=0x1000\n" + LOAD, FAULT, ["C12"]),
    (ANON + "mprotect mem0+0x0 size=0x1000 none\n" + LOAD, FAULT, []),
    (ANON + "mprotect mem0+0x0 size=0x1000 read\n" + STORE, FAULT, []),
    (ANON + "mprotect mem0+0x0 size=0x1000 read\n" + LOAD, FAULT, ["C12"]),
    (ANON + "mprotect mem0+0x0 size=0x1000 read\nguest walk slot1+0x0\nrun\n", FAULT, ["C12"]),
    (ANON + "mprotect mem0+0x0 size=0x1000 read\nguest walk-af slot1+0x0\nrun\n", FAULT, []),
    (ANON + "munmap mem0+0x0 size=0x1000\nmunmap mem0+0x1000 size=0x1000\n" + LOAD, FAULT, []),
    ("memslot 1 gpa=0x50000000 size=0x2000 mem0+0x0\n" + LOAD, FAULT, []),
    (ANON + "munmap mem0+0x0 size=0x1\n" + LOAD, FAULT, []),
    (ANON + "poison mem0+0x0\n" + LOAD, FAULT, []),
    (ANON + "userfault mem0+0x0 size=0x1000 sigbus\n" + LOAD, FAULT, []),
    (ANON.replace("anon", "file") + "truncate mem0 size=0x0\n" + LOAD, FAULT, []),
    (READ, outcome(0, Errno.EFAULT, ENDED), []),
    ("force-exit irq\n" + READ, FAULT, []),
    (READ.replace("read64", "prefetch"), FAULT, []),
    (L2_LOST.replace("release gmem0\n", ""), FAULT, []),
    (L2_LOST.replace("release gmem0\n", "").replace("l2 read64 0x40", "l2 read64 0x10"), FAULT, []),
    (READ + "memory-limit on\n", NO_MEMORY, []),
    (
        ANON + "guest read-pair slot1+0x0\nrun\n",
        replace(ENOSYS, exceptions=((2, ABORT),)),
        ["C10", "C13"],
    ),
    # One page of two.
    (ANON + "munmap mem0+0x1000 size=0x1000\nguest read64 slot1+0xffc\nrun\n", FAULT, []),
    ("guest read64 0x60000000\nrun\n", replace(FAULT, access=0), []),
]  # fmt: skip

MEMORY_ERRORS: Final = [
    # C15: told of a page that never had one.
    (POISONED, POISON, []),
    (RELEASED, POISON, ["C15"]),
    (READ, POISON, ["C15"]),
    (POISONED.replace("poison gmem0+0x0", "poison gmem0+0x1000"), POISON, ["C15"]),
    (ANON + LOAD, outcome(-1, Errno.EHWPOISON, UNKNOWN), ["C15"]),
    (ANON + "poison mem0+0x0\n" + LOAD, outcome(-1, Errno.EHWPOISON, UNKNOWN), []),
    ("fail kvm_gmem_get_pfn EHWPOISON\n" + READ, POISON, []),
    ("fail kvm_gmem_get_pfn EIO\n" + READ, POISON, ["C15"]),
    ("force-abort fsc=0x7\n" + READ, POISON, []),
    (L2_LOST, POISON, []),
    (READ, replace(outcome(-1, Errno.EHWPOISON, UNKNOWN), access=IDLE), []),
    # C16: told by another errno.
    (POISONED, REPORT, ["C16"]),
    ("vm protected\n" + POISONED, REPORT, []),
    (POISONED + "release gmem0\nrun\n", REPORT, []),
    ("memory-limit on\n" + POISONED, REPORT, []),
    ("fail kvm_gmem_get_pfn EFAULT\n" + POISONED, REPORT, []),
    (POISONED.replace("slot0+0x10", "slot0+0xffc"), REPORT, []),
    ("force-abort fsc=0x7\n" + POISONED, REPORT, []),
    ("fail kvm_gmem_bind ENOMEM nth=9\n" + POISONED, REPORT, ["C16"]),
    (L2_LOST.replace("release gmem0", "poison gmem0+0x0"), REPORT, []),
]


@pytest.mark.parametrize(("source", "run", "clauses"), [*AS_BEFORE, *SERVED, *MEMORY_ERRORS])
def test_a_fault_exit_is_condemned_by_these_clauses(
    source: str, run: RunOutcome, clauses: list[str]
) -> None:
    assert condemned(source, run) == clauses


def test_a_poisoning_that_was_refused_may_have_been_done_all_the_same() -> None:
    assert condemned(POISONED, POISON, refused=(2,)) == []


def test_a_refused_mprotect_may_have_changed_a_part() -> None:
    source = ANON + "mprotect mem0+0x0 size=0x9000 none\n" + LOAD
    assert condemned(source, FAULT, refused=(2,)) == []
    assert (
        condemned(
            source.replace("mem0+0x0 size=0x9000", "mem0+0x1000 size=0x9000"), FAULT, refused=(2,)
        )
        == []
    )
    assert condemned(ANON + LOAD, FAULT, refused=(0,)) == []
    file = ANON.replace("anon", "file") + "truncate mem0 size=0x0\n"
    assert condemned(file + LOAD, FAULT, refused=(2,)) == ["C12"]


def test_a_file_number_that_is_used_again_is_another_file() -> None:
    source = GMEM + "create gmem0 size=0x2000 flags=mmap,init-shared\n"
    assert condemned(source + "guest read64 slot0+0x10\nrun\n", REPORT) == []


def test_a_retry_that_succeeds_is_cleared() -> None:
    source = "memory-limit on\n" + READ + "memory-limit off\nrun\n"
    assert condemned(source, NO_MEMORY, DONE) == []
    record = (0, GPA, 0x1000, 0)
    assert condemned(source, NO_MEMORY, outcome(-1, Errno.EFAULT, MF, record)) == ["C12"]


def test_a_guest_may_be_past_an_access_that_the_vmm_has_emulated() -> None:
    source = "guest read64 0x60000010\nrun\nrun\n"
    exit_ = outcome(0, 0, MMIO, (0x60000010, 0, 8, 0))
    failed = replace(FAULT, before=MMIO, moved=True, changed=True)
    assert condemned(source, exit_, failed) == []
    assert condemned(source, exit_, replace(failed, before=UNKNOWN)) == ["C12"]
    again = replace(failed, before=UNKNOWN)
    assert condemned(source + "run\n", exit_, failed, again) == []
    assert condemned(source + "run\n", exit_, again, again) == ["C12", "C12"]
    another = "guest read64 0x60000010\nrun\nguest read64 0x60000020\nrun\n"
    assert condemned(another, exit_, failed) == ["C12"]


def test_what_the_vmm_emulates_for_another_vcpu_is_not_this_ones() -> None:
    source = ANON + "guest read64 0x60000010\nrun\nvcpu 1\nguest read64 0x60000020\nrun\n"
    runs = [outcome(0, 0, MMIO, (gpa, 0, 8, 0)) for gpa in (0x60000010, 0x60000020)]
    failed = replace(FAULT, before=MMIO, moved=True, changed=True, access=2)
    assert condemned(source + "vcpu 0\nrun\n", *runs, failed) == []
