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

_SCOPE: Final = (
    "fuzz.exhaustive.scope",
    "fuzz.exhaustive.footprint",
    "fuzz.exhaustive.enumeration",
)
_JUDGE: Final = ("fuzz.oracle.judge", "fuzz.oracle.signature", "fuzz.search.together")


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
    ours = [node for node in imports if node.module and node.module.split(".")[0] == "fuzz"]
    return [name for node in ours for name in _modules(node.module or "", node.names)]


def _modules(module: str, names: Iterable[ast.alias]) -> list[str]:
    """What ``from module import names`` imports: the module, or modules of a package."""
    if _file(module).exists():
        return [module]
    return [f"{module}.{each.name}" for each in names]


def _file(name: str) -> Path:
    return Path(fuzz.__file__).parent.joinpath(*name.split(".")[1:]).with_suffix(".py")


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
