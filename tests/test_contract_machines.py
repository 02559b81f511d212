"""The clauses on machines of other kinds: nested, VNCR, large pages, races, vCPUs, logging."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import DOORBELL, Errno, ExitReason
from emu.outcome import IDLE, RunOutcome
from fuzz.oracle.judge import judge
from fuzz.oracle.view import Timeline
from tests.handmade import (
    ANON,
    DONE,
    FAULT,
    GMEM,
    GPA,
    HANG,
    MF,
    MMIO,
    NISV,
    READ,
    RECORD,
    REPORT,
    UNKNOWN,
    condemned,
    outcome,
    played,
)

RELEASE: Final = "release gmem0\n"
L2: Final = "vm nested\n" + GMEM + "l1-map 0x10000000 slot0+0x1000 flags=read,write\n"
L2_READ: Final = L2 + RELEASE + "l2 read64 0x10000010\nrun\n"
L2_LOST: Final = L2_READ.replace("0x10000010", "0x40000010")
VNCR: Final = "vm nested\n" + GMEM + RELEASE + "guest vncr-read slot0+0x8\nrun\n"
VNCR_RECORD: Final = outcome(0, 0, MF, RECORD)


def _report(gpa: int, size: int = 0x1000, ret: int = -1, errno: int = Errno.EFAULT) -> RunOutcome:
    return outcome(ret, errno, MF, (0, gpa, size, 0))


NESTED: Final = [
    # L2's fault is told by L1's page, not by L2's, and not by another.
    (L2_READ, _report(GPA + 0x1000), []),
    (L2_READ, _report(0x10000000), ["C4"]),
    (L2_READ, _report(GPA), ["C4"]),
    (L2_READ, FAULT, ["C5"]),
    # A block leads as far as 2 MiB.
    (
        L2_READ.replace("slot0+0x1000 flags=read,write", "slot0+0x0 flags=read block").replace(
            "0x10000010", "0x10001010"
        ),
        _report(GPA + 0x1000),
        [],
    ),
    # Where L1 maps nothing, or its tables cannot be walked, nobody knows.
    (L2_READ.replace("0x10000010", "0x20000010"), _report(GPA), []),
    (L2_READ.replace("l2", "l1-vtcr illegal\nl2"), _report(GPA), []),
    (L2_READ.replace("l2", "l1-table 3 0x60000000\nl2"), _report(GPA), []),
    (L2_READ.replace("0x10000010", "0x10000ffc"), _report(GPA), []),
    # ... not even where L2's own address is in a slot.
    (L2_LOST, _report(GPA, 0), []),
    (L2_LOST, FAULT, []),
    (L2_LOST, outcome(-1, Errno.ENOMEM, UNKNOWN, RECORD), []),
    # An exit for emulation is in L1's addresses.
    (
        "vm nested\nl1-map 0x10000000 0x60000000 flags=read\nl2 read64 0x10000010\nrun\n",
        outcome(0, 0, MMIO, (0x60000010, 0, 8, 0), access=1),
        [],
    ),
    (
        "vm nested\nl1-map 0x10000000 0x60000000 flags=read\nl2 read64 0x10000010\nrun\n",
        outcome(0, 0, MMIO, (0x10000010, 0, 8, 0), access=1),
        ["C13"],
    ),
    # L1's tables are out of reach: an error for the VMM and an exception for L1.
    (
        L2_READ.replace("l2", "l1-table 3 0x60000000\nl2"),
        replace(FAULT, moved=True, exceptions=((5, 0x82000015),)),
        ["C10"],
    ),
    # L2's accesses are of the same program.
    (
        L2 + "l2 read64 0x10000010\n" + RELEASE + "guest read64 slot0+0x10\nrun\n",
        _report(GPA + 0x1000),
        ["C3"],
    ),
    (
        "vm nested\n"
        + GMEM
        + "l2 read64 0x40001010\n"
        + RELEASE
        + "guest read64 slot0+0x10\nrun\n",
        _report(GPA + 0x1000),
        ["C4"],
    ),
    # A hang of L2's; but which of L1's permissions maintenance needs is the CPU's matter.
    (L2_READ, HANG, ["C11"]),
    (L2_READ.replace("read64", "dc-civac"), HANG, []),
    # L1's VNCR page.
    (VNCR, VNCR_RECORD, ["C1"]),
    (VNCR, _report(GPA), []),
    (VNCR, _report(GPA + 0x8), ["C4"]),
    (VNCR, FAULT, ["C5"]),
    (VNCR, outcome(0, 0, UNKNOWN), ["C6"]),
    (VNCR, outcome(-1, Errno.ENOMEM, MF, RECORD), ["C2"]),
    ("vm nested\n" + GMEM + "guest vncr-read slot0+0x8\nrun\n", _report(GPA), []),
]

LARGE: Final = (
    "vm page-size=16k\ncreate gmem0 size=0x8000 flags=mmap,init-shared\n"
    "memslot 0 gpa=0x40000000 size=0x8000 gmem0+0x0 flags=guest-memfd\n"
    "release gmem0\nguest read64 slot0+0x5010\nrun\n"
)
PAGES: Final = [
    (LARGE, _report(GPA + 0x4000, 0x4000), []),
    (LARGE, _report(GPA + 0x5000, 0x4000), ["C4"]),
    (LARGE, _report(GPA + 0x5000, 0x1000), ["C4"]),
    (LARGE, _report(GPA + 0x4000, 0x1000), ["C4"]),
    (LARGE, _report(GPA, 0x4000), ["C4"]),
]

PUNCHED: Final = GMEM + "poison gmem0+0x0\n"
RACED: Final = "guest read64 slot0+0x10\nrun\n"
RACES: Final = [
    # Either of two worlds may be the one: both must condemn.
    (GMEM + "guest read64 slot0+0x10\nat pin\nrelease gmem0\nrun\n", REPORT, []),
    (GMEM + "guest read64 slot0+0x10\nat pin\nage slot0\nrun\n", REPORT, ["C12"]),
    (GMEM + "at pin\nrelease gmem0\n" + RACED, FAULT, []),
    (GMEM + "release gmem0\nat pin\npunch gmem0+0x0 size=0x1000\n" + RACED, FAULT, ["C5"]),
    (GMEM + "at pin\nrelease gmem0\n" + RACED, _report(GPA, 0), ["C4"]),
    (PUNCHED + "at map\npunch gmem0+0x0 size=0x1000\n" + RACED, REPORT, []),
    # A slot that is deleted or moved is gone for a while.
    (
        GMEM + "guest read64 slot0+0x10\nat lookup\nmemslot 0 delete\nrun\n",
        outcome(0, 0, MMIO, (GPA + 0x10, 0, 8, 0)),
        [],
    ),
    (
        ANON + "guest read64 slot1+0x0\nat lookup\nmemslot 1 gpa=0x50001000 size=0x2000 mem0+0x0\n"
        "run\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        [],
    ),
    (
        ANON + "guest read64 slot1+0x0\nat lookup\n"
        "memslot 1 gpa=0x50000000 size=0x2000 mem0+0x0 flags=log-dirty\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        [],
    ),
    (
        ANON + "guest read64 slot1+0x0\nat lookup\nmunmap mem0+0x0 size=0x1000\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        ["C13"],
    ),
    # After a second change, or where addresses hang on the first, nothing is known.
    (
        GMEM + "release gmem0\nat pin\nage slot0\n" + "at pin\nrelease gmem0\n" + RACED,
        _report(GPA, 0),
        [],
    ),
    (GMEM + "at pin\nrelease gmem0\nmemory-limit on\n" + RACED, _report(GPA, 0), []),
    (GMEM + "at pin\nmemslot 0 delete\n" + RACED, _report(GPA, 0), []),
    # A KVM_RUN of another vCPU may be moved past what follows.
    (GMEM + "guest read64 slot0+0x10\nat pin\nvcpu 0\nrun\n", REPORT, []),
    (
        GMEM + "at pin\nmemslot 0 gpa=0x40001000 size=0x1000 gmem0+0x0 flags=guest-memfd\n"
        "guest read64 slot0+0x0\nrun\nguest read64 slot0+0x8\n",
        outcome(-1, Errno.EFAULT, MF),
        [],
    ),
    (
        GMEM + ANON + "at pin\nmemslot 0 delete\nguest read64 slot1+0x0\nrun\n",
        outcome(-1, Errno.EFAULT, MF),
        ["C3", "C12"],
    ),
    (GMEM + RELEASE + "guest read64 slot0+0x10\nat pin\nmemslot 0 delete\nrun\n", REPORT, []),
    # An access of L2's is the guest's own, and changes nothing; a race of nothing is none.
    (
        L2 + RELEASE + "at pin\nage slot0\nl2 read64 0x10000010\nrun\n",
        _report(GPA + 0x1000, 0),
        ["C4"],
    ),
    (READ + "at map\n", FAULT, ["C12"]),
    # What needs no scene is judged all the same.
    (
        GMEM + "at pin\nrelease gmem0\nmemory-limit on\n" + RACED,
        outcome(-1, Errno.ENOMEM, MF, RECORD),
        ["C2"],
    ),
]  # fmt: skip

LOGGED: Final = ANON.replace("mem0+0x0\n", "mem0+0x0 flags=log-dirty\n")
WRITE: Final = LOGGED + "guest write64 slot1+0x10\nrun\n"
READ_LOG: Final = "dirty-log slot1\n"
L2_WRITE: Final = "l1-map 0x10000000 slot1+0x0 flags=read,write\nl2 write64 0x10000010"
LOGS: Final = [
    (WRITE + READ_LOG, ((0,),), []),
    (WRITE + READ_LOG, ((0, 1),), []),
    (WRITE + READ_LOG, ((),), ["C14"]),
    (WRITE + READ_LOG, ((1,),), ["C14"]),
    (WRITE.replace("+0x10", "+0xffc") + READ_LOG, ((0,),), ["C14"]),
    (WRITE.replace("+0x10", "+0xffc") + READ_LOG, ((0, 1),), []),
    (WRITE.replace("write64", "cas") + READ_LOG, ((),), ["C14"]),
    (WRITE.replace("write64", "walk-af") + READ_LOG, ((),), ["C14"]),
    (
        WRITE.replace("guest write64", "guest read64 slot1+0x10\nguest walk-af") + READ_LOG,
        ((),),
        ["C14"],
    ),
    (WRITE.replace("+0x10", "+0x1ffc") + READ_LOG, ((1,),), []),
    # Asked of the next log, and not of a later one.
    (WRITE + READ_LOG + READ_LOG, ((0,), ()), []),
    (WRITE + READ_LOG + "guest write64 slot1+0x10\nrun\n" + READ_LOG, ((0,), ()), ["C14"]),
    # A walk sets the flag of a descriptor once.
    (
        WRITE.replace("write64", "walk-af")
        + READ_LOG
        + "guest walk-af slot1+0x10\nrun\n"
        + READ_LOG,
        ((0,), ()),
        [],
    ),
    # No store; no log; another slot meanwhile; a race.
    (WRITE.replace("write64", "read64") + READ_LOG, ((),), []),
    (WRITE.replace("write64", "dc-civac") + READ_LOG, ((),), []),
    (WRITE.replace(" flags=log-dirty", "") + READ_LOG, ((),), []),
    (WRITE.replace("log-dirty", "log-dirty,readonly") + READ_LOG, ((),), []),
    (WRITE + "memslot 1 delete\n" + READ_LOG, ((),), []),
    (WRITE + "memslot 2 gpa=0x60000000 size=0x1000 mem0+0x0\n" + READ_LOG, ((),), ["C14"]),
    (WRITE + "dirty-log slot2\n" + READ_LOG, ((0,), ()), ["C14"]),
    (WRITE + "dirty-log slot2\n" + READ_LOG, ((), (0,)), []),
    ("vm nested\n" + WRITE.replace("guest write64 slot1+0x10", L2_WRITE) + READ_LOG, ((),), []),
    ("vm nested\n" + WRITE.replace("write64", "vncr-write") + READ_LOG, ((),), []),
    (
        "vm page-size=16k\n"
        + WRITE.replace("0x2000", "0x8000").replace("+0x10", "+0x4010")
        + READ_LOG,
        ((1,),),
        [],
    ),
    (WRITE + "at map\n" + READ_LOG, ((),), []),
]


@pytest.mark.parametrize(("source", "run", "clauses"), [*NESTED, *PAGES, *RACES])
def test_a_fault_is_condemned_by_these_clauses(
    source: str, run: RunOutcome, clauses: list[str]
) -> None:
    assert condemned(source, run) == clauses


@pytest.mark.parametrize(("source", "logs", "clauses"), LOGS)
def test_a_log_is_condemned_by_these_clauses(
    source: str, logs: tuple[tuple[int, ...], ...], clauses: list[str]
) -> None:
    assert condemned(source, logs=logs) == clauses


@pytest.mark.parametrize(
    "stopped",
    [
        replace(FAULT, exceptions=((2, 0x96000010),), access=IDLE),  # the access was given up
        replace(DONE, exceptions=((2, 0x96000010),)),
        FAULT,  # the guest is at it still
        outcome(-1, Errno.EINTR, UNKNOWN, access=IDLE),  # nobody knows where it is
        outcome(-1, Errno.EINTR, MMIO, (DOORBELL, 0, 0, 0), access=IDLE),
        outcome(0, 0, ExitReason.SYSTEM_EVENT, (DOORBELL, 0, 0, 0), access=IDLE),
    ],
)
def test_a_write_that_was_not_finished_need_not_be_logged(stopped: RunOutcome) -> None:
    assert "C14" not in condemned(WRITE + READ_LOG, stopped, logs=((),))


def test_a_write_that_was_skipped_or_emulated_need_not_be_logged() -> None:
    source = WRITE + "skip\nrun\n" + READ_LOG
    assert condemned(source, FAULT, DONE, logs=((),)) == ["C12"]  # of the fault alone
    told = outcome(0, 0, NISV, (5, 0x50000010, 0, 0))
    assert "C14" not in condemned(WRITE + "run\n" + READ_LOG, told, DONE, logs=((),))
    gone = replace(FAULT, moved=True)
    assert "C14" not in condemned(WRITE + "run\n" + READ_LOG, gone, DONE, logs=((),))
    # A call that ends before the guest runs leaves the access as it is: emulated, not done yet.
    killed = outcome(-1, Errno.EINTR, NISV, (5, 0x50000010, 0, 0))
    source = WRITE + "run killed\nrun\n" + READ_LOG
    assert "C14" not in condemned(source, told, killed, DONE, logs=((),))


def test_after_a_place_that_is_unknown_nothing_is_known_to_be_done() -> None:
    lost = outcome(-1, Errno.EINTR, UNKNOWN, access=IDLE)
    assert condemned(WRITE + "run\n" + READ_LOG, lost, DONE, logs=((),)) == []
    source = GMEM + "guest read64 slot0+0x1000\nrun\nrelease gmem0\nguest read64 slot0+0x0\nrun\n"
    past = replace(_report(GPA + 0x1000), exceptions=((2, 0x86000021),))
    assert condemned(source, lost, past) == ["C3"]


def test_what_was_refused_is_no_part_of_the_program() -> None:
    assert condemned(WRITE + READ_LOG, logs=((),), refused=(2,)) == []
    assert "C14" not in condemned(WRITE + READ_LOG, FAULT, logs=((),), refused=(2,))
    source = LOGGED + "vcpu 1\nguest write64 slot1+0x0\nrun\n" + READ_LOG
    case, outcomes = played(source, logs=((),), refused=(2,))
    alone = replace(outcomes, runs=tuple(replace(run, vcpu=0) for run in outcomes.runs))
    assert [breach.clause for breach in judge(case, alone)] == ["C14"]


@pytest.mark.parametrize("esr", [0x82000006, 0x92000006])
def test_an_exception_of_l2s_access_comes_from_a_lower_level(esr: int) -> None:
    runs = replace(_report(GPA + 0x1000), moved=True), replace(DONE, exceptions=((4, esr),))
    assert condemned(L2_READ + "run\n", *runs) == ["C10"]


def test_a_timeline_goes_back_as_well() -> None:
    timeline = Timeline(*played(READ, FAULT))
    for step in (4, 1, 3, 2):
        scene = timeline.at(step)
        page = scene.file_page_at(GPA)
        assert (page is not None) == (step > 1)
        assert page is None or scene.files.is_shared(page)


def test_each_vcpu_has_a_program_of_its_own() -> None:
    source = LOGGED + "vcpu 1\nguest write64 slot1+0x0\nvcpu 0\nrun\n" + READ_LOG
    assert condemned(source, logs=((),)) == []
    assert condemned(source.replace("vcpu 0\n", ""), logs=((),)) == ["C14"]


def test_a_protected_vm_is_not_served_by_guest_memfd() -> None:
    assert (
        condemned("vm protected\n" + READ.replace("guest r", "release gmem0\nguest r"), FAULT) == []
    )
