"""The state machine that our search is compared with is a fair rival."""

from statistics import median

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from emu.case import Case
from emu.steps import SetMemslot
from fuzz.measuring.stateful import STEPS, Machine

EXAMPLES = 60
HOW = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    database=None,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=tuple(HealthCheck),
    verbosity=Verbosity.quiet,
)


def test_most_examples_are_as_long_as_they_may_be_and_all_have_a_slot() -> None:
    cases: list[Case] = []

    class Collecting(Machine):
        examine = staticmethod(cases.append)

    run_state_machine_as_test(seed(1)(Collecting), settings=HOW)
    # Those that Hypothesis gives up are cases as well, but none that could find anything.
    assert len(cases) < 2 * EXAMPLES
    assert median(len(case.steps) for case in cases) >= STEPS - 5
    assert all(any(type(step) is SetMemslot for step in case.steps) for case in cases)
