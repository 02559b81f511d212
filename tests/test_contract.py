"""Each clause on its own: outcomes made by hand, that it must condemn and that it must clear."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu import text
from emu.abi import Errno, ExitReason
from emu.outcome import IDLE, Outcomes, Refusal, RunOutcome
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from tests.handmade import (
    ABORT,
    ANON,
    GMEM,
    GPA,
    MF,
    MMIO,
    POISONED,
    READ,
    RECORD,
    RELEASED,
    STAMP,
    UNKNOWN,
    condemned,
    outcome,
)

CROSSED: Final = POISONED.replace("+0x0\nguest", "+0x1000\nguest").replace("+0x10\n", "+0xffc\n")
CROSSING_OUT: Final = RELEASED.replace("+0x10\n", "+0x1ffc\n")
ABORTED: Final = RELEASED.replace("release", "guest read64 0x60000000\nrelease")
POISON_BEHIND: Final = outcome(-1, Errno.EHWPOISON, MF, (0, GPA + 0x1000, 0x1000, 0))
ENDED: Final = ExitReason.SYSTEM_EVENT
UNMAPPED: Final = ANON + "munmap mem0+0x0 size=0x1000\nguest read64 slot1+0x0\nrun\n"


def _aborted(step: int, esr: int = ABORT) -> RunOutcome:
    """The guest took an exception for an earlier access, and is at a load outside the slots."""
    return outcome(0, 0, MMIO, (0x60000000, 0, 8, 0), exceptions=((step, esr),))


def _reported(gpa: int) -> RunOutcome:
    return outcome(-1, Errno.EFAULT, MF, (0, gpa, 0x1000, 0))


def _left(gpa: int) -> RunOutcome:
    return outcome(-1, Errno.ENOMEM, UNKNOWN, (0, gpa, 0x1000, 0))


FAULTS = [
    # A released file, or a poisoned page, told as documented.
    (RELEASED, outcome(-1, Errno.EFAULT, MF, RECORD), []),
    (POISONED, outcome(-1, Errno.EHWPOISON, MF, RECORD), []),
    # Without -1, errno is an earlier call's.
    (RELEASED, outcome(0, Errno.EFAULT, MF, STAMP), []),
    (READ, outcome(0, Errno.EHWPOISON, ENDED), []),
    # C1, and only C1: the record itself is right.
    (POISONED, outcome(0, Errno.EFAULT, MF, RECORD), ["C1"]),
    (RELEASED, outcome(1, 0, MF, RECORD), ["C1"]),
    (RELEASED, outcome(0, 0, MF, RECORD), ["C1"]),
    # C2: every other errno, EAGAIN and EINTR too. A kept reason is not a leak.
    (READ, outcome(-1, Errno.ENOMEM, MF, RECORD), ["C2"]),
    (READ, outcome(-1, Errno.EAGAIN, MF, RECORD), ["C2", "C9"]),
    (READ, outcome(-1, Errno.EIO, MF, STAMP), []),
    # C3: kept; for no access; for an access elsewhere.
    (RELEASED, outcome(-1, Errno.EFAULT, MF, STAMP), ["C3", "C5"]),
    (UNMAPPED, outcome(-1, Errno.EFAULT, MF, STAMP), ["C3"]),
    (UNMAPPED, outcome(-1, Errno.EFAULT, MF, RECORD), ["C3"]),
    (
        READ,
        replace(outcome(-1, Errno.EFAULT, MF, RECORD), access=IDLE),
        ["C3"],
    ),
    # ... and for an access that the guest has gone on from, in the same KVM_RUN.
    (
        RELEASED.replace("release", "guest read64 slot0+0x1000\nrelease"),
        replace(
            outcome(-1, Errno.EFAULT, MF, (0, GPA + 0x1000, 0x1000, 0)),
            exceptions=((2, 0x86000021),),
        ),
        ["C3"],
    ),
    # ... or that it has done.
    (
        RELEASED.replace("release", "guest read64 slot0+0x1000\nrelease"),
        outcome(-1, Errno.EFAULT, MF, (0, GPA + 0x1000, 0x1000, 0)),
        ["C3"],
    ),
    # C4: each field; the page of a crossing access may be either one.
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (0, GPA + 0x10, 0x1000, 0)), ["C4"]),
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (0, GPA, 0, 0)), ["C4"]),
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (0, GPA, 0x2000, 0)), ["C4"]),
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (0, GPA + 0x1000, 0x1000, 0)), ["C4"]),
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (1, GPA, 0x1000, 0)), ["C4"]),
    # ... PRIVATE among them: all of an INIT_SHARED file is shared, and of another none is.
    (RELEASED, outcome(-1, Errno.EFAULT, MF, (8, GPA, 0x1000, 0)), ["C4"]),
    (
        "create gmem1 size=0x1000 flags=mmap\n" + RELEASED,
        outcome(-1, Errno.EFAULT, MF, (8, GPA, 0x1000, 0)),
        ["C4"],
    ),
    (
        RELEASED.replace("mmap,init-shared", "mmap"),
        outcome(-1, Errno.EFAULT, MF, (8, GPA, 0x1000, 0)),
        [],
    ),
    (
        RELEASED.replace("+0x10\n", "+0xffc\n"),
        outcome(-1, Errno.EFAULT, MF, (0, GPA + 0x1000, 0x1000, 0)),
        [],
    ),
    (
        RELEASED.replace("+0x10\n", "+0x1ffc\n"),
        outcome(-1, Errno.EFAULT, MF, (0, GPA + 0x2000, 0x1000, 0)),
        ["C4"],
    ),
    # ... and of those two, the one that can be had is not it.
    (
        POISONED.replace("+0x0\nguest", "+0x1000\nguest").replace("+0x10\n", "+0xffc\n"),
        outcome(-1, Errno.EHWPOISON, MF, RECORD),
        ["C4"],
    ),
    (
        POISONED.replace("+0x0\nguest", "+0x1000\nguest").replace("+0x10\n", "+0xffc\n"),
        outcome(-1, Errno.EHWPOISON, MF, (0, GPA + 0x1000, 0x1000, 0)),
        [],
    ),
    # ... nor one in no slot; any will do where it is not known which failed.
    (CROSSING_OUT.replace("release gmem0\n", ""), _reported(GPA + 0x2000), ["C4"]),
    (CROSSING_OUT, _reported(GPA + 0x1000), []),
    (CROSSED.replace("read64 slot0+0xffc", "read16 slot0+0xfff"), POISON_BEHIND, []),
    (RELEASED, replace(_reported(GPA + 0x1000), exceptions=((IDLE, 0x02000000),)), ["C4"]),
    (CROSSED, replace(outcome(-1, Errno.EHWPOISON, MF, RECORD), injected=True), []),
    ("memory-limit on\n" + CROSSED, _reported(GPA), []),
    # C5: a failed lookup that is not told, and four reasons to be silent.
    (CROSSED, outcome(-1, Errno.EHWPOISON, UNKNOWN), ["C5"]),
    (RELEASED, outcome(-1, Errno.EFAULT, UNKNOWN, STAMP), ["C5"]),
    (POISONED, outcome(-1, Errno.EHWPOISON, UNKNOWN, STAMP), ["C5"]),
    (POISONED, outcome(-1, Errno.EFAULT, UNKNOWN, STAMP), ["C5"]),
    (READ, outcome(-1, Errno.EFAULT, UNKNOWN, STAMP), ["C12"]),
    ("force-abort fsc=0x30\n" + RELEASED, outcome(-1, Errno.EFAULT, UNKNOWN, STAMP), []),
    (
        "fail kvm_pgtable_stage2_map EFAULT\n" + RELEASED,
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        [],
    ),
    ("fail __kvm_faultin_pfn EIO\n" + RELEASED, outcome(-1, Errno.EFAULT, UNKNOWN, STAMP), []),
    (
        "fail kvm_pgtable_stage2_map EIO\n" + RELEASED,
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        ["C5"],
    ),
    (
        "fail kvm_gmem_get_pfn EFAULT\n" + READ,
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        ["C5"],
    ),
    (
        GMEM + "release gmem0\nguest read64 0x40001ffc\nrun\n",  # the second page has no slot
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        [],
    ),
    # An injection that cannot happen in a KVM_RUN is no reason to be silent.
    (
        "fail kvm_gmem_bind EFAULT nth=9\n" + RELEASED,
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        ["C5"],
    ),
    # ... and a page whose error was punched out, or a file number that was used again.
    (
        POISONED.replace("guest read", "punch gmem0+0x0 size=0x1000\nguest read"),
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        ["C12"],
    ),
    (
        POISONED.replace("guest read", "punch gmem0+0x1000 size=0x1000\nguest read"),
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        ["C5"],
    ),
    (
        GMEM + "create gmem0 size=0x1000 flags=mmap\nguest read64 slot0+0x10\nrun\n",
        outcome(-1, Errno.EFAULT, UNKNOWN, STAMP),
        ["C5"],
    ),
    # C5 as well: the guest is handed an external abort instead, and the VMM nothing.
    (RELEASED + "guest read64 0x60000000\nrun\n", _aborted(3), ["C5"]),
    (READ + "guest read64 0x60000000\nrun\n", _aborted(2), []),
    (RELEASED + "guest read64 0x60000000\nrun\n", _aborted(3, esr=0x96000021), []),
    (
        "fail kvm_gmem_get_pfn ENOEXEC\n" + RELEASED + "guest read64 0x60000000\nrun\n",
        _aborted(4),
        [],
    ),
    # ... not: nothing failed, or another error did, and the abort was an earlier access's.
    (ABORTED, replace(outcome(-1, Errno.ENOMEM, UNKNOWN), exceptions=((2, ABORT),)), []),
    (ABORTED, outcome(0, Errno.EFAULT, ENDED, exceptions=((2, ABORT),)), []),
    ("force-abort fsc=0x10\n" + RELEASED + "guest read64 0x60000000\nrun\n", _aborted(4), []),
    ("vm protected\n" + RELEASED + "guest read64 0x60000000\nrun\n", _aborted(3), []),
    (RELEASED + "guest read64 0x60000000\nrun\n", _aborted(3, esr=0x02000010), []),
    (RELEASED + "guest read64 0x60000000\nrun\n", _aborted(IDLE), []),
    (CROSSING_OUT + "guest read64 0x60000000\nrun\n", _aborted(3), []),
    (
        RELEASED + "guest fetch 0x60000000\nguest read64 0x60000000\nrun\n",
        replace(_aborted(3), exceptions=((3, ABORT), (5, 0x86000021))),
        ["C5"],
    ),
    # C6.
    (READ, outcome(0, 0, UNKNOWN, STAMP), ["C6"]),
    # C7: a record of this fault, in guest_memfd; not any other value, and not without an error.
    (ANON + "guest read64 slot1+0x0\nrun\n", _left(0x50000000), []),
    (READ, outcome(0, Errno.ENOMEM, ENDED, RECORD), []),
    (READ, replace(_left(GPA), fresh=False), []),
    (READ, outcome(-1, Errno.ENOMEM, UNKNOWN, RECORD), ["C7"]),
    (READ, outcome(-1, Errno.ENOMEM, UNKNOWN, (0, GPA, 0x8, 0)), []),
    (
        GMEM + "guest read64 slot0+0x1000\nguest read64 slot0+0x10\nrun\n",
        replace(
            outcome(-1, Errno.ENOMEM, UNKNOWN, (0, GPA + 0x1000, 0x1000, 0)),
            exceptions=((2, 0x86000010),),
        ),
        ["C7"],
    ),
    (READ, outcome(-1, Errno.ENOMEM, UNKNOWN, (0, GPA + 0x1000, 0x1000, 0)), []),
]

EARLY = [
    # What was there, or UNKNOWN; nothing else, and no record.
    ("immediate-exit", Errno.EINTR, MF, MF, STAMP, []),
    ("immediate-exit", Errno.EINTR, MF, UNKNOWN, STAMP, []),
    ("immediate-exit", Errno.EINTR, MF, ExitReason.INTR, STAMP, ["C8"]),
    ("immediate-exit", Errno.EINTR, UNKNOWN, MF, STAMP, ["C8"]),
    ("immediate-exit", Errno.EINTR, UNKNOWN, UNKNOWN, RECORD, ["C7", "C8"]),
    ("bad-argument", Errno.EINVAL, UNKNOWN, MMIO, STAMP, ["C8"]),
    ("bad-argument", Errno.EINVAL, MMIO, MMIO, STAMP, []),
    ("other-mm", Errno.EIO, UNKNOWN, ExitReason.INTR, STAMP, ["C8"]),
    ("other-mm bad-argument", Errno.EIO, UNKNOWN, ExitReason.INTR, STAMP, ["C8"]),
    ("killed", Errno.EINTR, UNKNOWN, ExitReason.INTR, STAMP, ["C8"]),
    ("killed", Errno.EINTR, MF, MF, STAMP, []),
    # An errno that this call does not fail with came from elsewhere.
    ("bad-argument", Errno.EINTR, UNKNOWN, ExitReason.INTR, STAMP, []),
    ("signal", Errno.EINTR, UNKNOWN, ExitReason.INTR, STAMP, []),
]


@pytest.mark.parametrize(("source", "run", "clauses"), FAULTS)
def test_a_fault_is_condemned_by_these_clauses(
    source: str, run: RunOutcome, clauses: list[str]
) -> None:
    assert condemned(source, run) == clauses


@pytest.mark.parametrize(("flag", "errno", "before", "after", "union", "clauses"), EARLY)
def test_an_early_exit_may_only_keep_or_clear_the_reason(
    flag: str,
    errno: int,
    before: int,
    after: int,
    union: tuple[int, int, int, int],
    clauses: list[str],
) -> None:
    run = replace(outcome(-1, errno, after, union), before=before)
    assert condemned(f"{GMEM}guest read64 slot0+0x10\nrun {flag}\n", run) == clauses


def test_an_early_exit_without_an_error_is_none() -> None:
    run = outcome(0, Errno.EINTR, ExitReason.SYSTEM_EVENT)
    assert condemned(READ.replace("run", "run immediate-exit"), run) == []


def test_an_early_exit_is_judged_after_races_too() -> None:
    source = "at map\nmemory-limit on\nmemory-limit off\n" + READ.replace("run", "run killed")
    assert condemned(source, outcome(-1, Errno.EINTR, ExitReason.INTR)) == ["C8"]


@pytest.mark.parametrize(
    ("state", "errno", "reason", "clauses"),
    [
        ("uninitialized", Errno.ENOEXEC, UNKNOWN, []),
        ("uninitialized", Errno.ENOEXEC, ExitReason.FAIL_ENTRY, ["C8"]),
        ("unfinalized", Errno.EPERM, ExitReason.FAIL_ENTRY, ["C8"]),
    ],
)
def test_a_vcpu_that_is_not_ready_adds_nothing(
    state: str, errno: int, reason: int, clauses: list[str]
) -> None:
    source = f"vm vcpu={state}\n{GMEM}guest read64 slot0+0x10\nrun\n"
    assert condemned(source, outcome(-1, errno, reason, STAMP)) == clauses


def test_of_another_vcpu_it_is_not_known_whether_it_is_ready() -> None:
    source = f"vm vcpu=uninitialized\n{GMEM}vcpu 1\nguest read64 slot0+0x10\nrun\n"
    assert condemned(source, outcome(-1, Errno.ENOEXEC, ExitReason.FAIL_ENTRY)) == []


def test_of_a_call_that_hangs_only_its_end_is_judged() -> None:
    run = replace(outcome(-1, Errno.EINTR, MF, RECORD), stuck=True)
    assert condemned(READ, run) == ["C11"]


def test_the_strict_reading_does_not_ask_what_is_left_in_the_union() -> None:
    case = text.load(READ)
    run = outcome(-1, Errno.ENOMEM, UNKNOWN, RECORD)
    outcomes = Outcomes((replace(run, step=3, access=2),), ())
    assert not judge(case, outcomes, Reading.STRICT)


def test_a_refused_region_is_not_there_for_the_judge() -> None:
    case = text.load(ANON + "guest cas slot1+0x0\nrun\n")
    run = replace(outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), step=3, access=2)
    accepted = Outcomes((run,), ())
    refused = replace(accepted, refusals=(_refusal(1),))
    assert [breach.clause for breach in judge(case, accepted)] == ["C13"]
    assert not judge(case, refused)


def _refusal(step: int) -> Refusal:
    return Refusal(step, Errno.EINVAL)
