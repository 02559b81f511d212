"""How a campaign stands, for programs: what ``gff status --json`` prints."""

import msgspec

from fuzz.campaign.status import FindingLine, finding_line
from fuzz.oracle.contract import CLAUSES
from triage.advice import advice
from triage.overview import Overview, rate
from triage.screen import printable


class WorkerLine(msgspec.Struct, frozen=True):
    """One worker of the latest run."""

    index: int
    pid: int
    cases: int
    cases_per_second: float
    arms: int
    rss_mib: int
    finished: bool


class StatusLine(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign at one moment. ``cases_per_second`` is each worker's, the median of them.

    ``quiet_s``: how long there was no new path, None where that is not known. ``waiting``: workers
    that died so often that they are left alone for a while. ``denied``: inputs of which workers
    died, or may have. ``clauses_never``: not put to the test, None as long as there is no sample of
    the cases. ``widening``: what the campaign did not use; empty as long as it finds something new.
    ``pid``: the process that is at work there, or was killed. ``damaged``: files that are left out,
    each with the reason.
    """

    campaign: str
    condition: str
    pid: int | None
    silent_s: float
    kernels: tuple[str, ...]
    reading: str
    coverage: str
    compiled: bool
    seconds: float
    cases: int
    cases_per_second: float
    arms: int
    arms_known: int
    corpus: int
    quiet_s: float | None
    restarts: int
    killed: int
    waiting: int
    harness_crashes: int
    denied: int
    questions: int
    rerun: int
    differed: int
    clauses_tested: tuple[str, ...]
    clauses_never: tuple[str, ...] | None
    workers: tuple[WorkerLine, ...]
    findings: tuple[FindingLine, ...]
    widening: tuple[str, ...]
    damaged: tuple[str, ...]


def status_line(now: Overview) -> StatusLine:
    """The same for programs."""
    settings, shot, latest = now.configuration, now.snapshot, now.latest
    return StatusLine(
        campaign=printable(str(now.directory)),
        condition=now.condition.value,
        pid=now.pid,
        silent_s=round(now.silent_s, 1),
        kernels=settings.kernels,
        reading=settings.reading,
        coverage=settings.coverage,
        compiled=settings.compiled,
        seconds=shot.seconds,
        cases=shot.cases,
        cases_per_second=round(shot.cases_per_second, 1),
        arms=shot.arms,
        arms_known=shot.arms_known,
        corpus=latest.corpus if latest else 0,
        quiet_s=None if now.quiet_s is None else round(now.quiet_s, 1),
        restarts=shot.restarts,
        killed=shot.killed,
        waiting=shot.waiting,
        harness_crashes=shot.harness_crashes,
        denied=shot.denied,
        questions=shot.questions,
        rerun=latest.rerun if latest else 0,
        differed=latest.differed if latest else 0,
        clauses_tested=tuple(each.id for each in CLAUSES if each.id not in now.unasked),
        clauses_never=now.unasked if now.coverage.tested else None,
        workers=_workers(now),
        findings=tuple(map(finding_line, shot.findings)),
        widening=advice(now),
        damaged=tuple(map(printable, now.damaged)),
    )


def _workers(now: Overview) -> tuple[WorkerLine, ...]:
    return tuple(
        WorkerLine(
            index=index,
            pid=each.pid,
            cases=each.cases,
            cases_per_second=round(rate(each), 1),
            arms=each.arms,
            rss_mib=each.rss_mib,
            finished=each.finished,
        )
        for index, each in now.workers
    )
