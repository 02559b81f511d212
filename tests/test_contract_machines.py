"""The clauses on machines of other kinds: nested, VNCR, large pages, races, vCPUs, logging."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import Errno
from emu.case import Case
from emu.outcome import IDLE, Outcomes, RunOutcome
from fuzz.contract import Reading
from fuzz.judge import judge
from fuzz.signature import signature
from fuzz.view import Timeline
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
LOGS: Final = [
    (WRITE + READ_LOG, ((0,),), []),
    (WRITE + READ_LOG, ((0, 1),), []),
    (WRITE + READ_LOG, ((),), ["C14"]),
    (WRITE + READ_LOG, ((1,),), ["C14"]),
    (WRITE.replace("+0x10", "+0xffc") + READ_LOG, ((0,),), ["C14"]),
    (WRITE.replace("+0x10", "+0xffc") + READ_LOG, ((0, 1),), []),
    (WRITE.replace("write64", "cas") + READ_LOG, ((),), ["C14"]),
    (WRITE.replace("write64", "walk-af") + READ_LOG, ((),), ["C14"]),
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
        FAULT,  # the guest is at it still
        outcome(-1, Errno.EINTR, UNKNOWN, access=IDLE),  # nobody knows where it is
    ],
)
def test_a_write_that_was_not_finished_need_not_be_logged(stopped: RunOutcome) -> None:
    assert "C14" not in condemned(WRITE + READ_LOG, stopped, logs=((),))


def test_a_write_that_was_skipped_or_emulated_need_not_be_logged() -> None:
    source = WRITE + "skip\nrun\n" + READ_LOG
    assert condemned(source, FAULT, DONE, logs=((),)) == ["C12"]  # of the fault alone
    told = outcome(0, 0, NISV, (5, 0x50000010, 0, 0))
    assert "C14" not in condemned(WRITE + "run\n" + READ_LOG, told, DONE, logs=((),))


def test_each_vcpu_has_a_program_of_its_own() -> None:
    source = LOGGED + "vcpu 1\nguest write64 slot1+0x0\nvcpu 0\nrun\n" + READ_LOG
    assert condemned(source, logs=((),)) == []
    assert condemned(source.replace("vcpu 0\n", ""), logs=((),)) == ["C14"]


def test_a_protected_vm_is_not_served_by_guest_memfd() -> None:
    assert (
        condemned("vm protected\n" + READ.replace("guest r", "release gmem0\nguest r"), FAULT) == []
    )


SITES: Final = [
    (VNCR, VNCR_RECORD, "C1-kvm_translate_vncr-natural"),
    (VNCR, outcome(0, 0, UNKNOWN), "C6-kvm_translate_vncr-natural"),
    (L2_READ, _report(0x10000000), "C4-gmem_abort_l2-natural"),
    (L2_READ, outcome(-1, Errno.ENOMEM, MF, RECORD), "C2-gmem_abort-natural"),
    (
        L2_READ.replace("l2", "l1-vtcr illegal\nl2"),
        replace(FAULT, exceptions=((5, 0x82000015),)),
        "C10-kvm_walk_nested_s2-natural",
    ),
    (ANON + "guest read64 slot1+0x0\nrun\n", FAULT, "C12-user_mem_abort-natural"),
    (READ, replace(DONE, others_changed=True), "C17-other-vcpu-natural"),
]


@pytest.mark.parametrize(("source", "run", "named"), SITES)
def test_a_breach_is_signed_with_the_place_that_must_have_filled(
    source: str, run: RunOutcome, named: str
) -> None:
    assert _signatures(*played(source, run)) == [named]


def _signatures(case: Case, outcomes: Outcomes) -> list[str]:
    timeline = Timeline(case, outcomes)
    return [str(signature(timeline, each)) for each in judge(case, outcomes, Reading.PARANOID)]
