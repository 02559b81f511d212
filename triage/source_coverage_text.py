"""The reached lines of a kernel on the screen, and as Markdown."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from triage.durations import counted, span
from triage.screen import printable
from triage.source_coverage import FileCoverage, FunctionCoverage, SourceCoverage
from triage.tables import Table, columns

_RIGHT: Final = ("reached", "of", "%")
_ALL: Final = (*_RIGHT, "functions", "never called")


def screen(found: SourceCoverage) -> RenderableType:
    """The functions of each file, the files, and what stood in the way."""
    tables = [part for each in found.files if each.functions for part in (*_file(each), Text())]
    return Group(*tables, _totals(found), *_trouble(found), Text(_head(found)))


def markdown(found: SourceCoverage) -> str:
    """The same as a page of Markdown; functions that no case reaches are named too."""
    lines = [f"{_head(found)}.", ""]
    files = ((f"`{each.file}`", *_shares(each.reached, each.lines)) for each in found.files)
    lines += _table(("file", "reached", "of", "%"), files)
    for each in found.files:
        rows = (
            (f"`{one.name}`", *_shares(one.reached, one.lines), spans(one.unreached))
            for one in each.functions
        )
        lines += ["", f"## {each.file}", ""]
        if each.functions:
            lines += _table(("function", "reached", "of", "%", f"not reached in {each.name}"), rows)
        if each.untouched:
            names = ", ".join(f"`{name}`" for name in each.untouched)
            lines += ["", f"Never called: {names}."]
    return "\n".join([*lines, ""])


def spans(lines: Sequence[int]) -> str:
    """Line numbers, neighbours joined: ``3, 5-7``."""
    joined: list[tuple[int, int]] = []
    for line in lines:
        if joined and joined[-1][1] == line - 1:
            joined[-1] = (joined[-1][0], line)
        else:
            joined.append((line, line))
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in joined)


def _head(found: SourceCoverage) -> str:
    share = f"{found.reached:,} of {found.lines:,} lines reached"
    played = f"{found.played:,} of {counted(found.cases, 'case')} played"
    return f"{share}, {played} on {found.image}, Linux {found.linux}, in {span(found.seconds)}"


def _file(each: FileCoverage) -> tuple[Text, Table]:
    table = columns(
        "function", "reached", "of", "%", "not reached", wide="not reached", right=_RIGHT
    )
    for one in each.functions:
        table.add_row(one.name, *_shares(one.reached, one.lines), _style(one))
    return Text(each.file, style="bold"), table


def _style(one: FunctionCoverage) -> Text:
    return Text(spans(one.unreached), style="yellow")


def _totals(found: SourceCoverage) -> Table:
    table = columns("file", "reached", "of", "%", "functions", "never called", right=_ALL)
    for each in found.files:
        counts = (str(len(each.functions)), str(len(each.untouched)))
        table.add_row(each.file, *_shares(each.reached, each.lines), *counts)
    return table


def _shares(reached: int, lines: int) -> tuple[str, str, str]:
    return str(reached), str(lines), str(100 * reached // lines)


def _trouble(found: SourceCoverage) -> Iterator[Text]:
    for each in found.unsupported:
        yield Text(f"{counted(each.count, 'case')} unsupported: {each.reason}")
    for name in found.cut:
        yield Text(f"{name}: reached more than could be told", style="yellow")
    for lost in found.lost:
        yield Text(f"{lost.case}: no outcome: {lost.reason}", style="red")
    for said in found.complaints:
        yield Text(f"{said.file}: console: {printable(said.line)}", style="bold red")


def _table(names: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (names, ("---",) * len(names), *rows)]
