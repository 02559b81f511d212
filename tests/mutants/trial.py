"""One mutant, tried in a process of its own, which was forked when no module was imported yet."""

import importlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType, ModuleType
from typing import Final

import pytest  # noqa: F401 - imported once, not in each process

from tests.mutants.mutant import Mutant
from tests.mutants.part import Part, part_of
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import ROOT, Recorded

LIMIT: Final = 120  # seconds


_VERDICTS: Final = tuple(Verdict)


class Package(MetaPathFinder, InspectLoader):
    """``fuzz`` as it was when the parent read it, and one module of it as the mutant has it."""

    def __init__(self, codes: Mapping[str, CodeType], packages: Set[str]) -> None:
        self._codes = codes
        self._packages = packages

    @classmethod
    def read(cls) -> "Package":
        """From the files."""
        codes: dict[str, CodeType] = {}
        packages: set[str] = set()
        for path in sorted((ROOT / "fuzz").rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if path.stem == "__init__":
                parts = parts[:-1]
                packages.add(".".join(parts))
            codes[".".join(parts)] = compile(path.read_text(), str(path), "exec", dont_inherit=True)
        return cls(codes, packages)

    def changed(self, mutant: Mutant) -> "Package":
        """With the mutant's text of its module."""
        folder = part_of(mutant.place.file).folder
        path = ROOT / "fuzz" / folder / mutant.place.file
        code = compile(mutant.source, str(path), "exec", dont_inherit=True)
        return Package({**self._codes, f"fuzz.{folder}.{path.stem}": code}, self._packages)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Of a module of the package."""
        if fullname not in self._codes:
            return None
        return spec_from_loader(fullname, self, is_package=self.is_package(fullname))

    def is_package(self, fullname: str) -> bool:
        """Whether it has modules of its own."""
        return fullname in self._packages

    def get_code(self, fullname: str) -> CodeType:
        """What stands for the module."""
        return self._codes[fullname]

    def get_source(self, fullname: str) -> None:
        """Not kept."""


def tried(mutant: Mutant, package: Package, recorded: list[Recorded]) -> int:
    """Fork a process that tries the mutant; its id."""
    return _forked(part_of(mutant.place.file), lambda: package.changed(mutant), recorded)


def tried_as_it_is(part: Part, package: Package, recorded: list[Recorded]) -> int:
    """Fork a process that tries the package without a mutation; its id."""
    return _forked(part, lambda: package, recorded)


def _forked(part: Part, made: Callable[[], Package], recorded: list[Recorded]) -> int:
    child = os.fork()
    if child:
        return child
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what Ctrl-C ends is no mutant's verdict
    signal.alarm(LIMIT)
    try:
        sys.meta_path.insert(0, made())
        killers = importlib.import_module("tests.mutants.killers")
        verdict: Verdict = killers.verdict(part, recorded)
    except BaseException:  # noqa: BLE001 - whatever a mutant raises, it did not do what it should
        verdict = Verdict.CRASH
    os._exit(_VERDICTS.index(verdict))


def ended() -> tuple[int, Verdict]:
    """Wait for a process that tries; its id, and what became of the mutant."""
    child, status = os.wait()
    if os.WIFSIGNALED(status):
        return child, Verdict.TIME
    return child, _VERDICTS[os.WEXITSTATUS(status)]
