"""The place that must have filled, told from the case."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import Errno
from emu.case import Case
from emu.outcome import IDLE, Outcomes, RunOutcome
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.oracle.signature import signature
from fuzz.oracle.view import Timeline
from tests.handmade import (
    ABORT,
    ANON,
    DONE,
    FAULT,
    GMEM,
    GPA,
    HANG,
    LAST,
    MF,
    MMIO,
    NISV,
    READ,
    RECORD,
    UNKNOWN,
    outcome,
    played,
)

RELEASE: Final = "release gmem0\n"
L2_READ: Final = (
    "vm nested\n"
    + GMEM
    + "l1-map 0x10000000 slot0+0x1000 flags=read,write\n"
    + RELEASE
    + "l2 read64 0x10000010\nrun\n"
)
VNCR: Final = "vm nested\n" + GMEM + RELEASE + "guest vncr-read slot0+0x8\nrun\n"
VNCR_RECORD: Final = outcome(0, 0, MF, RECORD)


def _report(
    gpa: int, size: int = 0x1000, ret: int = -1, errno: int = Errno.EFAULT, access: int = LAST
) -> RunOutcome:
    return outcome(ret, errno, MF, (0, gpa, size, 0), access=access)


OUTSIDE: Final = "guest read64 0x60000000\nrun\n"

CROSSING: Final = "vm nisv-to-user\n" + GMEM + "guest read-pair slot0+0x1ff8\nrun\n"

CROSSING_NISV: Final = outcome(0, 0, NISV, (7, GPA + 0x2000, 0, 0))

LOST: Final = RELEASE + "guest read64 slot0+0x10\n"

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
    (
        GMEM + "guest read64 slot0+0x1000\nguest read64 slot0+0x0\nrun\n",
        _report(GPA + 0x1000, ret=0, errno=0),
        "C1-earlier-fault-natural",
    ),
    (
        ANON + GMEM + RELEASE + "guest read64 slot0+0x0\nguest read64 slot1+0x0\nrun\n",
        replace(FAULT, exceptions=((5, 0x86000021),)),
        "C12-user_mem_abort-natural",
    ),
    (
        ANON + GMEM + RELEASE + "guest read64 slot0+0x0\nguest read64 slot1+0x0\nrun\n",
        replace(FAULT, exceptions=((5, ABORT),)),
        "C12-user_mem_abort-natural",
    ),
    # L2's own address where L1's is meant, though the guest was at that page of L1's before.
    (
        (L2_READ.replace("l2", "guest read64 slot0+0x0\nl2")).replace("0x100000", "0x400000"),
        _report(GPA, errno=Errno.EHWPOISON),
        "C4-gmem_abort_l2-natural",
    ),
    (READ, outcome(-1, Errno.ENOMEM, MF, RECORD, access=IDLE), "C2-earlier-fault-natural"),
    (READ, _report(0x60000000, ret=0, errno=0, access=IDLE), "C1-earlier-fault-natural"),
    # A record is guest_memfd's, whatever became of the slot.
    (OUTSIDE, outcome(-1, Errno.ENOMEM, MF, RECORD, access=0), "C2-gmem_abort-natural"),
    (OUTSIDE, outcome(0, 0, MF, RECORD, access=0), "C1-gmem_abort-natural"),
    (OUTSIDE.replace("read64", "fetch"), HANG, "C11-kvm_inject_sea-natural"),
    # Over the end of a slot: told by its kind where the VMM is to emulate it.
    (CROSSING, replace(CROSSING_NISV, moved=True), "C12-io_mem_abort-natural"),
    (CROSSING, replace(CROSSING_NISV, exceptions=((2, ABORT),)), "C10-io_mem_abort-natural"),
    (GMEM + "guest read64 0x3ffffffc\nrun\n", _report(GPA, 0), "C4-gmem_abort-natural"),
    # Of several exceptions, that of the access whose lookup failed.
    (
        GMEM + "guest fetch 0x60000000\n" + LOST + "guest read64 0x60000000\nrun\n",
        outcome(
            0,
            0,
            MMIO,
            (0x60000000, 0, 8, 0),
            exceptions=((IDLE, 0x02000000), (2, 0x86000021), (4, ABORT)),
        ),
        "C5-gmem_abort-natural",
    ),
    (
        "vm nested\n" + GMEM + "l2 read64 0x40000010\n" + LOST + "guest read64 0x60000000\nrun\n",
        outcome(0, 0, MMIO, (0x60000000, 0, 8, 0), exceptions=((2, 0x92000006), (4, ABORT))),
        "C5-gmem_abort-natural",
    ),
    (
        READ.replace("run", "run killed"),
        outcome(-1, Errno.EINTR, MF, RECORD),
        "C2-before-loop-natural",
    ),
    (
        READ.replace("run", "run killed"),
        outcome(-1, Errno.EINTR, UNKNOWN, RECORD),
        "C7-before-loop-natural",
    ),
]


@pytest.mark.parametrize(("source", "run", "named"), SITES)
def test_a_breach_is_signed_with_the_place_that_must_have_filled(
    source: str, run: RunOutcome, named: str
) -> None:
    assert named in _signatures(*played(source, run))


def _signatures(case: Case, outcomes: Outcomes) -> list[str]:
    timeline = Timeline(case, outcomes)
    return [str(signature(timeline, each)) for each in judge(case, outcomes, Reading.PARANOID)]
