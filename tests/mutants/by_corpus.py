"""Whether a mutant of the contract condemns of the corpus what its original does."""

from emu.kernels import CATALOGUE, KERNELS
from fuzz.oracle.contract import CLAUSES, Reading
from fuzz.oracle.judge import Breach, judge
from fuzz.oracle.signature import signature
from fuzz.oracle.view import Timeline
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import Recorded

_ASKED = {
    reading: frozenset(each.id for each in CLAUSES if reading in each.readings)
    for reading in Reading
}


def verdict(recorded: list[Recorded]) -> Verdict:
    """Whether a corpus file expects other clauses of its outcomes, or the catalogue something else
    than all that the kernels break.
    """
    broken = {
        (reading, kernel): set[str]()
        for reading in (Reading.PARANOID, Reading.DOCUMENTED)
        for kernel in KERNELS
    }
    for case, outcomes, kernels, expected in recorded:
        breaches = judge(case, outcomes, Reading.PARANOID)
        if expected is not None and _differs(breaches, expected):
            return Verdict.CORPUS
        if breaches and "clean" not in kernels:
            timeline = Timeline(case, outcomes)
            told = {str(signature(timeline, breach)): breach.clause for breach in breaches}
            for (reading, kernel), names in broken.items():
                if kernel in kernels:
                    names.update(name for name in told if told[name] in _ASKED[reading])
    return Verdict.CATALOGUE if _is_other(broken) else Verdict.SURVIVED


def _differs(breaches: tuple[Breach, ...], expected: dict[int, tuple[str, ...]]) -> bool:
    condemned: dict[int, list[str]] = {}
    for clause, run, _ in breaches:
        if clause in _ASKED[Reading.STRICT]:
            condemned.setdefault(run, []).append(clause)
    found = {run: tuple(dict.fromkeys(clauses)) for run, clauses in condemned.items()}
    return found != expected


def _is_other(broken: dict[tuple[Reading, str], set[str]]) -> bool:
    return any(
        names != {name for name in CATALOGUE[kernel].breaks if _clause(name) in _ASKED[reading]}
        for (reading, kernel), names in broken.items()
    )


def _clause(name: str) -> str:
    return name.partition("-")[0]
