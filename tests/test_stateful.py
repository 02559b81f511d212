"""The state machine that our search is compared with is a fair rival."""

from collections import Counter
from statistics import median

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from emu.case import Case
from emu.steps import Guest, PoisonGmem, PunchHole, Run, SetMemslot, Unmap
from fuzz.measuring.stateful import HOW, STEPS, Machine

EXAMPLES = 60


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    made: list[Case] = []

    class Collecting(Machine):
        examine = staticmethod(made.append)

    run_state_machine_as_test(seed(1)(Collecting), settings=settings(HOW, max_examples=EXAMPLES))
    return made


def test_most_examples_are_as_long_as_they_may_be(cases: list[Case]) -> None:
    # Those that Hypothesis gives up are cases as well, but none that could find anything.
    assert len(cases) < 2 * EXAMPLES
    assert median(len(case.steps) for case in cases) >= STEPS - 5


def test_what_the_vm_has_from_the_start_is_used_and_changed(cases: list[Case]) -> None:
    long = [case for case in cases if len(case.steps) >= STEPS / 2]
    for case in long:
        assert sum(type(step) is SetMemslot for step in case.steps[:4]) == 2
    kinds = Counter(kind for case in long for kind in set(map(type, case.steps)))
    for kind in (Guest, Run, PunchHole, PoisonGmem, Unmap):
        assert kinds[kind] > EXAMPLES / 10
