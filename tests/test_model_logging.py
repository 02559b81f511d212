"""userfaultfd, dirty logging and the access flag of a stage-1 descriptor, on Linux 7.3.4.

A row is a case and the lines that a corpus file would expect of it.
"""

import pytest

from emu import text
from emu.casefile import expected_lines
from emu.expectation import dump_line
from emu.kernels import KERNELS
from emu.model import Model
from emu.steps import MemKind

ANON = """
create mem0 size=0x3000 anon
memslot 0 gpa=0x40000000 size=0x3000 mem0+0x0
"""
LOGGED = ANON.rstrip() + " flags=log-dirty\n"
HUGE = """
create mem0 size=0x200000 {kind}
memslot 0 gpa=0x40000000 size=0x200000 mem0+0x0
"""
DONE = "0 MMIO doorbell"
EFAULT = "-1 EFAULT UNKNOWN"

USERFAULTS = [
    (
        "each page that is not there is placed once",
        ANON
        + "userfault mem0+0x0 size=0x3000 missing\n"
        + "guest read64 slot0+0x0\nguest write64 slot0+0x0\nguest fetch slot0+0x1000\nrun\nrun",
        [f"run 1: {DONE} userfaults=2", f"run 2: {DONE}"],
    ),
    (
        "a page that is there is not missing, and neither is one that shows zeros",
        ANON
        + "guest write64 slot0+0x0\nguest read64 slot0+0x1000\nrun\n"
        + "userfault mem0+0x0 size=0x3000 missing\n"
        + "guest write64 slot0+0x0\nguest write64 slot0+0x1000\nrun",
        [f"run 1: {DONE}", f"run 2: {DONE}"],
    ),
    (
        "a range that is not watched is the host's business",
        ANON
        + "userfault mem0+0x1000 size=0x1000 missing\n"
        + "guest write64 slot0+0x0\nguest write64 slot0+0x2000\nguest read64 slot0+0x1ffc\nrun",
        [f"run 1: {DONE} userfaults=1"],
    ),
    (
        "what was unmapped, or is watched no longer, is not reported",
        ANON
        + "userfault mem0+0x0 size=0x3000 missing\nuserfault mem0+0x0 size=0x1000 off\n"
        + "munmap mem0+0x1000 size=0x1000\n"
        + "guest read64 slot0+0x0\nguest write64 slot0+0x2000\nguest read64 slot0+0x1000\nrun",
        [f"run 1: {EFAULT} userfaults=1"],
    ),
    (
        "what is mapped anew is not watched",
        ANON
        + "userfault mem0+0x0 size=0x3000 missing\ncreate mem0 size=0x3000 anon\n"
        + "guest write64 slot0+0x0\nrun",
        [f"run 1: {DONE}"],
    ),
    (
        "a stage-1 table that is missing is placed too",
        ANON
        + "userfault mem0+0x0 size=0x3000 missing\n"
        + "guest walk slot0+0x0\nguest at-walk slot0+0x1000\nguest walk-af slot0+0x2000\nrun",
        [f"run 1: {DONE} userfaults=3"],
    ),
    (
        "without a handler a missing page is SIGBUS for the host, and EFAULT here",
        ANON
        + "userfault mem0+0x0 size=0x3000 sigbus\nguest read64 slot0+0x0\nrun\nrun\n"
        + "userfault mem0+0x0 size=0x3000 off\nrun",
        [f"run 1: {EFAULT}", f"run 2: {EFAULT}", f"run 3: {DONE}"],
    ),
    (
        "PROT_NONE wins over a handler",
        ANON
        + "userfault mem0+0x0 size=0x3000 missing\nmprotect mem0+0x0 size=0x1000 none\n"
        + "guest read64 slot0+0x0\nrun",
        [f"run 1: {EFAULT}"],
    ),
    (
        "the end of a file wins over a handler",
        (
            "create mem0 size=0x3000 file\nmemslot 0 gpa=0x40000000 size=0x3000 mem0+0x0\n"
            "userfault mem0+0x0 size=0x3000 missing\ntruncate mem0 size=0x1000\n"
            "guest read64 slot0+0x0\nguest read64 slot0+0x1000\nrun"
        ),
        [f"run 1: {EFAULT} userfaults=1"],
    ),
    (
        "a handler that has no page gives up, and the host has none either",
        ANON
        + "userfault mem0+0x0 size=0x3000 missing\nmemory-limit on\n"
        + "guest read64 slot0+0x0\nguest write64 slot0+0x1000\nrun",
        [f"run 1: {EFAULT}"],
    ),
    (
        "a write to a protected page is reported once, a read is not",
        ANON
        + "guest write64 slot0+0x0\nrun\nuserfault mem0+0x0 size=0x2000 write-protect\n"
        + "guest read64 slot0+0x0\nguest read64 slot0+0x1000\nrun\n"
        + "guest write64 slot0+0x0\nguest write64 slot0+0x8\nguest write64 slot0+0x1000\n"
        + "guest write64 slot0+0x2000\nrun",
        [f"run 1: {DONE}", f"run 2: {DONE}", f"run 3: {DONE} userfaults=2"],
    ),
    (
        "protection that is not watched any more is lifted",
        ANON
        + "userfault mem0+0x0 size=0x3000 write-protect\nguest read64 slot0+0x0\nrun\n"
        + "userfault mem0+0x0 size=0x3000 off\nguest write64 slot0+0x0\nrun",
        [f"run 1: {DONE}", f"run 2: {DONE}"],
    ),
    (
        "a page that is protected again is reported again",
        ANON
        + "userfault mem0+0x0 size=0x3000 write-protect\nguest write64 slot0+0x0\nrun\n"
        + "userfault mem0+0x0 size=0x3000 write-protect\nguest write64 slot0+0x0\nrun",
        [f"run 1: {DONE} userfaults=1", f"run 2: {DONE} userfaults=1"],
    ),
    (
        "a part of a transparent huge page is protected: only its page is split off",
        HUGE.format(kind="thp")
        + "guest write64 slot0+0x0\nrun\nuserfault mem0+0x0 size=0x200000 write-protect\n"
        + "guest write64 slot0+0x0\nguest write64 slot0+0x1000\nguest write64 slot0+0x8\nrun",
        [f"run 1: {DONE}", f"run 2: {DONE} userfaults=2"],
    ),
    (
        "a page of hugetlbfs is protected as a whole",
        HUGE.format(kind="hugetlb")
        + "guest write64 slot0+0x0\nrun\nuserfault mem0+0x0 size=0x200000 write-protect\n"
        + "guest write64 slot0+0x0\nguest write64 slot0+0x1000\nrun",
        [f"run 1: {DONE}", f"run 2: {DONE} userfaults=1"],
    ),
    (
        "a page of hugetlbfs is placed as a whole",
        HUGE.format(kind="hugetlb")
        + "userfault mem0+0x0 size=0x200000 missing\n"
        + "guest write64 slot0+0x0\nguest write64 slot0+0x1000\nrun",
        [f"run 1: {DONE} userfaults=1"],
    ),
    (
        "where huge pages could be, a handler still places small ones",
        HUGE.format(kind="thp")
        + "userfault mem0+0x0 size=0x200000 missing\n"
        + "guest read64 slot0+0x0\nguest write64 slot0+0x1000\nrun",
        [f"run 1: {DONE} userfaults=2"],
    ),
    (
        "a larger host's page is placed as a whole",
        (
            "vm page-size=16k\ncreate mem0 size=0x8000 anon\n"
            "memslot 0 gpa=0x40000000 size=0x8000 mem0+0x0\n"
            "userfault mem0+0x0 size=0x8000 missing\n"
            "guest read64 slot0+0x0\nguest read64 slot0+0x3000\nguest read64 slot0+0x4000\nrun"
        ),
        [f"run 1: {DONE} userfaults=2"],
    ),
    (
        "what cannot be registered",
        (
            "create mem0 size=0x2000 anon\n"
            "create mem1 size=0x2000 device\n"
            "create mem2 size=0x200000 hugetlb\n"
            "munmap mem0+0x1000 size=0x1000\n"
            "userfault mem0+0x0 size=0x0 missing\n"
            "userfault mem0+0x800 size=0x1000 missing\n"
            "userfault mem0+0x0 size=0x800 missing\n"
            "userfault mem0+0x1000 size=0x1000 missing\n"
            "userfault mem1+0x0 size=0x1000 missing\n"
            "userfault mem2+0x0 size=0x1000 missing\n"
            "userfault mem3+0x0 size=0x1000 off\n"
            "userfault mem0+0x0 size=0xfffffffff000 missing\n"
            "userfault mem0+0x0 size=0x2000 missing"
        ),
        [f"step {number}: EINVAL" for number in range(5, 13)],
    ),
]

