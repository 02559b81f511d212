"""What a clause or a pin says where its sentence depends on the outcome."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import Errno, ExitReason
from emu.outcome import RunOutcome
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.oracle.pins import notes
from fuzz.oracle.view import views
from tests.handmade import (
    ABORT,
    ANON,
    FAULT,
    GMEM,
    GPA,
    MF,
    MMIO,
    NISV,
    READ,
    RECORD,
    RELEASED,
    REPORT,
    UNKNOWN,
    outcome,
    played,
)

HOLE: Final = "guest {} 0x60000010\nrun\n"
L2: Final = (
    "vm nested\n" + GMEM + "l1-map 0x10000000 slot0+0x1000 flags=read\nrelease gmem0\n"
    "l2 read64 0x10000010\nrun\n"
)
DYING: Final = READ.replace("run", "run vm-dead") + "run\n"
DEAD: Final = outcome(-1, Errno.EIO, UNKNOWN)


def _mmio(length: int, access: int = 0) -> RunOutcome:
    return outcome(0, 0, MMIO, (0x60000010, 0, length, 0), access=access)


REASONS: Final[list[tuple[str, tuple[RunOutcome, ...], str]]] = [
    (
        RELEASED,
        (outcome(-1, Errno.EFAULT, MF, (0, GPA + 1, 0x1000, 0)),),
        "memory_fault.gpa 0x40000001 is not page-aligned",
    ),
    (
        RELEASED,
        (outcome(-1, Errno.EFAULT, MF, (0, GPA + 0x1000, 0x1000, 0)),),
        "memory_fault.gpa 0x40001000 is not a page of the access at 0x40000010",
    ),
    (
        L2,
        (REPORT,),
        "memory_fault.gpa 0x40000000 is not a page that L1 maps for the access at 0x40001010",
    ),
    (
        RELEASED,
        (replace(REPORT, exceptions=((3, ABORT),)),),
        "EFAULT for the VMM, and an exception for the guest, of the same access",
    ),
    (
        HOLE.format("read64"),
        (replace(_mmio(8), exceptions=((0, ABORT),)),),
        "MMIO for the VMM, and an exception for the guest, of the same access",
    ),
    (
        RELEASED,
        (replace(REPORT, moved=True),),
        "the guest's PC is past the access that failed with EFAULT",
    ),
    (
        "vm nisv-to-user\n" + HOLE.format("cas"),
        (outcome(0, 0, NISV, (5, 0x60000010, 0, 0), moved=True),),
        "the guest's PC is past the access that failed with an exit for emulation",
    ),
    (
        READ,
        (FAULT,),
        "read64 at 0x40000010 failed with EFAULT, and nothing keeps it from being served",
    ),
    (HOLE.format("cas"), (_mmio(8),), "MMIO for cas, whose abort has no syndrome"),
    (
        HOLE.format("read64"),
        (outcome(-1, Errno.ENOSYS, UNKNOWN, access=0),),
        "ENOSYS for read64, whose abort has a syndrome",
    ),
    (
        ANON + "guest cas slot1+0x0\nrun\n",
        (outcome(-1, Errno.ENOSYS, UNKNOWN),),
        "ENOSYS for cas at 0x50000000, which a slot serves",
    ),
    (HOLE.format("read64"), (_mmio(1 << 32 | 8),), "MMIO write for read64"),
    (HOLE.format("write64"), (_mmio(8),), "MMIO read for write64"),
    (HOLE.format("read64"), (_mmio(4),), "MMIO of 4 bytes for an access of 8"),
    (
        DYING,
        (DEAD, outcome(0, Errno.EIO, ExitReason.SYSTEM_EVENT)),
        "the VM died here, and a later KVM_RUN returned 0",
    ),
    (
        DYING,
        (DEAD, outcome(-1, Errno.EINTR, UNKNOWN)),
        "the VM died here, and a later KVM_RUN returned EINTR",
    ),
]

NOTES: Final = [
    (FAULT, "a fetch outside the slots ended with EFAULT, not with an exception for the guest"),
    (
        outcome(0, 0, MMIO, RECORD),
        "a fetch outside the slots ended with MMIO, not with an exception for the guest",
    ),
]


@pytest.mark.parametrize(("source", "runs", "reason"), REASONS)
def test_a_breach_says_in_what(source: str, runs: tuple[RunOutcome, ...], reason: str) -> None:
    (breach,) = judge(*played(source, *runs), Reading.PARANOID)
    assert breach.reason == reason


def test_a_log_that_is_short_says_of_which_page() -> None:
    source = ANON.replace("mem0+0x0\n", "mem0+0x0 flags=log-dirty\n")
    write = "guest write64 slot1+0x1008\nrun\ndirty-log slot1\n"
    (breach,) = judge(*played(source + write, logs=((0,),)))
    told = "write64 at 0x50001008 is done, but page 0x1 of slot 1 is not in its dirty log"
    assert breach.reason == told


@pytest.mark.parametrize(("run", "reason"), NOTES)
def test_a_note_says_in_what(run: RunOutcome, reason: str) -> None:
    (view,) = views(*played(HOLE.format("fetch"), replace(run, access=0)))
    (note,) = notes(view)
    assert note.reason == reason
