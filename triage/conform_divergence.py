"""Where two machines part on a case: the first difference, as what follows may follow from it."""

import re
from typing import Final, NamedTuple

import msgspec

from emu import text
from emu.abi import errno_name
from emu.case import Case
from emu.outcome import DirtyLog, Outcomes, Refusal, RunOutcome, describe
from emu.steps import Guest, Run

_PLACES: Final = re.compile(r"\b(gpa|size|ipa|write|gva)=\S+")
_COMPARED: Final = tuple(
    name for name in RunOutcome.__struct_fields__ if name not in ("step", "injected")
)

Told = RunOutcome | Refusal | DirtyLog | None


class Divergence(NamedTuple):
    """What each machine says of a step; None where it has nothing to say."""

    step: int
    model: Told
    live: Told


class Kind(NamedTuple):
    """A class of divergences: where, and what each machine says, without addresses and sizes."""

    where: str
    model: str
    live: str


def divergence(case: Case, model: Outcomes, live: Outcomes) -> Divergence | None:
    """The first difference; None where there is none."""
    ours, its = _by_step(model), _by_step(live)
    for index in range(len(case.steps)):
        if ours.get(index) != its.get(index):
            return Divergence(index, ours.get(index), its.get(index))
    return None


def kind(case: Case, found: Divergence) -> Kind:
    """The class that a divergence is of."""
    model, live = found.model, found.live
    if isinstance(model, RunOutcome) and isinstance(live, RunOutcome):
        return Kind(_at(case, model), *_run_words(model, live))
    step = case.steps[found.step]
    where = "run" if isinstance(step, Run) else text.dump_step(step).split()[0]
    return Kind(where, _word(model), _word(live))


def _by_step(outcomes: Outcomes) -> dict[int, Told]:
    found: dict[int, Told] = {refusal.step: refusal for refusal in outcomes.refusals}
    found |= {log.step: log for log in outcomes.logs}
    for run in outcomes.runs:
        # A live machine cannot tell whether an error was injected.
        found[run.step] = msgspec.structs.replace(run, injected=False)
    return found


def _at(case: Case, run: RunOutcome) -> str:
    step = case.steps[run.access] if run.access >= 0 else None
    return f"run at {step.access.value}" if isinstance(step, Guest) else "run"


def _run_words(model: RunOutcome, live: RunOutcome) -> tuple[str, str]:
    ours, its = (_PLACES.sub(r"\1", describe(run)) for run in (model, live))
    if ours != its:
        return ours, its
    names = [name for name in _COMPARED if getattr(model, name) != getattr(live, name)]
    return ours, f"the same but for {', '.join(names)}"


def _word(told: Told) -> str:
    match told:
        case Refusal(_, errno):
            return errno_name(errno)
        case DirtyLog(_, pages):
            return f"{len(pages)} dirty"
        case RunOutcome():
            return describe(told)
        case _:
            return "accepted"
