"""The shrinker: a smaller case that still shows the same.

It knows nothing of findings: it proposes cases, and ``interesting`` says whether one still shows
what matters. A caller that fixes clause, site and natural-or-injected in ``interesting`` can
therefore not be handed another finding. ``sort_key`` says what smaller means: fewer steps, and
then plainer ones.

A pass is a function that proposes through ``consider`` and may be run at any time; a new one is
added to ``PASSES``. Passes are run again until none of them finds anything.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import Final

from emu import wire
from emu.case import Case
from emu.steps import Step
from fuzz.directory.finding import Size
from fuzz.mutation.numbering import numbered_from_zero
from fuzz.mutation.order import disorder, swapped
from fuzz.mutation.simpler import complexity, simpler

PAIRS_UP_TO: Final = 16  # steps; above that the single deletions have to do first


def sort_key(case: Case) -> Size:
    """What smaller means: fewer steps, then the sum of what is not plain, then a usual order."""
    steps = case.steps
    return Size(
        len(steps), complexity(case.vm) + sum(complexity(step) for step in steps), disorder(steps)
    )


class Search:
    """The smallest interesting case so far, and the one gate through which it can change."""

    def __init__(self, case: Case, interesting: Callable[[Case], bool], budget: int) -> None:
        self.best = case
        self._key = sort_key(case)
        self._interesting = interesting
        self._budget = budget
        self._seen = {wire.encode(case)}

    @property
    def exhausted(self) -> bool:
        """Whether ``interesting`` was asked as often as the budget allows."""
        return self._budget <= 0

    def consider(self, case: Case) -> bool:
        """Takes ``case`` for the best if it is smaller, not known yet, and interesting."""
        key = sort_key(case)
        if key >= self._key or self.exhausted:
            return False
        spelling = wire.encode(case)
        if spelling in self._seen:
            return False
        self._seen.add(spelling)
        self._budget -= 1
        if not self._interesting(case):
            return False
        self.best, self._key = case, key
        return True


def shrink(case: Case, interesting: Callable[[Case], bool], budget: int) -> Case:
    """The smallest case found with at most ``budget`` questions; ``case`` itself is interesting."""
    search = Search(case, interesting, budget)
    before = None
    while search.best is not before and not search.exhausted:
        before = search.best
        for run_pass in PASSES:
            run_pass(search)
    return search.best


def delete_chunks(search: Search) -> None:
    """Halves, quarters, ... and single steps, from the end: what follows a breach is idle."""
    size = len(search.best.steps)
    while size:
        end = len(search.best.steps)
        while end > 0:
            start = max(end - size, 0)
            search.consider(_without(search.best, range(start, end)))
            end = start
        size //= 2


def delete_pairs(search: Search) -> None:
    """Two steps that only go together: an exit and its repair, a limit set and lifted."""
    before = None
    while search.best is not before and len(search.best.steps) <= PAIRS_UP_TO:
        before = search.best
        _any(search, (_without(before, pair) for pair in combinations(range(len(before.steps)), 2)))


def delete_and_simplify(search: Search) -> None:
    """A step that can go only if another gets plainer: what an error's ``nth=2`` has counted."""
    before = None
    while search.best is not before and len(search.best.steps) <= PAIRS_UP_TO:
        before = search.best
        shorter = [_without(before, (index,)) for index in range(len(before.steps))]
        _any(search, (plainer for case in shorter for plainer in _with_any_simpler(case)))


def number_from_zero(search: Search) -> None:
    """Objects and slots numbered as they come."""
    search.consider(numbered_from_zero(search.best))


def simplify_vm(search: Search) -> None:
    """Ordinary VM options."""
    while _any(search, (replace(search.best, vm=vm) for vm in simpler(search.best.vm))):
        pass


def simplify_steps(search: Search) -> None:
    """Plainer steps, one field at a time."""
    for index in range(len(search.best.steps)):
        while _any(search, _with_simpler(search.best, index)):
            pass


def put_in_order(search: Search) -> None:
    """Steps in the order that a reader expects, one swap at a time."""
    while _any(search, (replace(search.best, steps=steps) for steps in swapped(search.best.steps))):
        pass


PASSES: Final = (
    delete_chunks,
    delete_pairs,
    simplify_vm,
    simplify_steps,
    delete_and_simplify,
    number_from_zero,
    put_in_order,
)


def _any(search: Search, cases: Iterator[Case]) -> bool:
    return any(search.consider(case) for case in cases)


def _with_simpler(case: Case, index: int) -> Iterator[Case]:
    steps = case.steps
    return (
        Case(case.vm, (*steps[:index], step, *steps[index + 1 :])) for step in simpler(steps[index])
    )


def _with_any_simpler(case: Case) -> Iterator[Case]:
    return (plainer for index in range(len(case.steps)) for plainer in _with_simpler(case, index))


def _without(case: Case, indices: range | tuple[int, ...]) -> Case:
    kept: tuple[Step, ...] = tuple(
        step for index, step in enumerate(case.steps) if index not in indices
    )
    return replace(case, steps=kept)
