"""Gives each member of an enum that a function names a plain name in its module.

Python keeps what it found at ``Enum.MEMBER`` beside the instruction; compiled code looks it up in
the class every time. A final name of the module is one load from memory.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import Final

from fuzz.native.records import RewriteError

_BASES: Final = frozenset({"Enum", "IntEnum"})


def enums(trees: Iterable[ast.Module]) -> frozenset[str]:
    """The names of the enums that some modules define."""
    classes = (node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    return frozenset(node.name for node in classes if _BASES & set(map(ast.unparse, node.bases)))


def name_members(tree: ast.Module, enums: frozenset[str]) -> None:
    """Rewrites the functions of a module that uses ``enums``, and names the members before them.

    Raises RewriteError where a function has another use for the name of one.
    """
    defined = {name: place for place, node in enumerate(tree.body) for name in _defines(node)}
    rewriter = _Rewriter(enums & defined.keys())
    rewriter.visit(tree)
    for enum, members in sorted(rewriter.found.items(), key=lambda item: -defined[item[0]]):
        place = defined[enum]
        text = "\n".join(f"{_named(enum, each)}: Final = {enum}.{each}" for each in sorted(members))
        for statement in reversed(ast.parse(text).body):
            for part in ast.walk(statement):
                if isinstance(part, ast.stmt | ast.expr):
                    ast.copy_location(part, tree.body[place])
            tree.body.insert(place + 1, statement)


def _defines(node: ast.stmt) -> list[str]:
    match node:
        case ast.ImportFrom(names=names):
            return [each.asname or each.name for each in names]
        case ast.ClassDef(name=name):
            return [name]
        case _:
            return []


def _names_of_its_own(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        match node:
            case ast.arg(name) | ast.Name(name, ast.Store() | ast.Del()):
                yield name


def _named(enum: str, member: str) -> str:
    return f"_of_{enum}_{member}"  # two underscores would make it the class's own


class _Rewriter(ast.NodeTransformer):
    """Outside of functions all stays: a default or a constant is read once, and a pattern is none
    of the expressions.
    """

    def __init__(self, enums: frozenset[str]) -> None:
        self.found: dict[str, set[str]] = {}
        self._enums = enums
        self._inside = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        shadowed = sorted(self._enums & set(_names_of_its_own(node)))
        if shadowed:
            raise RewriteError(f"line {node.lineno}: {node.name}: {shadowed[0]} is no enum there")
        before, self._inside = self._inside, True
        node.body = [self.visit(each) for each in node.body]
        self._inside = before
        return node

    def visit_match_case(self, node: ast.match_case) -> ast.match_case:
        node.guard = None if node.guard is None else self.visit(node.guard)
        node.body = [self.visit(each) for each in node.body]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        match node:
            case ast.Attribute(ast.Name(enum), member, ast.Load()) if (
                self._inside and enum in self._enums and member.isupper()
            ):
                self.found.setdefault(enum, set()).add(member)
                return ast.copy_location(ast.Name(_named(enum, member), ast.Load()), node)
        self.generic_visit(node)
        return node
