"""A change of a Python source: which piece of its text becomes which other."""

import ast
from typing import Final, NamedTuple

_TEXT: Final = 100


class Change(NamedTuple):
    """``node``'s text becomes ``text``. ``old`` and ``new`` say so to people."""

    node: ast.expr | ast.stmt | ast.match_case
    old: str
    new: str
    text: str


def expression(node: ast.expr, new: ast.expr) -> Change:
    """An expression becomes another."""
    text = ast.unparse(new)
    return Change(node, short(node), short(new), f"({text})")


def statement(node: ast.stmt, new: str) -> Change:
    """A statement becomes another, of one line."""
    return Change(node, short(node), new, new)


def short(node: ast.AST) -> str:
    """The head of a node's text, in the spelling of ``ast``."""
    text = ast.unparse(node).partition("\n")[0]
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}..."


def constant(value: bool | int | None) -> ast.expr:
    """A literal."""
    return ast.Constant(value)
