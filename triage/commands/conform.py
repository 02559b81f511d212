"""``gff live conform``: the model and a real kernel side by side, case by case."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated, Final

import typer

from emu import casefile
from emu.kernels import KERNELS
from emu.live import debian
from emu.live.needs import Needs
from triage.commands.options import Json
from triage.comparison import MOST, Comparison, Setting
from triage.conform_report import (
    Conformed,
    Ended,
)
from triage.conformed import conformed
from triage.corpus_files import case_files, corpus_dir
from triage.durations import seconds
from triage.ending import Status, UserError
from triage.inputs import unknown, whole_number
from triage.observation import live_fleet, modelled
from triage.screen import complain, show, show_json

_CASES: Final = 1000
_BOXES: Final = min(3, len(os.sched_getaffinity(0)))

Cases = Annotated[
    int | None,
    typer.Option(
        "--cases",
        metavar="N",
        parser=whole_number("--cases", 0, MOST),
        help=f"How many random cases, after those of the corpus.  [default: {_CASES:,}, or all that"
        " there is time for]",
    ),
]
For = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="TIME", help="How long to play: a number and s, m, h or d, as in 1h."
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        parser=whole_number("--seed", 1, (1 << 32) - 1),
        help="Where chance starts.",
    ),
]
ImageName = Annotated[str, typer.Option("--image", metavar="NAME", help="A kernel in the cache.")]
Boxes = Annotated[
    int,
    typer.Option(
        "--boxes", metavar="N", parser=whole_number("--boxes", 1, 256), help="How many QEMUs."
    ),
]
Kernel = Annotated[
    str | None,
    typer.Option(
        "--kernel", "-k", metavar="NAME", help="A modelled kernel.  [default: the image's version]"
    ),
]

Nested = Annotated[
    bool,
    typer.Option(
        "--nested",
        help="On boxes whose guests can have guests of their own; so have those of random cases.",
    ),
]
Inject = Annotated[
    bool, typer.Option("--inject", help="On boxes with a debugger, which injects errors.")
]


def conform(
    cases: Cases = None,
    length: For = None,
    seed: Seed = 1,
    image: ImageName = debian.DEFAULT,
    boxes: Boxes = _BOXES,
    kernel: Kernel = None,
    nested: Nested = False,
    inject: Inject = False,
    json: Json = False,
) -> Status:
    """Play cases on the model and on a real kernel, and show where they differ.

    The corpus, then random cases of what both can do. Each kind of difference is shown once, with
    the smallest case found. What the model is known to leave out is counted apart, and so are cases
    that the kernel does not end in the same way three times. Ctrl-C ends the playing early: what
    came of the cases so far is settled and told, unless Ctrl-C ends that too. Exit status 1 where a
    difference is unexplained, a case has no outcome, or the kernel complained on its console; else
    130 where Ctrl-C ended it. --for may end it before the corpus does, which is told.

    Example: gff live conform --cases 10000 --seed 1 --image debian-7.3
    """
    start = time.monotonic()
    limit = math.inf if length is None else seconds(length)
    if cases is None:
        cases = _CASES if length is None else MOST
    if kernel is not None:
        _known(kernel)
    needed = Needs(nested, inject, debugfs=True)
    with ExitStack() as stack:
        with _telling("interrupted before a case was played"):
            paths = case_files(corpus_dir())
            corpus = [casefile.load(path.read_text(), path.name).case for path in paths]
            fleet = stack.enter_context(live_fleet(image, boxes, needed))
        name = _known(kernel or modelled(fleet.host.kernel))
        comparison = Comparison(fleet, corpus, Setting(image, name, seed, boxes, needed, start))
        comparison.play(cases, start + limit)
        with _telling("interrupted while the differences were played again: no report"):
            report = comparison.report()
    if json:
        show_json(report)
    else:
        show(conformed(report))
    return _status(report)


def _status(report: Conformed) -> Status:
    if not report.clean:
        return Status.FINDINGS
    return Status.INTERRUPTED if report.ended is Ended.INTERRUPTED else Status.CLEAN


@contextmanager
def _telling(words: str) -> Iterator[None]:
    """Within, Ctrl-C ends the command, but not without a word."""
    try:
        yield
    except KeyboardInterrupt:
        complain(words)
        raise


def _known(name: str) -> str:
    if name not in KERNELS:
        raise UserError(unknown("kernel", name, KERNELS))
    return name
