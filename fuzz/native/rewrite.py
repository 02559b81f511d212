"""One module as it is compiled: records spelled out, members of enums named, arms counted."""

import ast
from collections.abc import Callable
from typing import Final

from fuzz.guidance.arms import NAME, count_arms
from fuzz.native.enum_names import name_members
from fuzz.native.records import RewriteError, expression, is_record, spell_out

_HEAD: Final = """
import dataclasses
import typing
from typing import Final
from mypy_extensions import mypyc_attr
"""
_COUNTERS: Final = f"""
from fuzz.guidance.counted import COUNTS
{NAME}: Final = COUNTS
"""
_EXCEPTIONS: Final = frozenset({"Exception", "MemoryError", "RuntimeError", "ValueError"})
# An exception of C has no room for attributes of ours.
_AS_PYTHON: Final = "mypyc_attr(native_class=False)"
_OPEN: Final = "mypyc_attr(allow_interpreted_subclasses=True)"


def rewritten(
    tree: ast.Module,
    enums: frozenset[str],
    new_counter: Callable[[int], int] | None,
    *,
    subclassed: bool,
) -> str:
    """The text of a module. ``new_counter``: as in ``count_arms``, where its arms are counted.

    ``subclassed``: modules that are not compiled have subclasses of its classes.
    Raises RewriteError for what would mean something else.
    """
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            raise RewriteError(f"line {node.lineno}: nothing may stand before __future__")
        if isinstance(node, ast.ClassDef) and not is_record(node):
            _mark(node, subclassed=subclassed)
    spell_out(tree)
    name_members(tree, enums)
    head = _HEAD
    if new_counter is not None:
        count_arms(tree, new_counter)
        head += _COUNTERS
    tree.body[1:1] = ast.parse(head).body
    ast.fix_missing_locations(tree)
    return f"{ast.unparse(tree)}\n"


def _mark(node: ast.ClassDef, *, subclassed: bool) -> None:
    """Tells mypyc what it cannot see of a class."""
    bases = set(map(ast.unparse, node.bases))
    if bases & _EXCEPTIONS:
        node.decorator_list.append(expression(_AS_PYTHON))
    elif subclassed and "NamedTuple" not in bases:
        node.decorator_list.append(expression(_OPEN))
