"""Notes: in what a KVM_RUN differs from what only today's source says."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import Errno
from emu.outcome import IDLE, RunOutcome
from fuzz.oracle.pins import notes
from fuzz.oracle.view import views
from tests.handmade import (
    FAULT,
    INTR,
    MF,
    MMIO,
    POISONED,
    READ,
    RECORD,
    RELEASED,
    REPORT,
    STAMP,
    UNKNOWN,
    outcome,
    played,
)

INTERRUPTED: Final = outcome(-1, Errno.EINTR, UNKNOWN)
FETCH: Final = "guest fetch 0x60000000\nrun\n"
L2_FETCH: Final = (
    "vm nested\nl1-map 0x10000000 0x60000000 flags=execute\nl2 fetch 0x10000000\nrun\n"
)
KNOWN: Final = (Errno.EIO, Errno.EHWPOISON, Errno.ENOMEM, Errno.EINVAL, Errno.ENOEXEC, Errno.EPERM)
ROWS: Final = [
    (READ.replace("run\n", "run signal\n"), outcome(-1, Errno.EINTR, INTR), []),
    (READ.replace("run\n", "run signal\n"), INTERRUPTED, ["P1"]),
    (READ.replace("run\n", "run immediate-exit\n"), INTERRUPTED, []),
    (READ, outcome(-1, Errno.ENOSYS, UNKNOWN), []),
    (READ, outcome(-1, Errno.ENOSYS, MMIO), ["P2"]),
    (RELEASED, REPORT, []),
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (8, *RECORD[1:])), ["P3"]),
    (READ, FAULT, []),
    (READ, outcome(-1, Errno.EFAULT, INTR), ["P4"]),
    (FETCH, replace(FAULT, access=0), ["P5"]),
    (FETCH.replace("fetch", "read64"), replace(FAULT, access=0), []),
    ("force-abort fsc=0x7\n" + FETCH, FAULT, []),
    ("vm protected\n" + RELEASED, REPORT, ["P6"]),
    (READ, outcome(-1, Errno.EACCES, UNKNOWN), ["P7"]),
    ("fail kvm_gmem_get_pfn EACCES\n" + READ, outcome(-1, Errno.EACCES, UNKNOWN), []),
    # Special calls, other exits, and what is not sure.
    (READ.replace("run\n", "run bad-argument\n"), INTERRUPTED, []),
    (READ.replace("run\n", "run other-mm\n"), INTERRUPTED, []),
    (READ.replace("run\n", "run killed\n"), INTERRUPTED, []),
    (READ, replace(INTERRUPTED, stuck=True), []),
    (READ, outcome(0, Errno.EINTR, MMIO), []),
    (READ, outcome(0, Errno.ENOSYS, MMIO), []),
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (8, *STAMP[1:])), []),
    (RELEASED, outcome(-1, Errno.EFAULT, UNKNOWN, (8, *RECORD[1:])), []),
    (POISONED, outcome(-1, Errno.EHWPOISON, INTR), ["P4"]),
    (READ, outcome(0, Errno.EFAULT, INTR), []),
    (FETCH, outcome(-1, Errno.ENOSYS, UNKNOWN, access=0), ["P5"]),
    (FETCH, outcome(-1, Errno.ENOMEM, UNKNOWN, access=0), ["P5"]),
    (FETCH, outcome(-1, Errno.EINTR, INTR, access=0), []),
    (FETCH, outcome(0, 0, MMIO, access=0), ["P5"]),
    (FETCH, replace(FAULT, access=IDLE), []),
    ("fail kvm_gmem_get_pfn EIO\n" + FETCH, FAULT, []),
    (READ.replace("read64", "fetch"), FAULT, []),
    (L2_FETCH, FAULT, []),
    ("vm protected\n" + RELEASED, outcome(-1, Errno.EFAULT, MF, STAMP), []),
    ("vm protected\n" + READ, outcome(-1, Errno.EACCES, UNKNOWN), []),
    (READ, outcome(-1, Errno.EACCES, UNKNOWN, injected=True), []),
    (READ, outcome(0, Errno.EACCES, UNKNOWN), []),
    *((READ, outcome(-1, errno, UNKNOWN), []) for errno in KNOWN),
    # After a race nothing is said.
    ("at map\nage slot0\n" + READ, outcome(-1, Errno.EACCES, UNKNOWN), []),
    (READ.replace("run", "at map\nvcpu 0\nrun"), outcome(-1, Errno.EACCES, UNKNOWN), []),
    (READ + "at map\nage slot0\n", outcome(-1, Errno.EACCES, UNKNOWN), ["P7"]),
]


@pytest.mark.parametrize(("source", "run", "pins"), ROWS)
def test_a_difference_from_todays_source_is_noted(
    source: str, run: RunOutcome, pins: list[str]
) -> None:
    (view,) = views(*played(source, run))
    assert [note.pin for note in notes(view)] == pins
