"""What gave the answers of an exhaustive search: digests of the source of scope, judge and model.

All of the model counts, the live machine apart, and all that the judge imports: rather once too
often another than once too seldom.
"""

import ast
import hashlib
import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

import emu
import fuzz

_SCOPE: Final = ("fuzz.scope", "fuzz.footprint", "fuzz.enumeration")
_JUDGE: Final = ("fuzz.judge", "fuzz.signature", "fuzz.together")


class Fingerprints(msgspec.Struct, frozen=True):
    """A digest for each part."""

    scope: str
    judge: str
    model: str

    def changed(self, other: "Fingerprints") -> list[str]:
        """The parts in which the two differ."""
        ours, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return [
            name
            for name, one, another in zip(self.__struct_fields__, ours, theirs, strict=True)
            if one != another
        ]


def fingerprints() -> Fingerprints:
    """Those of the code that runs here."""
    model = Path(emu.__file__).parent
    modelled = (path for path in model.rglob("*.py") if path.parent.name != "live")
    return Fingerprints(
        scope=_digest(map(_file, _SCOPE)),
        judge=_digest(map(_file, judging())),
        model=f"{_digest(modelled)}, unicorn {importlib.metadata.version('unicorn')}",
    )


def judging() -> set[str]:
    """The modules of ``fuzz`` that the judge is made of: whatever it imports."""
    found: set[str] = set()
    left = list(_JUDGE)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _imported(_file(name))
    return found


def _imported(path: Path) -> list[str]:
    nodes = ast.walk(ast.parse(path.read_bytes()))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    named = [node.module for node in imports if node.module]
    named += [
        f"fuzz.{each.name}" for node in imports if node.module == "fuzz" for each in node.names
    ]
    return [name for name in named if name.startswith("fuzz.")]


def _file(name: str) -> Path:
    return Path(fuzz.__file__).with_name(f"{name.removeprefix('fuzz.')}.py")


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
