"""What became of mutants, kept in ``mutants/`` as long as nothing changed that it rests on.

A file for each part, named by a digest of the corpus and of every source that the part's tests
import, or that tries a mutant.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tests.mutants.mutant import Place
from tests.mutants.part import Part
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import CORPUS, ROOT

KEPT: Final = ROOT / "mutants"


class Result(msgspec.Struct, frozen=True):
    """What became of a mutant."""

    place: Place
    verdict: Verdict


class Kept:
    """The results of one part on the sources as they are."""

    def __init__(self, part: Part) -> None:
        KEPT.mkdir(exist_ok=True)
        self._path = KEPT / f"{part.name.lower()}-{_digest(part)}.jsonl"

    def known(self) -> dict[Place, Result]:
        """What is known already."""
        return {each.place: each for each in _read(self._path)}

    def add(self, result: Result) -> None:
        """It is on the disk when this returns."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(result) + b"\n")


def newest(part: Part) -> list[Result]:
    """Of the part's last run, whatever changed since."""
    paths = sorted(KEPT.glob(f"{part.name.lower()}-*.jsonl"), key=lambda path: path.stat().st_mtime)
    return _read(paths[-1]) if paths else []


def _read(path: Path) -> list[Result]:
    """Without lines that were cut off."""
    found: list[Result] = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(msgspec.DecodeError):
            found.append(msgspec.json.decode(line, type=Result))
    return found


def _digest(part: Part) -> str:
    own = ("tests.mutants.trial", "tests.mutants.killers", part.killer)
    digest = hashlib.sha256()
    for path in sorted({*sources_of((*own, *part.tests)), *CORPUS.rglob("*.case")}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def sources_of(modules: Iterable[str]) -> set[Path]:
    """The files of the checkout that these modules rest on by their imports, and their own."""
    found: set[Path] = set()
    todo = list(modules)
    while todo:
        path = _path(todo.pop())
        if path is not None and path not in found:
            found.add(path)
            todo += _imported(ast.parse(path.read_text()))
    return found


def _path(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    paths = (place.with_suffix(".py"), place / "__init__.py")
    return next((path for path in paths if path.is_file()), None)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str() as module, names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass
