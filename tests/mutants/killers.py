"""What a mutant has to deceive: the tables of the tests, the corpus, and the catalogue.

The first import of this module is that of the mutant.
"""

import importlib
import inspect
from collections.abc import Iterator
from itertools import product
from types import FunctionType

from emu.kernels import CATALOGUE, KERNELS
from fuzz.oracle.contract import CLAUSES, Reading
from fuzz.expectation.expect import questions
from fuzz.oracle.judge import Breach, judge
from fuzz.oracle.signature import signature
from fuzz.oracle.view import Timeline
from tests.mutants.part import Part
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import Recorded

_ASKED = {
    reading: frozenset(each.id for each in CLAUSES if reading in each.readings)
    for reading in Reading
}


def verdict(part: Part, recorded: list[Recorded]) -> Verdict:
    """What becomes of a mutant of that part; what takes longest is asked last."""
    if part is Part.EXPECTATION and (found := by_clean(recorded)) is not Verdict.SURVIVED:
        return found
    if any(map(fails, part.tests)):
        return Verdict.TESTS
    return by_corpus(recorded) if part is Part.CONTRACT else Verdict.SURVIVED


def fails(module: str) -> bool:
    """Whether a test of the module fails; one that needs a fixture is not asked."""
    for name, test in vars(importlib.import_module(module)).items():
        if name.startswith("test_") and isinstance(test, FunctionType):
            try:
                for row in _rows(test):
                    test(**row)
            except Exception:  # noqa: BLE001 - a test may fail in any way
                return True
    return False


def _rows(test: FunctionType) -> Iterator[dict[str, object]]:
    """What its ``parametrize`` marks say to call it with."""
    columns: list[list[dict[str, object]]] = []
    names: set[str] = set()
    for mark in getattr(test, "pytestmark", ()):
        if mark.name == "parametrize":
            keys, values = mark.args
            keys = [keys] if isinstance(keys, str) else keys
            names.update(keys)
            rows = ([value] if len(keys) == 1 else value for value in values)
            columns.append([dict(zip(keys, row, strict=True)) for row in rows])
    if names == set(inspect.signature(test).parameters):
        for cells in product(*columns):
            yield {key: value for cell in cells for key, value in cell.items()}


def by_clean(recorded: list[Recorded]) -> Verdict:
    """Whether a correct kernel does what was not expected."""
    clean = (each for each in recorded if "clean" in each.kernels)
    surprised = any(questions(each.case, each.outcomes) for each in clean)
    return Verdict.CORPUS if surprised else Verdict.SURVIVED


def by_corpus(recorded: list[Recorded]) -> Verdict:
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
