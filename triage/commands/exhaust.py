"""``gff exhaust``: every case of a small scope, so that the answer is "all"."""

import sys
from typing import Annotated, Final

import typer

from fuzz.directory.store import StoreError
from fuzz.exhaustive.examiners import ExaminerError
from fuzz.exhaustive.exhaust import Settings, Tally, extents, run_exhaust
from fuzz.exhaustive.scope import DEFAULT_STEPS
from triage.campaigns import campaign_path, ordered
from triage.commands.options import CORES, Campaign, Json, ReadingName, Workers
from triage.ending import MissingError, Status, UserError
from triage.exhaustion import ExhaustProgress, exhaust_line, scope_table, size_line, verdict
from triage.findings import summaries
from triage.inputs import kernel_names, reading, whole_number
from triage.screen import show, show_json

DIRECTORY: Final = "exhaust"
_MOST_STEPS: Final = 8  # a thousand times as many cases as with the default
_DEFAULT_KERNEL: Final = "clean"

Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        "-k",
        metavar="NAME",
        help=f"A kernel of `gff kernels`; may be repeated.  [default: {_DEFAULT_KERNEL}]",
    ),
]
Steps = Annotated[
    int,
    typer.Option(
        "--steps",
        metavar="N",
        parser=whole_number("--steps", 1, _MOST_STEPS),
        help="How many steps a case has at most, after its set-up.",
    ),
]
Count = Annotated[bool, typer.Option("--count", help="Print the number of cases; run none.")]


def exhaust(
    kernel: Kernels = None,
    steps: Steps = DEFAULT_STEPS,
    count: Count = False,
    workers: Workers = CORES,
    campaign: Campaign = DIRECTORY,
    reading_name: ReadingName = "strict",
    json: Json = False,
) -> Status:
    """Run every case of a small scope, symmetry removed.

    The scope is in docs/exhaust.md. A search that was interrupted goes on where it was; one that is
    finished says so. Exit status 1 with findings, or where gff crashed on a case; 130 if it is not
    finished.

    Example: gff exhaust --kernel clean --steps 5 --campaign exhaust
    """
    if count:
        return _count(steps, json=json)
    settings = Settings(
        campaign=campaign_path(campaign),
        kernels=kernel_names(kernel or [_DEFAULT_KERNEL]),
        reading=reading(reading_name),
        steps=steps,
        workers=workers,
    )
    tally = _search(settings, json=json)
    findings = ordered(tally.findings)
    if json:
        show_json(exhaust_line(tally, findings))
    else:
        found = ["", summaries(findings)] if findings else []
        show(*found, verdict(tally))
    if findings or tally.crashes:
        return Status.FINDINGS
    return Status.CLEAN if tally.finished else Status.INTERRUPTED


def _count(steps: int, *, json: bool) -> Status:
    sizes = extents(steps)
    if json:
        show_json(size_line(steps, sizes))
    else:
        show(scope_table(sizes))
    return Status.CLEAN


def _search(settings: Settings, *, json: bool) -> Tally:
    progress = ExhaustProgress(sys.stderr if json else sys.stdout)
    try:
        return run_exhaust(settings, progress.update)
    except StoreError as error:
        raise UserError(str(error)) from error
    except ExaminerError as error:
        raise MissingError(str(error)) from error
    finally:
        progress.close()
