"""Outcomes made by hand, for the tests of the contract."""

from typing import Final

from msgspec.structs import replace

from emu import text
from emu.abi import DOORBELL, STAMP_GPA, STAMP_SIZE, Errno, ExitReason
from emu.case import Case
from emu.outcome import IDLE, DirtyLog, Outcomes, Refusal, RunOutcome
from emu.steps import GetDirtyLog, Guest, GuestL2, Run, SelectVcpu
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge

MF, UNKNOWN, MMIO = ExitReason.MEMORY_FAULT, ExitReason.UNKNOWN, ExitReason.MMIO
INTR, NISV = ExitReason.INTR, ExitReason.ARM_NISV
GPA: Final = 0x40000000
STAMP: Final = (0, STAMP_GPA, STAMP_SIZE, 0)
RECORD: Final = (0, GPA, 0x1000, 0)
ABORT: Final = 0x96000010  # ESR_EL1 of an external abort

GMEM: Final = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
ANON: Final = """
create mem0 size=0x2000 anon
memslot 1 gpa=0x50000000 size=0x2000 mem0+0x0
"""
READONLY: Final = """
create mem0 size=0x2000 anon
memslot 1 gpa=0x50000000 size=0x2000 mem0+0x0 flags=readonly
"""
READ: Final = GMEM + "guest read64 slot0+0x10\nrun\n"
RELEASED: Final = GMEM + "release gmem0\nguest read64 slot0+0x10\nrun\n"
POISONED: Final = GMEM + "poison gmem0+0x0\nguest read64 slot0+0x10\nrun\n"

LAST: Final = 0  # as ``access``: the last one before the KVM_RUN; else the number of its step


def outcome(
    ret: int,
    errno: int,
    reason: int,
    union: tuple[int, int, int, int] = STAMP,
    *,
    access: int = LAST,
    moved: bool = False,
    changed: bool = False,
    exceptions: tuple[tuple[int, int], ...] = (),
    injected: bool = False,
    stuck: bool = False,
    others_changed: bool = False,
) -> RunOutcome:
    """An ordinary KVM_RUN that found the guest at its access; fresh unless the stamp is there."""
    return RunOutcome(
        step=0,
        ret=ret,
        errno=errno,
        exit_reason=reason,
        union=union,
        before=UNKNOWN,
        fresh=union[1:3] != STAMP[1:3],
        access=access,
        moved=moved,
        changed=changed,
        exceptions=exceptions,
        injected=injected,
        stuck=stuck,
        sigbus=False,
        others_changed=others_changed,
    )


DONE: Final = outcome(0, 0, MMIO, (DOORBELL, 0, 8, 0), access=IDLE)
FAULT: Final = outcome(-1, Errno.EFAULT, UNKNOWN)
REPORT: Final = outcome(-1, Errno.EFAULT, MF, RECORD)
NO_MEMORY: Final = outcome(-1, Errno.ENOMEM, UNKNOWN)
HANG: Final = outcome(-1, Errno.EINTR, INTR, stuck=True)


def played(
    source: str,
    *runs: RunOutcome,
    logs: tuple[tuple[int, ...], ...] = (),
    refused: tuple[int, ...] = (),
) -> tuple[Case, Outcomes]:
    """A case, and ``runs`` as its last KVM_RUNs; those before them did all there was to do.

    ``logs``: what its dirty-log steps read. ``refused``: the numbers of steps, from 0.
    """
    case = text.load(source)
    places = [index for index, step in enumerate(case.steps) if isinstance(step, Run)]
    all_runs = (*[DONE] * (len(places) - len(runs)), *runs)
    reads = [index for index, step in enumerate(case.steps) if isinstance(step, GetDirtyLog)]
    return case, Outcomes(
        tuple(_placed(case, place, run) for place, run in zip(places, all_runs, strict=True)),
        tuple(Refusal(step, Errno.EINVAL) for step in refused),
        tuple(DirtyLog(step, pages) for step, pages in zip(reads, logs, strict=False)),
    )


def _placed(case: Case, place: int, run: RunOutcome) -> RunOutcome:
    before = list(enumerate(case.steps[:place]))
    access = [index for index, step in before if isinstance(step, Guest | GuestL2)]
    vcpu = [step.index for _, step in before if isinstance(step, SelectVcpu)]
    at = access[-1] if run.access == LAST else run.access
    return replace(run, step=place, access=at, vcpu=vcpu[-1] if vcpu else 0)


def condemned(
    source: str,
    *runs: RunOutcome,
    logs: tuple[tuple[int, ...], ...] = (),
    refused: tuple[int, ...] = (),
) -> list[str]:
    """The clauses that condemn what was ``played``."""
    case, outcomes = played(source, *runs, logs=logs, refused=refused)
    return [breach.clause for breach in judge(case, outcomes, Reading.PARANOID)]
