"""What a campaign says of itself while it runs, and at its end.

A ``Snapshot`` is made of the workers' status files and the findings on disk, so that it can be
taken of a campaign in another process as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec
from rich.text import Text

from fuzz.directory.finding import Finding, State
from fuzz.directory.store import WorkerStatus


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A campaign at one moment. ``workers``: how many are at work.

    ``cases`` and ``seconds`` are of all its runs together; ``cases_per_second`` is the median over
    the workers of the present run. ``arms`` is the most that any worker has seen. ``questions``:
    how many are kept. ``waiting``: how many workers died so often that they are left alone for a
    while. ``killed``: how many of the restarts were somebody else's doing.
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

    @property
    def newest(self) -> Finding | None:
        """The finding made last."""
        return self.findings[-1] if self.findings else None


@dataclass(frozen=True, slots=True)
class Summary:
    """A campaign at the end of a run; ``snapshot.workers`` is how many it had."""

    kernels: tuple[str, ...]
    snapshot: Snapshot


def snapshot(
    statuses: Sequence[WorkerStatus],
    findings: Sequence[Finding],
    *,
    at_work: Sequence[WorkerStatus],
    restarts: int,
    questions: int = 0,
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
        harness_crashes=sum(status.harness_crashes for status in at_work),
        mutator_incidents=sum(status.mutator_incidents for status in at_work),
        questions=questions,
        findings=tuple(findings),
        waiting=waiting,
        killed=killed,
    )


def line(now: Snapshot) -> Text:
    """The live status line."""
    words = [
        f"{now.seconds:.0f} s",
        f"{now.cases:,} cases",
        f"{now.cases_per_second:,.0f}/s a worker",
        _counted(now.workers, "worker"),
    ]
    if now.arms_known:
        words.append(f"{now.arms} of {now.arms_known} branches")
    words.append(_counted(len(now.findings), "finding"))
    text = Text(" | ".join(words))
    if now.newest is not None:
        age = f"{now.newest.found_after_s:.1f} s"
        text.append(f" | newest {now.newest.name} after {age}", style="bold")
    for trouble in _troubles(now):
        text.append(f" | {trouble}", style="yellow")
    return text


def _troubles(now: Snapshot) -> Iterator[str]:
    """What went wrong with us, which is nothing as a rule."""
    if now.restarts:
        outside = f", {now.killed} killed from outside" if now.killed else ""
        yield f"{_counted(now.restarts, 'restart')}{outside}"
    if now.waiting:
        yield f"{_counted(now.waiting, 'worker')} dying again and again"
    if now.harness_crashes:
        yield _counted(now.harness_crashes, "harness crash", "es")
    if now.questions:
        yield _counted(now.questions, "question")
    if now.mutator_incidents:
        yield _counted(now.mutator_incidents, "mutator incident")


def _counted(number: int, noun: str, plural: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else plural}"


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
