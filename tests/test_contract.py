"""Each clause on its own: outcomes made by hand, that it must condemn and that it must clear."""

from typing import Final

import msgspec
import pytest

from emu import text
from emu.abi import DOORBELL, Errno, ExitReason
from emu.outcome import IDLE, Outcomes, Refusal, RunOutcome
from fuzz.contract import Reading
from fuzz.judge import judge
from tests.handmade import (
    ABORT,
    ANON,
    GMEM,
    GPA,
    MF,
    MMIO,
    POISONED,
    READ,
    READONLY,
    RECORD,
    RELEASED,
    STAMP,
    UNKNOWN,
    condemned,
    outcome,
)

UNMAPPED: Final = ANON + "munmap mem0+0x0 size=0x1000\nguest read64 slot1+0x0\nrun\n"


def _aborted(step: int, esr: int = ABORT) -> RunOutcome:
    """The guest took an exception for an earlier access, and is at a load outside the slots."""
    return outcome(0, 0, MMIO, (0x60000000, 0, 8, 0), exceptions=((step, esr),))


FAULTS = [
    # A released file, or a poisoned page, told as documented.
    (RELEASED, outcome(-1, Errno.EFAULT, MF, RECORD), []),
    (POISONED, outcome(-1, Errno.EHWPOISON, MF, RECORD), []),
    # C1, and only C1: the record itself is right.
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
        msgspec.structs.replace(outcome(-1, Errno.EFAULT, MF, RECORD), access=IDLE),
        ["C3"],
    ),
    # ... and for an access that the guest has gone on from, in the same KVM_RUN.
    (
        RELEASED.replace("release", "guest read64 slot0+0x1000\nrelease"),
        msgspec.structs.replace(
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
    # C5: a failed lookup that is not told, and four reasons to be silent.
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
    # C6.
    (READ, outcome(0, 0, UNKNOWN, STAMP), ["C6"]),
    # C7: a record of this fault; not any other value.
    (READ, outcome(-1, Errno.ENOMEM, UNKNOWN, RECORD), ["C7"]),
    (READ, outcome(-1, Errno.ENOMEM, UNKNOWN, (0, GPA, 0x8, 0)), []),
    (
        GMEM + "guest read64 slot0+0x1000\nguest read64 slot0+0x10\nrun\n",
        msgspec.structs.replace(
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
    # An errno that this call does not fail with came from elsewhere.
    ("bad-argument", Errno.EINTR, UNKNOWN, ExitReason.INTR, STAMP, []),
    ("signal", Errno.EINTR, UNKNOWN, ExitReason.INTR, STAMP, []),
]

WRITE: Final = 1 << 32
NISV: Final = "vm nisv-to-user\n"
RECORD_NISV: Final = (5, 0x60000010, 0, 0)
HOLE = "guest {} 0x60000010\nrun\n"
EMULATION = [
    # Outside the slots, with fields that fit.
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), []),
    (HOLE.format("write16"), outcome(0, 0, MMIO, (0x60000010, 0, WRITE | 2, 0)), []),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000010, 0, 4, 0)), ["C13"]),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000018, 0, 8, 0)), ["C13"]),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000000, 0, 8, 0)), ["C13"]),
    (HOLE.format("read-pair"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), ["C13"]),
    (HOLE.format("walk"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), ["C13"]),
    (HOLE.format("fetch"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (HOLE.format("read-pair"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), []),
    (HOLE.format("walk"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (NISV + HOLE.format("cas"), outcome(0, 0, ExitReason.ARM_NISV, RECORD_NISV), []),
    (
        NISV + HOLE.format("cas"),
        outcome(0, 0, ExitReason.ARM_NISV, (5, 0x60000110, 0, 0)),
        ["C13"],
    ),
    # ... in the direction of the access, at its own address.
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000010, 0, WRITE | 8, 0)), ["C13"]),
    (HOLE.format("write64"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), ["C13"]),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000014, 0, 8, 0)), ["C13"]),
    # NISV and ENOSYS are for an abort without a syndrome, and the capability decides which.
    (HOLE.format("read64"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (NISV + HOLE.format("read64"), outcome(0, 0, ExitReason.ARM_NISV, RECORD_NISV), ["C13"]),
    (HOLE.format("cas"), outcome(0, 0, ExitReason.ARM_NISV, RECORD_NISV), ["C13"]),
    (NISV + HOLE.format("cas"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (HOLE.format("cas"), outcome(-1, Errno.ENOSYS, MMIO, STAMP), ["C13"]),
    # A reason that was there before the call is not this call's.
    (
        HOLE.format("cas"),
        msgspec.structs.replace(outcome(-1, Errno.ENOSYS, MMIO, STAMP), before=MMIO),
        [],
    ),
    # A block operation may be told anywhere in its block.
    (
        NISV + HOLE.format("dc-zva"),
        outcome(0, 0, ExitReason.ARM_NISV, (0x45, 0x60000010, 0, 0)),
        [],
    ),
    # A slot serves it; a read-only one serves loads and nothing else.
    (
        ANON + "guest read64 slot1+0x0\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        ["C13"],
    ),
    (
        READONLY + "guest read64 slot1+0x0\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        ["C13"],
    ),
    (
        READONLY + "guest write64 slot1+0x0\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, WRITE | 8, 0)),
        [],
    ),
    (READONLY + "guest cas slot1+0x0\nrun\n", outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), []),
    (READONLY + "guest dc-civac slot1+0x0\nrun\n", outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), []),
    (ANON + "guest cas slot1+0x0\nrun\n", outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (
        ANON + "memslot 1 delete\nguest cas 0x50000000\nrun\n",
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    # The second page of a crossing access is the hole.
    (
        ANON + "guest read64 slot1+0x1ffc\nrun\n",
        outcome(0, 0, MMIO, (0x50002000, 0, 8, 0)),
        [],
    ),
    (
        ANON + "guest read-pair slot1+0x1ff8\nrun\n",
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    # Not sure: silent.
    (
        "force-abort fsc=0x7 s1ptw\n" + HOLE.format("walk"),
        outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)),
        [],
    ),
    (
        "fail kvm_gmem_get_pfn ENOSYS\n" + READ,
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    (
        "fail kvm_pgtable_stage2_map ENOSYS\n" + GMEM + "guest walk slot0+0x0\nrun\n",
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    (READ, outcome(0, 0, MMIO, (DOORBELL, 0, WRITE | 8, 0)), []),
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
    run = msgspec.structs.replace(outcome(-1, errno, after, union), before=before)
    assert condemned(f"{GMEM}guest read64 slot0+0x10\nrun {flag}\n", run) == clauses


@pytest.mark.parametrize(("source", "run", "clauses"), EMULATION)
def test_an_exit_for_emulation_is_condemned_by_these_clauses(
    source: str, run: RunOutcome, clauses: list[str]
) -> None:
    assert condemned(source, run) == clauses


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


def test_of_a_call_that_hangs_only_its_end_is_judged() -> None:
    run = msgspec.structs.replace(outcome(-1, Errno.EINTR, MF, RECORD), stuck=True)
    assert condemned(READ, run) == ["C11"]


def test_the_strict_reading_does_not_ask_what_is_left_in_the_union() -> None:
    case = text.load(READ)
    run = outcome(-1, Errno.ENOMEM, UNKNOWN, RECORD)
    outcomes = Outcomes((msgspec.structs.replace(run, step=3, access=2),), ())
    assert not judge(case, outcomes, Reading.STRICT)


def test_a_refused_region_is_not_there_for_the_judge() -> None:
    case = text.load(ANON + "guest cas slot1+0x0\nrun\n")
    run = msgspec.structs.replace(outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), step=3, access=2)
    accepted = Outcomes((run,), ())
    refused = msgspec.structs.replace(accepted, refusals=(_refusal(1),))
    assert [breach.clause for breach in judge(case, accepted)] == ["C13"]
    assert not judge(case, refused)


def _refusal(step: int) -> Refusal:
    return Refusal(step, Errno.EINVAL)
