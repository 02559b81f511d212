"""``gff quality``: how many cases the search needs to find each known-bad kernel."""

import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from emu.kernels import CATALOGUE, Kind
from fuzz.measuring.quality import COMPARED, WAYS, append, load, planned, run_trials
from fuzz.measuring.trial import Result, Trial, TrialError, Way
from triage.commands.options import Json, OnlyKernels, Workers
from triage.durations import counted, seconds, span
from triage.ending import MissingError, Status, UserError
from triage.inputs import kernel_names, unknown, whole_number
from triage.progress import ProgressLine
from triage.quality_text import markdown, quality, screen
from triage.screen import note, show, show_json

_WORKERS: Final = 4
# The leak alone, then one of most clauses, found by some thousand cases or far fewer.
_COMPARED: Final = (
    *("bad-raw-errno", "bad-return-zero", "bad-size-zero", "bad-prepare-forgotten"),
    *("bad-pc-advanced", "bad-walk-mmio", "bad-dirty-first-write", "bad-nested-gpa"),
)
Ways = Annotated[
    list[str] | None,
    typer.Option(
        "--way",
        metavar="NAME",
        help="guided, unguided, plain or stateful; may be repeated.  [default: the first two]",
    ),
]
Compare = Annotated[
    bool,
    typer.Option("--compare", help="Hypothesis' stateful testing too, and eight kernels."),
]
Trials = Annotated[
    int,
    typer.Option(
        "--trials",
        metavar="N",
        parser=whole_number("--trials", 1, 1000),
        help="Trials of each kernel in each way; six are the fewest for an interval.",
    ),
]
Limit = Annotated[str, typer.Option("--limit", metavar="TIME", help="When a trial is given up.")]
Within = Annotated[str, typer.Option("--for", metavar="TIME", help="No new trial after that.")]
Results = Annotated[
    str, typer.Option("--results", metavar="FILE", help="Where results are kept; added to.")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown.")]


def measure_quality(
    kernel: OnlyKernels = None,
    way: Ways = None,
    compare: Compare = False,
    trials: Trials = 6,
    limit: Limit = "60s",
    within: Within = "30m",
    results: Results = "quality.jsonl",
    workers: Workers = _WORKERS,
    markdown_only: Markdown = False,
    json: Json = False,
) -> Status:
    """Search each known-bad kernel from nothing, guided and unguided, and count the cases.

    A trial ends with the first finding. Results are kept, one a line, so that a later run goes on
    where this one ended. With --compare Hypothesis searches as well, on the same model with the
    same judge; its cases are longer, so compare the times. Exit status 1 where a kernel was never
    found in the first way.

    Example: gff quality --compare --trials 6 --results compared.jsonl
    """
    ways = _ways(way, compare=compare)
    kernels = kernel_names(kernel) if kernel else _COMPARED if compare else _known_bad()
    plan = list(planned(kernels, ways, trials, seconds(limit, "--limit")))
    path = Path(results)
    done = _load(path)
    wanted = set(plan)
    known = {result.trial: result for result in done if result.trial in wanted}
    _run([trial for trial in plan if trial not in known], known, path, workers, seconds(within))
    shown = quality(list(known.values()), len(plan))
    if json:
        show_json(shown)
    elif markdown_only:
        typer.echo(markdown(shown), nl=False)
    else:
        show(screen(shown))
    missed = any(line.way == ways[0].value and not line.found for line in shown.lines)
    return Status.FINDINGS if missed else Status.CLEAN


def _ways(names: Sequence[str] | None, *, compare: bool) -> tuple[Way, ...]:
    known = {each.value: each for each in Way}
    for name in names or ():
        if name not in known:
            raise UserError(unknown("way of searching", name, known))
    named = tuple(dict.fromkeys(known[name] for name in names or ()))
    ways = named or (COMPARED if compare else WAYS)
    if Way.STATEFUL in ways and importlib.util.find_spec("hypothesis") is None:
        raise MissingError("hypothesis is not installed, which searches in the way stateful")
    return ways


def _known_bad() -> tuple[str, ...]:
    return tuple(name for name, entry in CATALOGUE.items() if entry.kind is Kind.KNOWN_BAD)


def _run(
    left: list[Trial], known: dict[Trial, Result], path: Path, workers: int, length: float
) -> None:
    """Run what is left of the plan, and add to ``known`` and to the file what comes of it."""
    started, total, line = time.monotonic(), len(known) + len(left), ProgressLine(None)
    if known:
        note(f"{path}: {counted(len(known), 'result')} of earlier runs count as well")

    def keep(result: Result) -> None:
        append(path, result)
        known[result.trial] = result
        passed = span(time.monotonic() - started)
        line.update(f"{len(known)} of {total} trials, {passed}")

    try:
        with line:
            run_trials(left, workers, keep, lambda: time.monotonic() - started < length)
    except TrialError as error:
        raise MissingError(str(error)) from error
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}") from error


def _load(path: Path) -> list[Result]:
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no such folder")
    try:
        return load(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a file of results: {error}") from error
