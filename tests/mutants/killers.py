"""What a mutant has to deceive: the tables of the tests, and what its part asks of the corpus.

The first import of this module is that of the mutant.
"""

import importlib
import inspect
from collections.abc import Iterator
from itertools import product
from types import FunctionType

from tests.mutants.part import Part
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import Recorded


def verdict(part: Part, recorded: list[Recorded]) -> Verdict:
    """What becomes of a mutant of that part."""
    if any(map(fails, part.tests)):
        return Verdict.TESTS
    found: Verdict = importlib.import_module(part.killer).verdict(recorded)
    return found


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