DIRTY_LOGS = [
    (
        "a store, not a load, is logged, and once for each time that the log was read",
        LOGGED
        + "guest read64 slot0+0x0\nguest write64 slot0+0x1000\nguest cas slot0+0x2000\nrun\n"
        + "dirty-log slot0\ndirty-log slot0\nguest read64 slot0+0x1000\n"
        + "guest write64 slot0+0x2000\nrun\ndirty-log slot0",
        [
            f"run 1: {DONE}",
            f"run 2: {DONE}",
            "step 7: dirty 1,2",
            "step 8: clean",
            "step 12: dirty 2",
        ],
    ),
    (
        "a store that crosses a page is logged in both",
        LOGGED + "guest write64 slot0+0xffc\nrun\ndirty-log slot0",
        [f"run 1: {DONE}", "step 5: dirty 0,1"],
    ),
    (
        "logging that begins later protects what is mapped, and not against fetches",
        ANON
        + "guest write64 slot0+0x0\nguest fetch slot0+0x0\nrun\n"
        + "memslot 0 gpa=0x40000000 size=0x3000 mem0+0x0 flags=log-dirty\ndirty-log slot0\n"
        + "fail kvm_pgtable_stage2_relax_perms ENOMEM\nguest fetch slot0+0x0\nrun\n"
        + "guest write64 slot0+0x0\nrun\nrun\ndirty-log slot0",
        [
            f"run 1: {DONE}",
            f"run 2: {DONE}",
            "run 3: -1 ENOMEM UNKNOWN injected",
            f"run 4: {DONE} injected",
            "step 7: clean",
            "step 14: dirty 0",
        ],
    ),
    (
        "the bitmap goes with the flag, and a new one is clean",
        LOGGED
        + "guest write64 slot0+0x0\nrun\n"
        + "memslot 0 gpa=0x40000000 size=0x3000 mem0+0x0\ndirty-log slot0\n"
        + "memslot 0 gpa=0x40000000 size=0x3000 mem0+0x0 flags=log-dirty\ndirty-log slot0",
        [f"run 1: {DONE}", "step 6: ENOENT", "step 8: clean"],
    ),
    (
        "a slot that moves takes its bitmap along",
        LOGGED
        + "guest write64 slot0+0x1000\nrun\n"
        + "memslot 0 gpa=0x50000000 size=0x3000 mem0+0x0 flags=log-dirty\ndirty-log slot0",
        [f"run 1: {DONE}", "step 6: dirty 1"],
    ),
    (
        "a deleted slot has no log",
        LOGGED + "memslot 0 delete\ndirty-log slot0",
        ["step 4: ENOENT"],
    ),
    (
        "slots without a log, and numbers that no slot has",
        ANON + "dirty-log slot0\ndirty-log slot1\ndirty-log slot32767\ndirty-log slot65536",
        ["step 3: ENOENT", "step 4: ENOENT", "step 5: EINVAL", "step 6: EINVAL"],
    ),
    (
        "the log of a VM that is dead",
        LOGGED + "run vm-dead\ndirty-log slot0",
        ["run 1: -1 EIO UNKNOWN", "step 4: EIO"],
    ),
    (
        "a fault that fails is not logged",
        LOGGED
        + "fail kvm_pgtable_stage2_map ENOMEM\nguest write64 slot0+0x0\nrun\ndirty-log slot0\n"
        + "run\ndirty-log slot0",
        [
            "run 1: -1 ENOMEM UNKNOWN injected",
            f"run 2: {DONE} injected",
            "step 6: clean",
            "step 8: dirty 0",
        ],
    ),
    (
        "neither is one that the tables put off",
        LOGGED
        + "force-abort fsc=0xf\nfail kvm_pgtable_stage2_map ENOMEM\n"
        + "guest write64 slot0+0x0\nrun\ndirty-log slot0",
        ["run 1: -1 ENOMEM UNKNOWN injected", "step 7: clean"],
    ),
    (
        "a read-only slot is never dirty",
        ANON.rstrip()
        + " flags=log-dirty,readonly\n"
        + "guest read64 slot0+0x0\nguest write64 slot0+0x0\nrun\nrun\ndirty-log slot0",
        ["run 1: 0 MMIO gpa=0x40000000 len=8 write=0x0", f"run 2: {DONE}", "step 7: clean"],
    ),
    (
        "what userfaultfd places is not logged",
        LOGGED
        + "userfault mem0+0x0 size=0x3000 missing\n"
        + "guest read64 slot0+0x0\nguest write64 slot0+0x1000\nrun\ndirty-log slot0",
        [f"run 1: {DONE} userfaults=2", "step 7: dirty 1"],
    ),
    (
        "a VNCR page is logged when it is mapped, by a read too, and again after the log was read",
        "vm nested"
        + LOGGED
        + "guest vncr-write slot0+0x0\nrun\ndirty-log slot0\nguest vncr-read slot0+0x8\nrun\n"
        + "dirty-log slot0\nguest vncr-read slot0+0x8\nguest read64 slot0+0x1000\nrun\n",
        [
            f"run 1: {DONE}",
            f"run 2: {DONE}",
            f"run 3: {DONE}",
            "step 5: dirty 0",
            "step 8: dirty 0",
        ],
    ),
    (
        "pages of a larger host",
        (
            "vm page-size=64k\ncreate mem0 size=0x30000 anon\n"
            "memslot 0 gpa=0x40000000 size=0x30000 mem0+0x0 flags=log-dirty\n"
            "guest write64 slot0+0x1000\nguest write64 slot0+0x2f000\nrun\ndirty-log slot0"
        ),
        [f"run 1: {DONE}", "step 6: dirty 0,2"],
    ),
]

