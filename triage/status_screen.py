"""How a campaign stands, for people: one screen, on a terminal that is 80 columns wide or more."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from rich.console import Console, Group, OverflowMethod, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from fuzz.directory.finding import Finding
from fuzz.directory.series import Sample
from fuzz.oracle.contract import CLAUSES
from triage.advice import advice
from triage.course import evenly, rates, spark
from triage.durations import counted, span
from triage.overview import Condition, Overview, rate
from triage.screen import printable
from triage.tables import Table, columns
from triage.troubles import troubles

NEWEST: Final = 5  # findings
DAMAGED: Final = 5  # files
WORKERS: Final = 16  # as many have a row; more would push the rest off the screen
_NARROW, _WIDE = 20, 48  # bars of a spark line
_ROOM: Final = 110  # columns, for the wide one
_STYLES: Final = {
    Condition.RUNNING: "bold green",
    Condition.ENDED: "bold",
    Condition.KILLED: "bold red",
}
# A label, what it labels, and how that came about.
_Row = tuple[str, Text, str]


def screen(now: Overview, console: Console) -> RenderableType:
    """The whole screen, for that console: its width, and what it can print."""
    bars = _WIDE if console.width >= _ROOM else _NARROW
    parts: list[RenderableType] = [_title(now), _facts(now, bars if _has_bars(console) else 0)]
    if now.damaged:
        parts += ["", Text("left out", "bold yellow"), *_damaged(now)]
    widening = advice(now)
    if widening:
        parts += [
            "",
            Text(quiet(now), "bold"),
            *(Padding(Text(each), (0, 0, 0, 2)) for each in widening),
        ]
    if now.workers:
        parts += ["", _workers(now)]
        more = len(now.workers) - WORKERS
        parts += [f"and {counted(more, 'more worker')}"] if more > 0 else []
    if now.snapshot.findings:
        parts += ["", Text("newest findings", "bold"), _newest(now, console)]
    return Group(*parts)


def _damaged(now: Overview) -> Iterator[Padding]:
    lines = [printable(each) for each in now.damaged[:DAMAGED]]
    more = len(now.damaged) - DAMAGED
    lines += [counted(more, "more file")] if more > 0 else []
    yield from (Padding(Text(line, "yellow"), (0, 0, 0, 2)) for line in lines)


def _title(now: Overview) -> Text:
    settings, kernels = now.configuration, now.configuration.kernels
    names = ", ".join(kernels) if len(kernels) <= 4 else f"{len(kernels)} kernels"
    text = Text(printable(str(now.directory)), "bold")
    compiled = "compiled, " if settings.compiled else ""
    text.append(printable(f": {names}, {settings.reading} reading, {compiled}"), "not bold")
    text.append(condition(now), _STYLES[now.condition])
    return text.append(f", {span(now.snapshot.seconds)} in all", "not bold")


def condition(now: Overview) -> str:
    """Whether it goes on."""
    match now.condition:
        case Condition.RUNNING:
            return "running" if now.pid is None else f"running (process {now.pid})"
        case Condition.KILLED:
            return f"killed (process {now.pid}), no word for {span(now.silent_s)}"
        case Condition.ENDED:
            return "ended"


def _facts(now: Overview, bars: int) -> Padding:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, min_width=8)
    grid.add_column(overflow="fold")
    grid.add_column(no_wrap=True, style="cyan")
    for label, text, bar in _rows(now, evenly(now.samples, max(bars, 1) + 1)):
        grid.add_row(label, text, bar if bars else "")
    return Padding(grid, (0, 0, 0, 2))


def _rows(now: Overview, samples: Sequence[Sample]) -> Iterator[_Row]:
    shot, latest = now.snapshot, now.latest
    each = f"{shot.cases_per_second:,.0f}/s each of {counted(len(now.workers), 'worker')}"
    yield "cases", Text(f"{shot.cases:,}, {each}"), spark(rates(samples))
    if shot.arms_known:
        arms = [sample.arms for sample in samples[1:]]
        text = Text(f"{shot.arms:,} of {shot.arms_known:,}{_last_new(now)}")
        yield "branches", text, spark(arms, floor=min(arms, default=0) * 0.9)
    if latest is not None:
        corpus = [sample.corpus for sample in samples[1:]]
        yield "corpus", Text(counted(latest.corpus, "input")), spark(corpus)
    yield "findings", Text(_found(shot.findings)), spark([one.findings for one in samples[1:]])
    if latest is not None and latest.rerun:
        yield "run again", determinism(latest), ""
    if now.coverage.tested:
        yield "contract", Text(_contract(now)), ""
    for number, trouble in enumerate(troubles(shot)):
        text = Text(f"{trouble.words}, see {trouble.where}/", "yellow")
        yield "" if number else "trouble", text, ""


def _last_new(now: Overview) -> str:
    if now.quiet_s is None:
        return ""
    ago = "ago" if now.condition is Condition.RUNNING else "before the end"
    return f", last new path {span(now.quiet_s)} {ago}"


def _found(findings: Sequence[Finding]) -> str:
    if not findings:
        return "none"
    return f"{len(findings):,}, {sum(each.natural for each in findings):,} natural"


def determinism(latest: Sample) -> Text:
    """How many of the cases that were run again came out otherwise, which none should."""
    again = f"{latest.rerun:,} on a fresh machine, "
    if not latest.differed:
        return Text(f"{again}none differed")
    share = latest.differed / latest.rerun
    return Text(again).append(f"{latest.differed:,} differed ({share:.2%})", "bold yellow")


def _contract(now: Overview) -> str:
    never = now.unasked
    text = f"{len(CLAUSES) - len(never)} of {len(CLAUSES)} clauses put to the test"
    text += f", in {counted(len(now.coverage.tested), 'way')}"
    return f"{text}; not {', '.join(never)}" if never else text


def _workers(now: Overview) -> Table:
    kernels = {each.index: each.kernels for each in now.latest.workers} if now.latest else {}
    table = columns(
        *("worker", "cases", "a second", "branches", "memory", "kernels"),
        right=("worker", "cases", "a second", "branches", "memory"),
        spare=("kernels", "branches"),
    )
    for index, worker in islice(now.workers, WORKERS):
        own = kernels.get(index, ()) or now.configuration.kernels
        table.add_row(
            str(index),
            f"{worker.cases:,}",
            f"{rate(worker):,.0f}",
            f"{worker.arms:,}" if worker.arms_known else "-",
            f"{worker.rss_mib:,} MiB",
            printable(", ".join(own) if len(own) <= 3 else f"{own[0]} and {len(own) - 1} more"),
        )
    return table


def _has_bars(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _newest(now: Overview, console: Console) -> RenderableType:
    newest = sorted(now.snapshot.findings, key=lambda each: each.found_after_s)[-NEWEST:]
    overflow: OverflowMethod = "ellipsis" if _has_bars(console) else "crop"
    return Group(*(_finding(now, each, overflow) for each in reversed(newest)))


def _finding(now: Overview, finding: Finding, overflow: OverflowMethod) -> Text:
    """On one line, however narrow it is: `gff triage show` has it whole."""
    text = Text(f"  {_when(now, finding):>13}  ", no_wrap=True, overflow=overflow)
    text.append(printable(finding.signature), "bold").append(printable(f" on {finding.kernel}  "))
    return text.append(printable(finding.outcome), "dim")


def _when(now: Overview, finding: Finding) -> str:
    if now.condition is Condition.RUNNING:
        return f"{span(max(now.snapshot.seconds - finding.found_after_s, 0.0))} ago"
    return f"after {span(finding.found_after_s)}"


def quiet(now: Overview) -> str:
    """The line above the advice."""
    return f"nothing new for {span(now.quiet_s or 0.0)}; what would widen the search"
