"""How good the search is, as a terminal and as Markdown show it."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from fuzz.measuring.quality import FEWEST, Figures, figures
from fuzz.measuring.trial import Result, Way
from triage.durations import counted, span
from triage.tables import columns

_COLUMNS: Final = ("kernel", "search", "found", "median cases", "95 % interval", "median time")


class Line(msgspec.Struct, frozen=True):
    """A kernel in one way: the figures, as text where they are shown.

    ``interval``: None where there are too few trials for one.
    """

    kernel: str
    way: str
    trials: int
    found: int
    median: str
    interval: str | None
    time: str
    slowest: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of the columns."""
        found = f"{self.found}/{self.trials}"
        return self.kernel, self.way, found, self.median, self.interval or "-", self.time


class Total(msgspec.Struct, frozen=True):
    """A way of searching over all kernels. ``found``: those that most trials found.

    ``cases`` and ``seconds`` are the sums of the medians, None where one kernel has none.
    """

    way: str
    kernels: int
    found: int
    cases: float | None
    seconds: float | None


class Quality(msgspec.Struct, frozen=True):
    """What ``gff quality --json`` prints. ``planned``: trials that the plan has in all."""

    planned: int
    done: int
    lines: tuple[Line, ...]
    totals: tuple[Total, ...]


def quality(results: Sequence[Result], planned: int) -> Quality:
    """The figures of every kernel and way that has results."""
    found = {(kernel, way): figures(tried) for kernel, way, tried in _grouped(results)}
    lines = tuple(_line(kernel, way, each) for (kernel, way), each in found.items())
    ways = [way for way in Way if any(way is each for _, each in found)]
    totals = (_total(way, [each for (_, it), each in found.items() if it is way]) for way in ways)
    return Quality(planned, len(results), lines, tuple(totals))


def _grouped(results: Sequence[Result]) -> Iterator[tuple[str, Way, list[Result]]]:
    ways = list(Way)

    def key(result: Result) -> tuple[str, int]:
        return result.trial.kernel, ways.index(result.trial.way)

    for (kernel, way), tried in groupby(sorted(results, key=key), key):
        yield kernel, ways[way], list(tried)


def _line(kernel: str, way: Way, found: Figures) -> Line:
    return Line(
        kernel=kernel,
        way=way.value,
        trials=found.trials,
        found=found.found,
        median=_cases(found.cases),
        interval=_interval(found),
        time=_time(found.seconds),
        slowest=f"{found.slowest:.1f} s",
    )


def _total(way: Way, kernels: Sequence[Figures]) -> Total:
    cases = [each.cases for each in kernels if each.cases is not None]
    times = [each.seconds for each in kernels if each.seconds is not None]
    every = len(cases) == len(kernels)
    return Total(
        way=way.value,
        kernels=len(kernels),
        found=len(cases),
        cases=sum(cases) if every else None,
        seconds=round(sum(times), 2) if every else None,
    )


def _interval(found: Figures) -> str | None:
    if found.trials < FEWEST:
        return None
    return f"{_cases(found.low)} to {_cases(found.high)}"


def _cases(number: float | None) -> str:
    return "not found" if number is None else f"{number:,.0f}"


def _time(length: float | None) -> str:
    return "not found" if length is None else span(length)


def screen(shown: Quality) -> RenderableType:
    """One row a kernel and way, then what each way needed in all."""
    table = columns(*_COLUMNS, right=("found", "median cases", "median time"))
    for line in shown.lines:
        table.add_row(*line.cells)
    done = f"{shown.done} of {counted(shown.planned, 'trial')}"
    notes = [Text(f"{done}; the interval is that of the median"), *map(Text, _sums(shown))]
    return Group(table, *notes)


def markdown(shown: Quality) -> str:
    """The same as a table of Markdown."""
    rows = [f"| {' | '.join(_COLUMNS)} |", "|---" * len(_COLUMNS) + "|"]
    for line in shown.lines:
        kernel, *rest = line.cells
        rows.append(f"| `{kernel}` | {' | '.join(rest)} |")
    return "\n".join([*rows, "", *(f"- {line}" for line in _sums(shown))]) + "\n"


def _sums(shown: Quality) -> Iterator[str]:
    for total in shown.totals:
        found = (
            f"{total.way}: most trials found {total.found} of {counted(total.kernels, 'kernel')}"
        )
        if total.cases is not None and total.seconds is not None:
            medians = f"{counted(round(total.cases), 'case')} and {span(total.seconds)}"
            yield f"{found}; the medians add up to {medians}"
        else:
            yield found
