"""What a campaign says of itself while it runs, and at its end.

A ``Snapshot`` is made of the workers' status files and the findings on disk, so that it can be
taken of a campaign in another process as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

from fuzz.directory.finding import Finding, State
from fuzz.directory.store import NOTHING_ODD, Oddities, WorkerStatus


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A campaign at one moment. ``workers``: how many are at work.

    ``cases``, ``seconds``, ``harness_crashes`` and ``mutator_incidents`` are of all its runs
    together; ``cases_per_second`` is the median over the workers of the present run. ``arms`` is
    the most that any worker has seen. ``questions`` and ``denied``: how many are kept, see
    ``Oddities``. ``waiting``: how many workers died so often that they are left alone for a while.
    ``killed``: how many of the restarts were somebody else's doing.
    """

    workers: int
    cases: int
    seconds: float
    cases_per_second: float
    arms: int
    arms_known: int
    restarts: int
    harness_crashes: int
    mutator_incidents: int
    questions: int
    findings: tuple[Finding, ...]
    waiting: int = 0
    killed: int = 0
    denied: int = 0

    @property
    def newest(self) -> Finding | None:
        """The finding made last."""
        return self.findings[-1] if self.findings else None


@dataclass(frozen=True, slots=True)
class Summary:
    """A campaign at the end of a run; ``snapshot.workers`` is how many it had.

    ``stopped``: it was told to come to its end. ``compiled``: its workers ran what ``gff compile``
    had made.
    """

    kernels: tuple[str, ...]
    snapshot: Snapshot
    stopped: bool
    compiled: bool = False


def snapshot(
    statuses: Sequence[WorkerStatus],
    findings: Sequence[Finding],
    *,
    at_work: Sequence[WorkerStatus],
    restarts: int,
    oddities: Oddities = NOTHING_ODD,
    waiting: int = 0,
    killed: int = 0,
) -> Snapshot:
    """What all workers that ever were, and those ``at_work``, add up to."""
    rates = [
        status.process_cases / status.process_seconds
        for status in at_work
        if status.process_seconds
    ]
    return Snapshot(
        workers=len(at_work),
        cases=sum(status.cases for status in statuses),
        seconds=max((status.seconds for status in statuses), default=0.0),
        cases_per_second=median(rates) if rates else 0.0,
        arms=max((status.arms for status in statuses), default=0),
        arms_known=max((status.arms_known for status in statuses), default=0),
        restarts=restarts,
        # What is said of a worker may be lost: no fewer than what is kept.
        harness_crashes=max(sum(status.harness_crashes for status in statuses), oddities.crashes),
        mutator_incidents=sum(status.mutator_incidents for status in statuses),
        questions=oddities.questions,
        findings=tuple(findings),
        waiting=waiting,
        killed=killed,
        denied=oddities.denied,
    )


class FindingLine(msgspec.Struct, frozen=True):
    """A finding as the last line of ``gff fuzz --json`` has it."""

    signature: str
    clause: str
    kernel: str
    errno: str
    exit_reason: str
    natural: bool
    observed: bool
    found_after_s: float
    case: str


class SummaryLine(msgspec.Struct, frozen=True):
    """The last line of ``gff fuzz --json``."""

    cases: int
    seconds: float
    cases_per_second: float
    workers: int
    kernels: tuple[str, ...]
    findings: tuple[FindingLine, ...]
    questions: int
    restarts: int
    killed: int
    harness_crashes: int
    denied: int
    compiled: bool


def as_json(summary: Summary) -> str:
    """One object on one line."""
    now = summary.snapshot
    made = SummaryLine(
        cases=now.cases,
        seconds=round(now.seconds, 3),
        cases_per_second=round(now.cases_per_second, 1),
        workers=now.workers,
        kernels=summary.kernels,
        findings=tuple(map(finding_line, now.findings)),
        questions=now.questions,
        restarts=now.restarts,
        killed=now.killed,
        harness_crashes=now.harness_crashes,
        denied=now.denied,
        compiled=summary.compiled,
    )
    return msgspec.json.encode(made).decode()


def finding_line(finding: Finding) -> FindingLine:
    """A finding for programs."""
    return FindingLine(
        signature=finding.signature,
        clause=finding.clause,
        kernel=finding.kernel,
        errno=finding.errno,
        exit_reason=finding.exit_reason,
        natural=finding.natural,
        observed=finding.state is State.OBSERVED,
        found_after_s=finding.found_after_s,
        case=finding.smallest,
    )
