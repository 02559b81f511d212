"""Kernels against clauses: which kernel breaks which clause in which cases, and the smallest."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from emu.case import Case
from emu.kernels import CATALOGUE
from emu.outcome import Outcomes
from fuzz.oracle.asked import Asked
from fuzz.oracle.contract import CLAUSES, Reading
from fuzz.oracle.contract_coverage import Coverage
from fuzz.oracle.judge import judge
from fuzz.oracle.signature import signature
from fuzz.oracle.view import Timeline

Run = Callable[[Case, str], Outcomes]


class Cell(msgspec.Struct, frozen=True):
    """A clause that a kernel breaks.

    ``cases``: in how many of the cases. ``natural``: in at least one without an injected error.
    ``witness``: the file with the fewest steps, a natural one if there is one. ``sites``: where.
    """

    clause: str
    cases: int
    natural: bool
    witness: str
    sites: tuple[str, ...]


class Row(msgspec.Struct, frozen=True):
    """A kernel, and the clauses that it breaks in the order of the contract."""

    kernel: str
    kind: str
    cells: tuple[Cell, ...]

    def cell(self, clause: str) -> Cell | None:
        """The cell of a clause, or None where it is kept."""
        return next((cell for cell in self.cells if cell.clause == clause), None)


class Matrix(msgspec.Struct, frozen=True):
    """What ``gff matrix --json`` prints. ``cases``: how many files were run on each kernel."""

    reading: str
    cases: int
    clauses: tuple[str, ...]
    rows: tuple[Row, ...]
    coverage: Coverage


class Broken(msgspec.Struct, frozen=True):
    """One case that breaks a clause; ordered so that the best witness is the least."""

    injected: bool
    steps: int
    file: str
    clause: str
    site: str

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Natural before injected, short before long."""
        return self.injected, self.steps, self.file


def matrix(
    cases: Sequence[tuple[str, Case]], kernels: Sequence[str], run: Run, reading: Reading
) -> Matrix:
    """Run every case on every kernel and judge it; ``cases``: files' names and what they hold."""
    clauses = tuple(clause.id for clause in CLAUSES if reading in clause.readings)
    asked = Asked()
    rows = tuple(_row(kernel, cases, run, reading, clauses, asked) for kernel in kernels)
    return Matrix(reading.value, len(cases), clauses, rows, asked.coverage())


def _row(
    kernel: str,
    cases: Iterable[tuple[str, Case]],
    run: Run,
    reading: Reading,
    clauses: Sequence[str],
    asked: Asked,
) -> Row:
    broken: list[Broken] = []
    for name, case in cases:
        outcomes = run(case, kernel)
        timeline = Timeline(case, outcomes)
        asked.note(name, timeline)
        broken += _breaches(name, case, outcomes, timeline, reading)
    cells = (
        _cell(clause, [each for each in broken if each.clause == clause]) for clause in clauses
    )
    kind = CATALOGUE[kernel].kind.value
    return Row(kernel, kind, tuple(cell for cell in cells if cell is not None))


def _breaches(
    name: str, case: Case, outcomes: Outcomes, timeline: Timeline, reading: Reading
) -> Iterator[Broken]:
    for breach in judge(case, outcomes, reading):
        found = signature(timeline, breach)
        yield Broken(not found.natural, len(case.steps), name, found.clause, found.site)


def _cell(clause: str, broken: Sequence[Broken]) -> Cell | None:
    if not broken:
        return None
    best = min(broken, key=lambda each: each.rank)
    return Cell(
        clause=clause,
        cases=len({each.file for each in broken}),
        natural=not best.injected,
        witness=best.file,
        sites=tuple(sorted({each.site for each in broken})),
    )
