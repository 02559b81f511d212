"""Branch counters for the modelled kernel: cheap enough to leave on.

Modules are rewritten as they are imported (see ``arms``). One bytearray holds all counters (see
``feedback``).
"""

import ast
import sys
from collections.abc import Sequence
from enum import Enum, unique
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Final

from fuzz.guidance.arms import NAME, count_arms
from fuzz.guidance.counted import CAPACITY, COUNTS, PLACES

MODEL_MODULES: Final = ("emu.kvm", "emu.kernels", "emu.guest")


@unique
class Mode(Enum):
    """What guides a campaign. ``atheris``: its own instrumentation, as a cross-check."""

    COUNTERS = "counters"
    ATHERIS = "atheris"
    NONE = "none"


class Arms:
    """The counters of one process, and a name for each: module and line of its arm.

    ``compiled``: those that compiled code has in it are the first of them; there is one such set in
    a process.
    """

    def __init__(self, *, compiled: bool = False) -> None:
        self.counts = COUNTS if compiled else bytearray(CAPACITY)
        self.places = list(PLACES) if compiled else []

    def add(self, module: str, line: int) -> int:
        """The index of a new counter."""
        if len(self.places) == CAPACITY:
            raise OverflowError(f"more than {CAPACITY} branch arms")
        self.places.append((module, line))
        return len(self.places) - 1


class CountingLoader(SourceFileLoader):
    """Loads one module with counters in it; bytecode on disk is neither read nor written."""

    def __init__(self, name: str, path: str, arms: Arms) -> None:
        super().__init__(name, path)
        self._arms = arms

    def get_code(self, fullname: str) -> CodeType:
        """The rewritten module, compiled."""
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        count_arms(tree, lambda line: self._arms.add(fullname, line))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module, which finds the counters under a name of its own."""
        setattr(module, NAME, self._arms.counts)
        super().exec_module(module)


class CountingFinder(MetaPathFinder):
    """Takes the modules of some packages away from the ordinary import, but for those that have
    counters already.
    """

    def __init__(self, packages: tuple[str, ...], arms: Arms) -> None:
        self._packages = packages
        self._arms = arms
        self._counted = {module for module, _ in arms.places}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec, with another loader, if it is one of ours."""
        if fullname in self._counted or not is_in(fullname, self._packages):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return spec
        spec.loader = CountingLoader(fullname, spec.loader.path, self._arms)
        spec.cached = None
        return spec


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of these, or in one of them."""
    return any(module == each or module.startswith(f"{each}.") for each in packages)


def install(arms: Arms, packages: tuple[str, ...] = MODEL_MODULES) -> CountingFinder:
    """Counts the modules of ``packages`` from now on; what is already imported stays as it is."""
    finder = CountingFinder(packages, arms)
    sys.meta_path.insert(0, finder)
    return finder
