"""The corpus and random cases on the model and a live machine, until it is over."""

import time
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Final, NamedTuple

from emu import text
from emu.case import Case
from emu.kernels import KERNELS
from emu.live.fleet import Fleet
from emu.live.needs import Needs
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.halting import Flag, told_to_stop
from triage.conform import Conformance
from triage.conform_cases import RandomCases
from triage.conform_report import (
    Complained,
    Conformed,
    Count,
    Ended,
    Lost,
    Undetermined,
    Unexplained,
)
from triage.durations import counted
from triage.progress import ProgressLine

MOST: Final = 10**9  # random cases: more than there is time for
_PLAIN_EVERY: Final = 10.0  # seconds between two lines where there is no terminal


class Setting(NamedTuple):
    """What is compared, and how. ``start``: the moment at which it began."""

    image: str
    kernel: str
    seed: int
    boxes: int
    needs: Needs
    start: float


class Comparison:
    """The corpus and random cases, which go on from what came of them on the model."""

    def __init__(self, fleet: Fleet, corpus: list[Case], setting: Setting) -> None:
        self._fleet = fleet
        self._corpus = corpus
        self._setting = setting
        self._planned: int | None = None
        self._ended = Ended.COMPLETE
        self._model, self._kernel = Model(), KERNELS[setting.kernel]
        rng = Random(setting.seed)  # noqa: S311 - a seed, so that it can be repeated
        self._random = RandomCases(corpus, fleet.host, rng, nested=setting.needs.nested)
        self._conformance = Conformance(fleet, self._expect)

    def play(self, count: int, until: float) -> None:
        """The corpus and that many random cases, until that moment or a signal."""
        tally, total = self._conformance.tally, len(self._corpus) + count
        self._planned = None if count == MOST else total
        of = "" if count == MOST else f" of {total:,}"
        with ProgressLine(_PLAIN_EVERY) as progress, told_to_stop() as stop:
            self._conformance.compare(
                self._in_time(count, until, stop),
                lambda played: progress.update(
                    f"{played:,}{of} cases, {counted(len(tally.pairs), 'difference')}"
                ),
            )

    def report(self) -> Conformed:
        """Settle, minimise, and tell."""
        with ProgressLine(_PLAIN_EVERY) as progress:
            undetermined, unexplained = self._settled(progress)
        run, tally, setting = self._conformance, self._conformance.tally, self._setting
        return Conformed(
            image=setting.image,
            linux=self._fleet.host.kernel,
            kernel=setting.kernel,
            seed=setting.seed,
            boxes=setting.boxes,
            nested=setting.needs.nested,
            inject=setting.needs.injecting,
            ended=self._ended,
            planned=self._planned,
            corpus=len(self._corpus),
            seconds=round(time.monotonic() - setting.start, 1),
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

    def _settled(self, progress: ProgressLine) -> tuple[list[Undetermined], list[Unexplained]]:
        run = self._conformance
        progress.update(f"playing {counted(len(run.tally.pairs), 'case')} again")
        undetermined = run.settle()
        return undetermined, run.unexplained(
            lambda done: progress.update(f"minimising kind {done + 1}")
        )

    def _in_time(self, count: int, until: float, stop: Flag) -> Iterator[Case]:
        for case in self._cases(count):
            if stop.raised:
                self._ended = Ended.INTERRUPTED
                return
            if time.monotonic() > until:
                self._ended = Ended.TIME_OVER
                return
            yield case

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
