"""Changes of tables: an entry less, another member of its enum, the next row's column.

A table is what a module keeps in a tuple, set or dict, and what stands on the right of ``in``.
"""

import ast
import copy
import importlib
from collections.abc import Iterator, Mapping
from enum import EnumMeta
from typing import Final

from tests.mutants.change import Change, expression, short

Enums = Mapping[str, tuple[str, ...]]  # the members of each enum that a module knows

_BASES: Final = frozenset({"Enum", "IntEnum", "Flag", "IntFlag"})


def enums(tree: ast.Module) -> Enums:
    """Those that a module makes, and those that it has from ``emu``."""
    found: dict[str, tuple[str, ...]] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("emu."):
            module = vars(importlib.import_module(node.module))
            for name in (alias.name for alias in node.names):
                if isinstance(each := module.get(name), EnumMeta):
                    found[name] = tuple(each.__members__)
        elif isinstance(node, ast.ClassDef) and any(_is_enum(base) for base in node.bases):
            found[node.name] = tuple(_assigned(node))
    return found


def _is_enum(base: ast.expr) -> bool:
    return isinstance(base, ast.Name) and base.id in _BASES


def _assigned(node: ast.ClassDef) -> Iterator[str]:
    for each in node.body:
        if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            yield each.targets[0].id


def members(node: ast.AST, known: Enums) -> Iterator[Change]:
    """The next member of the enum; it counts as a table wherever one is named."""
    match node:
        case ast.Attribute(ast.Name(name), member) if member in known.get(name, ()):
            of = known[name]
            other = of[(of.index(member) + 1) % len(of)]
            if other != member:
                yield expression(node, ast.Attribute(ast.Name(name), other))
        case _:
            pass


def tables(node: ast.expr) -> Iterator[Change]:
    """An entry less in this literal, and its rows' columns changed."""
    match node:
        case ast.Tuple(entries) | ast.List(entries) | ast.Set(entries) if entries:
            for at, entry in enumerate(entries):
                kept = copy.copy(node)
                kept.elts = [*entries[:at], *entries[at + 1 :]]
                yield Change(node, short(entry), "", _spelled(kept))
            yield from _columns(entries)
        case ast.Dict(keys, values):
            for at in range(len(keys)):
                yield from _without(node, at)
                yield from _exchanged(node, at, (at + 1) % len(values))
        case _:
            pass


def _spelled(node: ast.expr) -> str:
    return "frozenset()" if isinstance(node, ast.Set) and not node.elts else ast.unparse(node)


def _without(node: ast.Dict, at: int) -> Iterator[Change]:
    key = node.keys[at]
    if key is not None:
        kept = ast.Dict([*node.keys[:at], *node.keys[at + 1 :]], _less(node.values, at))
        yield Change(node, short(key), "", ast.unparse(kept))


def _less(values: list[ast.expr], at: int) -> list[ast.expr]:
    return [*values[:at], *values[at + 1 :]]


def _exchanged(node: ast.Dict, at: int, other: int) -> Iterator[Change]:
    if ast.unparse(node.values[at]) != ast.unparse(node.values[other]):
        yield expression(node.values[at], node.values[other])


def _columns(rows: list[ast.expr]) -> Iterator[Change]:
    """Each row's columns as the next row has them; a text is no matter of judgement."""
    calls = [row for row in rows if isinstance(row, ast.Call)]
    for row, following in zip(calls, calls[1:] + calls[:1], strict=True):
        for now, other in zip(row.args[2:], following.args[2:], strict=False):
            if ast.unparse(now) != ast.unparse(other):
                yield expression(now, other)
