"""The matrix of kernels and clauses as a terminal and as Markdown show it."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from fuzz.oracle.contract_coverage import Coverage
from triage.durations import counted
from triage.matrix import Cell, Matrix
from triage.tables import columns, styled

NATURAL: Final = "x"
INJECTED: Final = "i"
KEPT: Final = "."
LEGEND: Final = "x: broken. i: broken only after an injected error. .: kept."


def mark(cell: Cell | None) -> str:
    """A cell in one character."""
    if cell is None:
        return KEPT
    return NATURAL if cell.natural else INJECTED


def screen(matrix: Matrix) -> RenderableType:
    """The matrix, the witnesses, and how much of the contract was put to the test."""
    table = columns("kernel", *matrix.clauses)
    for row in matrix.rows:
        marks = (mark(row.cell(clause)) for clause in matrix.clauses)
        table.add_row(row.kernel, *(styled(each, _style(each)) for each in marks))
    witnesses = columns("kernel", "clause", "cases", "smallest", wide="smallest", right=("cases",))
    for row in matrix.rows:
        for cell in row.cells:
            witnesses.add_row(row.kernel, cell.clause, str(cell.cases), file_name(cell.witness))
    head = f"{counted(matrix.cases, 'case')} on each kernel, reading {matrix.reading}"
    return Group(
        Text(head, style="bold"),
        table,
        Text(LEGEND),
        Text(""),
        witnesses,
        Text(""),
        tested(matrix.coverage),
    )


def _style(character: str) -> str:
    return {NATURAL: "bold red", INJECTED: "yellow"}.get(character, "dim")


def tested(coverage: Coverage) -> RenderableType:
    """Each clause's sites, with the errnos under which it was asked there."""
    table = columns("clause", "site", "backing", "errnos", wide="errnos")
    for clause, site, backing, errnos in rows_of(coverage):
        table.add_row(clause, site, backing, errnos)
    words = [f"{counted(len(coverage.gaps), 'pair')} of site and errno never met"]
    if coverage.unasked:
        words.append(f"never asked: {', '.join(coverage.unasked)}")
    return Group(Text("Contract coverage", style="bold"), table, Text("; ".join(words)))


def rows_of(coverage: Coverage) -> Iterator[tuple[str, str, str, str]]:
    """Clause, site and backing, and the errnos met there."""
    places: dict[tuple[str, str, str], list[str]] = {}
    for each in coverage.tested:
        places.setdefault((each.clause, each.site, each.backing), []).append(each.errno)
    for (clause, site, backing), errnos in places.items():
        yield clause, site, backing, " ".join(errnos)


def gaps_of(coverage: Coverage) -> Iterator[tuple[str, str, str]]:
    """Clause and site, and the errnos that were met elsewhere under the clause, but not there."""
    places: dict[tuple[str, str], list[str]] = {}
    for gap in coverage.gaps:
        places.setdefault((gap.clause, gap.site), []).append(gap.errno)
    for (clause, site), errnos in places.items():
        yield clause, site, " ".join(errnos)


def markdown(matrix: Matrix) -> str:
    """The same as a page of Markdown."""
    head = f"{counted(matrix.cases, 'case')} on each kernel, reading `{matrix.reading}`."
    lines = [head, LEGEND, "", *_table(("kernel", *matrix.clauses), _marks(matrix)), ""]
    lines += _table(("kernel", "clause", "cases", "smallest"), _witnesses(matrix))
    lines += ["", "Contract coverage:", ""]
    lines += _table(("clause", "site", "backing", "errnos"), rows_of(matrix.coverage))
    lines += ["", "Never met there:", ""]
    lines += _table(("clause", "site", "errnos"), gaps_of(matrix.coverage))
    if matrix.coverage.unasked:
        lines += ["", f"Never asked: {', '.join(matrix.coverage.unasked)}."]
    return "\n".join(lines) + "\n"


def _table(names: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = [names, ("---",) * len(names), *rows]
    return [f"| {' | '.join(_escaped(word) for word in line)} |" for line in lines]


def _escaped(word: str) -> str:
    return word.replace("|", "\\|")


def _marks(matrix: Matrix) -> Iterator[tuple[str, ...]]:
    for row in matrix.rows:
        yield row.kernel, *(mark(row.cell(clause)) for clause in matrix.clauses)


def _witnesses(matrix: Matrix) -> Iterator[tuple[str, ...]]:
    for row in matrix.rows:
        for cell in row.cells:
            yield row.kernel, cell.clause, str(cell.cases), file_name(cell.witness)


def file_name(file: str) -> str:
    """A file as a reader finds it: its folder and its name."""
    return "/".join(PurePath(file).parts[-2:])
