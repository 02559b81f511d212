"""The ways in which code is changed: each takes a node and yields what could stand in its place.

The set is mutmut's, without the ones that every use breaks (an argument that becomes None), and
with conditions that are always true or false, operands left out, and returns of nothing.
Texts are left alone: what a reason says is not what a clause decides.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Final

from tests.mutants.change import Change, constant, expression, statement

Operator = Callable[[ast.AST], Iterator[Change]]

_COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_CALLS: Final = {"any": "all", "all": "any", "min": "max", "max": "min"}


def comparisons(node: ast.AST) -> Iterator[Change]:
    """Another comparison."""
    if isinstance(node, ast.Compare):
        for at, now in enumerate(node.ops):
            for other in _COMPARISONS[type(now)]:
                new = copy.copy(node)
                new.ops = [*node.ops[:at], other(), *node.ops[at + 1 :]]
                yield expression(node, new)


def connectives(node: ast.AST) -> Iterator[Change]:
    """``or`` for ``and``, and one operand less."""
    if isinstance(node, ast.BoolOp):
        other: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield expression(node, ast.BoolOp(other, node.values))
        for at in range(len(node.values)):
            kept = [*node.values[:at], *node.values[at + 1 :]]
            yield expression(node, kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept))


def negations(node: ast.AST) -> Iterator[Change]:
    """No ``not``, and no sign."""
    if isinstance(node, ast.UnaryOp):
        yield expression(node, node.operand)


def arithmetic(node: ast.AST) -> Iterator[Change]:
    """Another operation; of bits that are put together, one less."""
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield expression(node, ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))
        if isinstance(node.op, ast.BitOr):
            yield expression(node, node.left)
            yield expression(node, node.right)


def constants(node: ast.AST) -> Iterator[Change]:
    """The other truth, and the next number."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield expression(node, constant(not node.value))
        elif isinstance(node.value, int):
            yield expression(node, constant(node.value + 1))


def conditions(node: ast.AST) -> Iterator[Change]:
    """Always, and never."""
    tests: list[ast.expr] = []
    if isinstance(node, ast.If | ast.IfExp):
        tests = [node.test]
    elif isinstance(node, ast.comprehension):
        tests = node.ifs
    elif isinstance(node, ast.match_case) and node.guard is not None:
        tests = [node.guard]
    for test in tests:
        yield expression(test, constant(value=True))
        yield expression(test, constant(value=False))
    if isinstance(node, ast.While):
        yield expression(node.test, constant(value=False))


def calls(node: ast.AST) -> Iterator[Change]:
    """``all`` for ``any``, and the like."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield expression(node.func, ast.Name(_CALLS[node.func.id]))


def statements(node: ast.AST) -> Iterator[Change]:
    """Nothing done, nothing returned, nothing kept."""
    match node:
        case ast.Expr(ast.Call()) | ast.Delete() | ast.Continue() | ast.Break() | ast.Return(None):
            yield statement(node, "pass")
        case ast.Return(ast.expr() as value) if not _is_nothing(value):
            yield statement(node, "return None")
        case ast.Assign([target], value) if not _is_nothing(value):
            yield statement(node, f"{ast.unparse(target)} = None")
        case ast.AugAssign(target, operator, value):
            yield statement(node, "pass")
            name = ast.unparse(target)
            yield statement(node, f"{name} = {ast.unparse(value)}")
            other = ast.AugAssign(target, _ARITHMETIC[type(operator)](), value)
            yield statement(node, ast.unparse(other))
        case _:
            pass


def loops(node: ast.AST) -> Iterator[Change]:
    """No round at all."""
    if isinstance(node, ast.For | ast.comprehension):
        yield expression(node.iter, ast.Tuple([], ast.Load()))


def matches(node: ast.AST) -> Iterator[Change]:
    """A ``case`` that nothing fits."""
    if isinstance(node, ast.Match):
        for case in node.cases:
            if not _is_default(case):
                head = f"case {ast.unparse(case.pattern)}"
                yield Change(case, head, "", "")


def _is_nothing(node: ast.expr) -> bool:
    """None, or False: which of them no caller here asks."""
    return isinstance(node, ast.Constant) and not node.value


def _is_default(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


OPERATORS: Final[tuple[Operator, ...]] = (
    comparisons,
    connectives,
    negations,
    arithmetic,
    constants,
    conditions,
    calls,
    statements,
    loops,
    matches,
)
