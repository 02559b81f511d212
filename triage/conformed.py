"""What a comparison came to, on the screen: what is unexplained first, the counts last."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from triage.conform_report import Conformed, Count, Ended, Undetermined, Unexplained
from triage.durations import counted, span
from triage.explained import diff
from triage.remedies import option
from triage.replay import Difference
from triage.screen import printable
from triage.tables import rows

_SHOWN: Final = 10  # reasons


def conformed(report: Conformed) -> RenderableType:
    """All of it."""
    return Group(*_parts(report))


def _parts(report: Conformed) -> Iterator[RenderableType]:
    for found in report.unexplained:
        yield from _unexplained(found)
    for lost in report.lost:
        yield Text(f"no outcome: {printable(lost.reason)}", style="bold red")
        yield _case(lost.case)
    for told in report.complaints:
        yield Text(f"console: {told.complaint}: {printable(told.line)}", style="bold red")
        yield _case(told.case)
    for unsure in report.undetermined:
        yield from _undetermined(unsure)
    for known in report.explained:
        head = f"{counted(known.count, 'case')} explained, {known.name}: {known.why}"
        yield Text(head, style="yellow")
        yield _case(known.case)
    yield _counts(report)


def _unexplained(found: Unexplained) -> Iterator[RenderableType]:
    head = f"{counted(found.count, 'case')} unexplained, at {found.where}"
    yield Text(head, style="bold red")
    yield Text(f"  model {found.model}\n  live  {found.live}")
    yield _case(found.case)
    yield Padding(_lines(found.model_lines, found.live_lines), (0, 0, 1, 4))


def _undetermined(found: Undetermined) -> Iterator[RenderableType]:
    yield Text("not the same each time (+), beside the model (-)", style="yellow")
    yield _case(found.case)
    for lines in found.live_lines:
        yield Padding(_lines(found.model_lines, lines), (0, 0, 1, 4))


def _lines(model: Sequence[str], live: Sequence[str]) -> Text:
    mine = [Difference(line, "") for line in model if line not in live]
    return diff([*mine, *(Difference("", line) for line in live if line not in model)])


def _case(case: str) -> RenderableType:
    return Padding(Text(case.rstrip()), (0, 0, 0, 4))


def _counts(report: Conformed) -> RenderableType:
    machines = f"{report.kernel} and {report.image}, Linux {report.linux}"
    of = "" if report.planned is None else f"{report.cases:,} of "
    cases = counted(report.cases if report.planned is None else report.planned, "case")
    played = f"{of}{cases} in {span(report.seconds)}"
    boxes = f"{report.boxes} box{'' if report.boxes == 1 else 'es'}"
    facts: list[tuple[str | Text, RenderableType]] = [
        ("played", f"{played}; {boxes}, started anew {report.restarts} times; seed {report.seed}"),
        *_end(report),
        ("same", f"{report.same:,}"),
        ("unexplained", f"{sum(each.count for each in report.unexplained):,}"),
        ("explained", f"{sum(each.count for each in report.explained):,}"),
        ("undetermined", f"{len(report.undetermined):,}"),
        ("unsupported", _reasons(_with_options(report))),
        ("left out", _reasons(report.left_out)),
        ("no outcome", f"{len(report.lost):,}"),
        ("complaints", f"{len(report.complaints):,}"),
    ]
    return Group(_verdict(report, machines), rows(facts))


def _verdict(report: Conformed, machines: str) -> Text:
    if not report.clean:
        return Text(f"{machines}: to be looked into", style="bold red")
    if report.ended is Ended.INTERRUPTED or report.corpus_left:
        return Text(f"{machines}: no unexplained difference so far", style="yellow")
    return Text(f"{machines}: no unexplained difference", style="green")


def _end(report: Conformed) -> Iterator[tuple[str, RenderableType]]:
    """Why it ended early, if it did."""
    if report.ended is not Ended.COMPLETE:
        left = f"{report.corpus_left:,} of the {counted(report.corpus, 'case')} of the corpus"
        more = f": {left} not played" if report.corpus_left else ""
        yield "ended", Text(f"{report.ended.value}{more}", style="yellow")


def _with_options(report: Conformed) -> list[Count]:
    """Why cases were not played, with what would play them."""
    given = {"nested": report.nested, "inject": report.inject}
    return [
        Count(each.reason + option(each.reason, **given), each.count) for each in report.unsupported
    ]


def _reasons(counts: Sequence[Count]) -> RenderableType:
    """The sum, and the most frequent; --json has them all."""
    total = sum(each.count for each in counts)
    lines = [f"{total:,}", *(f"{each.count:,}  {each.reason}" for each in counts[:_SHOWN])]
    rest = sum(each.count for each in counts[_SHOWN:])
    return Text("\n".join([*lines, *([f"{rest:,}  for other reasons"] if rest else [])]))
