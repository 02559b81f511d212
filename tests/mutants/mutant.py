"""Every mutant of a module: the code's and the tables'."""

import ast
from collections import Counter
from collections.abc import Iterator

import msgspec

from tests.mutants.change import Change
from tests.mutants.entries import Enums, enums, members, tables
from tests.mutants.operators import OPERATORS


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A mutation, told so that it stays the same when lines move. ``number``: of those in the
    function that read the same, from 1.
    """

    file: str
    function: str
    old: str
    new: str
    number: int = 1

    def __str__(self) -> str:
        again = f" ({self.number})" if self.number > 1 else ""
        return f"{self.file} {self.function}: {self.old} -> {self.new or '(left out)'}{again}"


class Mutant(msgspec.Struct, frozen=True):
    """A mutated module: where, and its whole text."""

    place: Place
    source: str


def mutants(file: str, source: str) -> list[Mutant]:
    """Every mutant of the module, in the order of its text."""
    tree = ast.parse(source)
    seen: Counter[tuple[str, str, str]] = Counter()
    found: list[Mutant] = []
    for function, change in _Changes(enums(tree)).of(tree):
        key = (function, change.old, change.new)
        seen[key] += 1
        place = Place(
            file=file, function=function, old=change.old, new=change.new, number=seen[key]
        )
        found.append(Mutant(place, _applied(source, change)))
    return found


def _applied(source: str, change: Change) -> str:
    """The text with the change in it; ``ast`` counts columns in bytes."""
    lines = source.encode().splitlines(keepends=True)
    start, end = _span(lines, change.node)
    whole = b"".join(lines)
    return (whole[:start] + change.text.encode() + whole[end:]).decode()


def _span(lines: list[bytes], node: ast.expr | ast.stmt | ast.match_case) -> tuple[int, int]:
    if isinstance(node, ast.match_case):  # has no place of its own
        start = sum(map(len, lines[: node.pattern.lineno - 1]))
        last = node.body[-1]
    else:
        start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
        last = node  # type: ignore[assignment]  # an expression ends as a statement does
    assert last.end_lineno is not None
    assert last.end_col_offset is not None
    return start, sum(map(len, lines[: last.end_lineno - 1])) + last.end_col_offset


class _Changes:
    """Goes through a module; ``function`` is where it is."""

    def __init__(self, known: Enums) -> None:
        self._known = known

    def of(self, tree: ast.Module) -> Iterator[tuple[str, Change]]:
        """Every change, and the function that it is in."""
        for node in tree.body:
            yield from self._visit(node, "", is_table=True)

    def _visit(self, node: ast.AST, where: str, *, is_table: bool) -> Iterator[tuple[str, Change]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".lstrip(".")
            is_table = False
        elif isinstance(node, ast.Lambda | ast.Subscript):  # code; a type
            is_table = False
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not where:
            where = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
        if _is_not_mutated(node):
            return
        if is_table and isinstance(node, ast.expr):
            yield from ((where, change) for change in tables(node))
        if isinstance(node, ast.Compare) and isinstance(node.ops[-1], ast.In | ast.NotIn):
            yield from ((where, change) for change in tables(node.comparators[-1]))
        yield from ((where, change) for change in members(node, self._known))
        if not (is_table and isinstance(node, ast.stmt)):
            for operator in OPERATORS:
                yield from ((where, change) for change in operator(node))
        for child in _children(node):
            yield from self._visit(child, where, is_table=is_table)


def _is_not_mutated(node: ast.AST) -> bool:
    """Texts, imports, and names that only the language reads."""
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Raise():
            return True
        case ast.Assign([ast.Name("__slots__" | "__hash__" | "__all__")]):
            return True
        case ast.Assign([ast.Name()], ast.Constant(str())):
            return True  # a member of an enum, by its text
        case _:
            return False


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Without annotations and decorators."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "pattern"):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield each
