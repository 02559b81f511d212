"""Runs a sample of cases again on another machine: the same case must give the same outcomes.

A difference is a mistake of ours, be it that a case leaves something behind for the next, that
kernels shared an execution which they should not have, or that compiled code does what the source
does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from emu.case import Case
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from emu.outcome import Outcomes, RunOutcome, describe
from fuzz.search.second_look import SecondLook

EVERY: Final = 4096  # cases
FRESH: Final = 32  # cases that one machine is used for; to make one takes tens of milliseconds


class Recheck:
    """The sample of one process; each time it is another kernel's turn. ``second_look``: what runs
    it a third time, where this is a build of the source.
    """

    def __init__(
        self, kernels: Mapping[str, Kernel], second_look: SecondLook | None = None
    ) -> None:
        self.rerun = 0
        self.differed = 0
        self._kernels = dict(kernels)
        self._names = list(kernels)
        self._second_look = second_look
        self._model: Model | None = None

    def difference(self, case: Case, groups: Mapping[Outcomes, Sequence[str]]) -> str:
        """What came out otherwise, as text; "" where nothing did.

        ``groups``: what the case had come to, each with the kernels on which it did.
        """
        name = self._names[self.rerun % len(self._names)]
        if self.rerun % FRESH == 0 or self._model is None:
            self._model = Model()
        self.rerun += 1
        again = self._model.run(case, self._kernels[name])
        first = next(outcomes for outcomes, names in groups.items() if name in names)
        if again != first:
            self.differed += 1
            return "\n".join([f"{name} differs:", *_pairs(first, again)])
        if self._second_look is None:
            return ""
        difference = self._second_look.difference(first, case, name)
        self.differed += bool(difference)
        return f"{name} differs in compiled code:\n{difference}" if difference else ""


def _pairs(first: Outcomes, again: Outcomes) -> Iterator[str]:
    for number, (one, other) in enumerate(zip_longest(first.runs, again.runs), 1):
        if one != other:
            yield f"run {number}: first {_said(one)}, then {_said(other)}"
    if first.refusals != again.refusals:
        yield f"refusals: first {first.refusals}, then {again.refusals}"
    if first.logs != again.logs:
        yield f"logs: first {first.logs}, then {again.logs}"


def _said(run: RunOutcome | None) -> str:
    # As people read it, and whole: what differs need not be in a description.
    return "none" if run is None else f"{describe(run)} {run}"
