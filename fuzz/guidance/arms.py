"""Puts a counter into every branch arm of a module's functions, and no more than is needed.

A counter is the statement ``_arms[n] = 1``: whether an arm was taken, not how often. Counting how
often made the corpus two and a half times as large and the search a third slower, and it found no
more. An arm goes without one where others tell as much: a block that surely comes to a branch is
told by the arms of that; and of a test that leaves (``if gone: return``), going on is told by the
branch that follows. Only statements are added, and each takes the line of its neighbour, so
tracebacks keep their line numbers.
"""

import ast
from collections.abc import Callable
from typing import Final, TypeVar

NAME: Final = "_arms"
Body = list[ast.stmt]
_Node = TypeVar("_Node", bound=ast.AST)


def count_arms(tree: ast.Module, new_counter: Callable[[int], int]) -> None:
    """Rewrites a module; ``new_counter`` gives the index of a counter for an arm on that line.

    What runs only once, at import, is not counted; nor is a function's entry, which the arm that
    calls it counts.
    """
    rewriter = _Rewriter(new_counter)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = rewriter.block(node.body)


class _Rewriter:
    """Rewrites functions; every block from its end, because what follows decides."""

    def __init__(self, new_counter: Callable[[int], int]) -> None:
        self._new_counter = new_counter

    def block(self, body: Body) -> Body:
        """The statements, with a counter in every arm among them."""
        rewritten: Body = []
        rest = False
        for statement in reversed(body):
            new = self._statement(statement, rest=rest)
            rest = _counts(new, rest=rest)
            rewritten.insert(0, new)
        return rewritten

    def _arm(self, body: Body, place: ast.stmt) -> Body:
        return self._opened(self.block(body), place)

    def _opened(self, body: Body, place: ast.stmt) -> Body:
        if _block_counts(body, rest=False):
            return body
        return [self._counter(body[0] if body else place), *body]

    def _statement(self, node: ast.stmt, *, rest: bool) -> ast.stmt:
        """``rest``: whether what follows in the block surely counts."""
        match node:
            case ast.If():
                self._if(node, rest=rest)
            case ast.For() | ast.While():
                node.body = self._arm(node.body, node)
                node.orelse = self.block(node.orelse)
            case ast.Match():
                self._match(node)
            case ast.With():
                node.body = self.block(node.body)
            case ast.Try():
                node.body = self.block(node.body)
                node.orelse = self.block(node.orelse)
                node.finalbody = self.block(node.finalbody)
                for handler in node.handlers:
                    handler.body = self._arm(handler.body, node)
            case ast.Return(value=ast.IfExp(test, one, other)):
                return self._split(node, test, ast.Return(one), ast.Return(other))
            case ast.Assign(targets, ast.IfExp(test, one, other)):
                return self._split(node, test, ast.Assign(targets, one), ast.Assign(targets, other))
            case _:
                pass
        return node

    def _if(self, node: ast.If, *, rest: bool) -> None:
        node.body = self._arm(node.body, node)
        if node.orelse or not (rest and _leaves(node.body)):
            node.orelse = self._arm(node.orelse, node)

    def _match(self, node: ast.Match) -> None:
        for case in node.cases:
            case.body = self._arm(case.body, node)
        if not _is_catch_all(node.cases[-1]):
            nothing = ast.match_case(ast.MatchAs(), None, [self._counter(node)])
            node.cases.append(_placed(nothing, node))

    def _split(self, node: ast.stmt, test: ast.expr, one: ast.stmt, other: ast.stmt) -> ast.If:
        """A choice inside a statement, written as two arms."""
        choice = ast.If(test, [ast.copy_location(one, node)], [ast.copy_location(other, node)])
        self._if(ast.copy_location(choice, node), rest=False)
        return choice

    def _counter(self, place: ast.stmt) -> ast.stmt:
        index = self._new_counter(place.lineno)
        return _placed(ast.parse(f"{NAME}[{index}] = 1").body[0], place)


def _counts(statement: ast.stmt, *, rest: bool) -> bool:
    """Whether running this, and then what follows (``rest``), surely runs a counter."""
    match statement:
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name))]) if name == NAME:
            return True
        case ast.If(body=body, orelse=orelse):
            return _block_counts(body, rest=rest) and _block_counts(orelse, rest=rest)
        case ast.Match(cases=cases):
            return all(_block_counts(case.body, rest=rest) for case in cases)
        case ast.With(body=body) | ast.Try(body=body):
            return _block_counts(body, rest=rest)
        case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
            return False
        case _:  # a loop too: a pass counts, and without one there is only what follows
            return rest


def _block_counts(body: Body, *, rest: bool) -> bool:
    for statement in reversed(body):
        rest = _counts(statement, rest=rest)
    return rest


def _leaves(body: Body) -> bool:
    """Whether what follows the block is never reached through it."""
    match body[-1]:
        case ast.Return() | ast.Raise() | ast.Break() | ast.Continue():
            return True
        case ast.If(body=one, orelse=other):
            return bool(other) and _leaves(one) and _leaves(other)
        case _:
            return False


def _is_catch_all(case: ast.match_case) -> bool:
    """Whether nothing can pass by this case: ``case _``, or a name, without a guard."""
    pattern = case.pattern
    return case.guard is None and isinstance(pattern, ast.MatchAs) and pattern.pattern is None


def _placed(node: _Node, place: ast.stmt) -> _Node:
    for part in ast.walk(node):
        ast.copy_location(part, place)
    return node
