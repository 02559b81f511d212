"""docs/contract.md against the table of clauses."""

import re
from pathlib import Path
from typing import Final

import pytest

from fuzz.oracle.contract import CLAUSES, Basis, Clause, Reading
from fuzz.oracle.pins import PINS

PAGE: Final = (Path(__file__).parents[1] / "docs" / "contract.md").read_text()
_ROW: Final = re.compile(r"^\| (C\d+) \|[^|]*\| ([^|]*) \| ([^|]*) \|", re.MULTILINE)
ROWS: Final = {row[0]: row for row in _ROW.findall(PAGE)}
READINGS: Final = {
    "all": frozenset(Reading),
    "strict, paranoid": frozenset({Reading.STRICT, Reading.PARANOID}),
    "paranoid": frozenset({Reading.PARANOID}),
}


def _basis(cell: str) -> Basis:
    if cell.startswith(("thread", "list", "inferred")):
        return Basis(cell.partition(",")[0])
    return Basis.SOURCE if ".c `" in cell else Basis.DOCUMENTED


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_page_says_what_a_clause_rests_on_and_who_asks_for_it(clause: Clause) -> None:
    _, basis, readings = ROWS[clause.id]
    assert (_basis(basis), READINGS[readings]) == (clause.basis, clause.readings)


def test_the_page_names_every_pin() -> None:
    assert re.findall(r"^\| (P\d+) \|", PAGE, re.MULTILINE) == [pin.id for pin in PINS]
