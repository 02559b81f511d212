"""An exhaustive search on the screen: its scope, its progress, and what it may say at its end."""

from collections.abc import Sequence
from typing import TextIO

import msgspec
from rich.text import Text

from fuzz.campaign.status import FindingLine, finding_line
from fuzz.directory.finding import Finding
from fuzz.exhaustive.exhaust import Tally
from fuzz.exhaustive.ledger import Extent
from triage.durations import counted, span
from triage.progress import Announcer, ProgressLine
from triage.tables import Table, columns


class SizeLine(msgspec.Struct, frozen=True):
    """What ``gff exhaust --count --json`` prints."""

    steps: int
    cases: int
    layouts: tuple[Extent, ...]


class ExhaustLine(msgspec.Struct, frozen=True):
    """What ``gff exhaust --json`` prints. ``crashes``: cases of which nothing is known."""

    steps: int
    cases: int
    done: int
    finished: bool
    crashes: int
    kernels: tuple[str, ...]
    reading: str
    seconds: float
    cases_per_second: float
    workers: int
    findings: tuple[FindingLine, ...]


def size_line(steps: int, extents: tuple[Extent, ...]) -> SizeLine:
    """A scope for programs."""
    return SizeLine(steps, sum(extent.cases for extent in extents), extents)


def exhaust_line(tally: Tally, findings: Sequence[Finding]) -> ExhaustLine:
    """How a search stands, for programs."""
    plan = tally.plan
    return ExhaustLine(
        steps=plan.steps,
        cases=plan.cases,
        done=tally.done,
        finished=tally.finished,
        crashes=tally.crashes,
        kernels=plan.kernels,
        reading=plan.reading.value,
        seconds=round(tally.seconds, 3),
        cases_per_second=round(tally.rate, 1),
        workers=tally.workers,
        findings=tuple(map(finding_line, findings)),
    )


def scope_table(extents: tuple[Extent, ...]) -> Table:
    """The layouts and their sizes."""
    table = columns("layout", "cases", right=("cases",))
    for extent in extents:
        table.add_row(extent.layout, f"{extent.cases:,}")
    table.add_row("all", f"{sum(extent.cases for extent in extents):,}")
    return table


def verdict(tally: Tally) -> Text:
    """The end line: "all" only where it is all."""
    plan = tally.plan
    scope = f"the scope of {counted(plan.steps, 'step')} on {_named(plan.kernels)}"
    found = counted(len(tally.findings), "finding") if tally.findings else "no finding"
    if not tally.finished:
        return Text(f"{tally.done:,} of {plan.cases:,} cases of {scope} so far: {found}", "bold")
    if tally.crashes:
        text = Text(
            f"all but {tally.crashes:,} of {plan.cases:,} cases of {scope}: {found}", "bold"
        )
        return text.append("\ngff itself crashed on the others, see harness/", "bold yellow")
    return Text(f"all {plan.cases:,} cases of {scope}: {found}", "bold")


def _named(kernels: tuple[str, ...]) -> str:
    return kernels[0] if len(kernels) == 1 else f"{len(kernels)} kernels"


def status_line(tally: Tally) -> str:
    """How far it is, and how long it may yet take."""
    left = (tally.plan.cases - tally.done) / tally.rate if tally.rate else 0.0
    words = [
        span(tally.seconds),
        f"{tally.done:,} of {tally.plan.cases:,} cases ({_percent(tally)})",
        f"{tally.rate:,.0f}/s on {counted(tally.workers, 'worker')}",
        *([f"{span(left)} left"] if left else []),
        counted(len(tally.findings), "finding"),
        *([counted(tally.restarts, "restart")] if tally.restarts else []),
        *([f"gff crashed on {counted(tally.crashes, 'case')}"] if tally.crashes else []),
    ]
    return " | ".join(words)


def _percent(tally: Tally) -> str:
    # Rounded down: 100 % is said of nothing less.
    return f"{tally.done * 1000 // tally.plan.cases / 10:.1f} %"


class ExhaustProgress:
    """Told how the search stands; findings go to ``findings`` as they come."""

    def __init__(self, findings: TextIO) -> None:
        self._announcer = Announcer(findings)
        self._line = ProgressLine()

    def update(self, tally: Tally) -> None:
        """Show what is new."""
        self._announcer.say(tally.findings, self._line)
        self._line.update(status_line(tally))

    def close(self) -> None:
        """Leave a clean line."""
        self._line.clear()
