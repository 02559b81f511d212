"""How good the search is, as a terminal and as Markdown show it."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from fuzz.coverage import Mode
from fuzz.quality import MODES, Figures, figures
from fuzz.trial import Result
from triage.durations import counted
from triage.tables import columns

_NAMES = {Mode.COUNTERS: "guided", Mode.NONE: "unguided"}


class Line(msgspec.Struct, frozen=True):
    """A kernel in one mode: the figures, as text where they are shown."""

    kernel: str
    mode: str
    trials: int
    found: int
    median: str
    interval: str
    slowest: str


class Quality(msgspec.Struct, frozen=True):
    """What ``gff quality --json`` prints. ``planned``: trials that the plan has in all."""

    planned: int
    done: int
    lines: tuple[Line, ...]


def quality(results: Sequence[Result], planned: int) -> Quality:
    """The figures of every kernel and mode that has results."""
    return Quality(planned, len(results), tuple(_lines(results)))


def _lines(results: Sequence[Result]) -> Iterator[Line]:
    def key(result: Result) -> str:
        return result.trial.kernel

    for kernel, of_kernel in groupby(sorted(results, key=key), key):
        tried = list(of_kernel)
        for mode in MODES:
            of_mode = [result for result in tried if result.trial.mode is mode]
            if of_mode:
                yield _line(kernel, mode, figures(of_mode))


def _line(kernel: str, mode: Mode, found: Figures) -> Line:
    return Line(
        kernel=kernel,
        mode=_NAMES[mode],
        trials=found.trials,
        found=found.found,
        median=_cases(found.cases),
        interval=f"{_cases(found.low)} to {_cases(found.high)}",
        slowest=f"{found.slowest:.1f} s",
    )


def _cases(number: float | None) -> str:
    return "not found" if number is None else f"{number:,.0f}"


def screen(shown: Quality) -> RenderableType:
    """One row a kernel and mode."""
    table = columns(
        *("kernel", "search", "found", "median cases", "95 % interval", "slowest"),
        right=("found", "median cases", "slowest"),
    )
    for line in shown.lines:
        found = f"{line.found}/{line.trials}"
        table.add_row(line.kernel, line.mode, found, line.median, line.interval, line.slowest)
    done = f"{shown.done} of {counted(shown.planned, 'trial')}"
    return Group(table, Text(f"{done}; the interval is that of the median"))


def markdown(shown: Quality) -> str:
    """The same as a table of Markdown."""
    rows = [
        "| kernel | search | found | median cases | 95 % interval | slowest |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| `{line.kernel}` | {line.mode} | {line.found}/{line.trials} | {line.median} "
        f"| {line.interval} | {line.slowest} |"
        for line in shown.lines
    ]
    return "\n".join(rows) + "\n"
