"""``gff live conform``: the model and a real kernel side by side, case by case."""

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import takewhile
from random import Random
from typing import Annotated, Final

import typer

from emu import casefile, text
from emu.case import Case
from emu.kernels import KERNELS
from emu.live import debian
from emu.live.fleet import Fleet
from emu.live.needs import Needs
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.halting import told_to_stop
from triage.commands.options import Json
from triage.conform import Conformance
from triage.conform_cases import RandomCases
from triage.conform_report import Complained, Conformed, Count, Lost
from triage.conformed import conformed
from triage.corpus_files import case_files, corpus_dir
from triage.durations import counted, seconds
from triage.ending import Status, UserError
from triage.inputs import unknown, whole_number
from triage.observation import live_fleet, modelled
from triage.progress import ProgressLine
from triage.screen import show, show_json

_PLAIN_EVERY: Final = 10.0  # seconds between two lines where there is no terminal
_CASES: Final = 1000
_MOST: Final = 10**9
_BOXES: Final = min(3, len(os.sched_getaffinity(0)))

Cases = Annotated[
    int | None,
    typer.Option(
        "--cases",
        metavar="N",
        parser=whole_number("--cases", 0, _MOST),
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
    came of the cases so far is settled and told, unless ctrl-C ends that too. Exit status 1 where a
    difference is unexplained, a case has no outcome, or the kernel complained on its console.

    Example: gff live conform --cases 10000 --seed 1 --image debian-7.3
    """
    start = time.monotonic()
    limit = math.inf if length is None else seconds(length)
    if cases is None:
        cases = _CASES if length is None else _MOST
    if kernel is not None:
        _known(kernel)
    corpus = [casefile.load(path.read_text(), path.name).case for path in case_files(corpus_dir())]
    line = ProgressLine(_PLAIN_EVERY)
    with live_fleet(image, boxes, Needs(nested, inject)) as fleet, line as progress:
        name = kernel or modelled(fleet.host.kernel)
        comparison = _Comparison(fleet, _known(name), corpus, seed, nested=nested)
        with told_to_stop() as stop:
            comparison.play(
                cases, lambda: stop.raised or time.monotonic() > start + limit, progress
            )
        report = comparison.report(image, name, boxes, seed, start, progress)
    if json:
        show_json(report)
    else:
        show(conformed(report))
    return Status.CLEAN if report.clean else Status.FINDINGS


def _known(name: str) -> str:
    if name not in KERNELS:
        raise UserError(unknown("kernel", name, KERNELS))
    return name


class _Comparison:
    """The corpus and random cases, which go on from what came of them on the model."""

    def __init__(
        self, fleet: Fleet, kernel: str, corpus: list[Case], seed: int, *, nested: bool
    ) -> None:
        self._fleet = fleet
        self._corpus = corpus
        self._model, self._kernel = Model(), KERNELS[kernel]
        rng = Random(seed)  # noqa: S311 - a seed, so that it can be repeated
        self._random = RandomCases(corpus, fleet.host, rng, nested=nested)
        self._conformance = Conformance(fleet, self._expect)

    def play(self, count: int, over: Callable[[], bool], progress: ProgressLine) -> None:
        """The corpus and that many random cases, until it is ``over``."""
        tally, total = self._conformance.tally, len(self._corpus) + count
        of = "" if count == _MOST else f" of {total:,}"
        self._conformance.compare(
            takewhile(lambda _: not over(), self._cases(count)),
            lambda played: progress.update(
                f"{played:,}{of} cases, {counted(len(tally.pairs), 'difference')}"
            ),
        )

    def report(
        self,
        image: str,
        kernel: str,
        boxes: int,
        seed: int,
        start: float,
        progress: ProgressLine,
    ) -> Conformed:
        """Settle, minimise, and tell."""
        run, tally = self._conformance, self._conformance.tally
        progress.update(f"playing {counted(len(tally.pairs), 'case')} again")
        undetermined = run.settle()
        unexplained = run.unexplained(lambda done: progress.update(f"minimising kind {done + 1}"))
        return Conformed(
            image=image,
            linux=self._fleet.host.kernel,
            kernel=kernel,
            seed=seed,
            boxes=boxes,
            seconds=round(time.monotonic() - start, 1),
            restarts=self._fleet.restarts,
            cases=tally.cases,
            same=tally.same,
            unexplained=tuple(unexplained),
            explained=tuple(run.explained()),
            undetermined=tuple(undetermined),
            lost=tuple(Lost(text.dump(case), reason) for case, reason in tally.lost),
            complaints=tuple(
                Complained(each.complaint.value, each.line, text.dump(case))
                for case, each in tally.complaints
            ),
            unsupported=_counts(tally.unsupported),
            left_out=_counts(self._random.left_out),
        )

    def _expect(self, case: Case) -> Outcomes:
        return self._model.run(case, self._kernel)

    def _cases(self, count: int) -> Iterator[Case]:
        yield from self._corpus
        for _ in range(count):
            case = self._random.draw()
            self._random.learn(case, self._expect(case))
            yield case


def _counts(reasons: Counter[str]) -> tuple[Count, ...]:
    return tuple(Count(*each) for each in reasons.most_common())
