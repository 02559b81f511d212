"""The judge: which clauses of the contract a machine broke in a case."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from emu.case import Case, Run
from emu.outcome import Outcomes
from fuzz.contract import CLAUSES, Clause, Reading
from fuzz.scene import Scene
from fuzz.view import View

_OF_READING: Final[dict[Reading, tuple[Clause, ...]]] = {
    reading: tuple(clause for clause in CLAUSES if reading in clause.readings)
    for reading in Reading
}


class Breach(NamedTuple):
    """A broken clause: its id, the index of the KVM_RUN in the outcomes, and why."""

    clause: str
    run: int
    reason: str


def judge(case: Case, outcomes: Outcomes, reading: Reading = Reading.STRICT) -> tuple[Breach, ...]:
    """Every breach of the reading's clauses, in the order of the KVM_RUNs."""
    clauses = _OF_READING[reading]
    asked = [[clause for clause in clauses if clause.when(run)] for run in outcomes.runs]
    if not any(asked):
        return ()  # the common case, and the whole scene is saved
    return tuple(
        Breach(clause.id, number, reason)
        for number, view in enumerate(views(case, outcomes))
        for clause in asked[number]
        if (reason := clause.check(view)) is not None
    )


def views(case: Case, outcomes: Outcomes) -> Iterator[View]:
    """Each KVM_RUN with the scene as it was then. The scene changes with the next one."""
    refused = {refusal.step for refusal in outcomes.refusals}
    runs = iter(outcomes.runs)
    scene = Scene()
    for index, step in enumerate(case.steps):
        if isinstance(step, Run):
            run = next(runs)
            yield View(run, step.flags, scene, scene.target(run.access))
        else:
            scene.apply(index, step, refused=index in refused)
