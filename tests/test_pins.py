"""Notes: in what a KVM_RUN differs from what only today's source says."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import Errno
from emu.outcome import RunOutcome
from fuzz.pins import notes
from fuzz.view import views
from tests.handmade import (
    FAULT,
    INTR,
    MF,
    MMIO,
    READ,
    RECORD,
    RELEASED,
    REPORT,
    UNKNOWN,
    outcome,
    played,
)

INTERRUPTED: Final = outcome(-1, Errno.EINTR, UNKNOWN)
FETCH: Final = "guest fetch 0x60000000\nrun\n"
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
    # After a race nothing is said.
    ("at map\nage slot0\n" + READ, outcome(-1, Errno.EACCES, UNKNOWN), []),
]


@pytest.mark.parametrize(("source", "run", "pins"), ROWS)
def test_a_difference_from_todays_source_is_noted(
    source: str, run: RunOutcome, pins: list[str]
) -> None:
    (view,) = views(*played(source, run))
    assert [note.pin for note in notes(view)] == pins