ACCESS_FLAGS = [
    (
        "a walk reads its table, and logs it only where it sets the access flag",
        LOGGED
        + "guest walk slot0+0x0\nguest at-walk slot0+0x1000\nguest walk-af slot0+0x2007\nrun\n"
        + "dirty-log slot0",
        [f"run 1: {DONE}", "step 7: dirty 2"],
    ),
    (
        "a table in a read-only slot cannot be updated",
        ANON.rstrip() + " flags=readonly\nguest walk slot0+0x0\nguest walk-af slot0+0x0\nrun",
        [f"run 1: {DONE} exception=0x96000015"],
    ),
    (
        "a table that the VMM may only read cannot be updated",
        ANON
        + "mprotect mem0+0x0 size=0x1000 read\nguest walk slot0+0x0\nguest walk-af slot0+0x0\nrun",
        [f"run 1: {EFAULT}"],
    ),
    (
        "an update is a write fault on a protected page",
        ANON
        + "userfault mem0+0x0 size=0x3000 write-protect\n"
        + "guest walk slot0+0x0\nguest walk-af slot0+0x0\nrun",
        [f"run 1: {DONE} userfaults=1"],
    ),
    (
        "a table beyond what the CPU can address",
        "guest walk-af 0x100000000000\nrun",
        [f"run 1: {DONE} exception=0x96000000"],
    ),
]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def lines(model: Model, source: str) -> list[str]:
    outcomes = model.run(text.load(source), KERNELS["v7.3"])
    return [dump_line(line) for line in expected_lines(outcomes, {})]


@pytest.mark.parametrize(("name", "source", "expected"), USERFAULTS)
def test_userfaultfd_reports_what_it_was_asked_to(
    model: Model, name: str, source: str, expected: list[str]
) -> None:
    assert lines(model, source) == expected, name


@pytest.mark.parametrize(("name", "source", "expected"), DIRTY_LOGS)
def test_a_dirty_log_has_the_pages_that_were_written(
    model: Model, name: str, source: str, expected: list[str]
) -> None:
    assert lines(model, source) == expected, name


@pytest.mark.parametrize(("name", "source", "expected"), ACCESS_FLAGS)
def test_an_access_flag_that_the_cpu_sets_is_a_write_to_its_table(
    model: Model, name: str, source: str, expected: list[str]
) -> None:
    assert lines(model, source) == expected, name


@pytest.mark.parametrize("kind", ["anon", "shared", "file", "thp", "hugetlb"])
def test_logging_a_slot_of_any_kind_maps_pages(model: Model, kind: str) -> None:
    assert kind in {each.value for each in MemKind}
    source = HUGE.format(kind=kind) + (
        "guest write64 slot0+0x0\nrun\n"
        "memslot 0 gpa=0x40000000 size=0x200000 mem0+0x0 flags=log-dirty\n"
        "guest write64 slot0+0x1ff000\nguest read64 slot0+0x3000\nrun\ndirty-log slot0\n"
        "memslot 0 gpa=0x40000000 size=0x200000 mem0+0x0\nguest write64 slot0+0x5000\nrun\n"
    )
    assert lines(model, source) == [*(f"run {n}: {DONE}" for n in (1, 2, 3)), "step 9: dirty 511"]
