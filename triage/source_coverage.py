"""Which lines of a real kernel some cases reach; ``gff live coverage --json``."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

import msgspec

from emu.live.source_lines import Function
from emu.live.tracing import Reached
from triage.conform_report import Count, Lost


class FunctionCoverage(msgspec.Struct, frozen=True):
    """``lines`` can be told to be reached, and of these ``reached`` were, all but ``unreached``."""

    name: str
    lines: int
    reached: int
    unreached: tuple[int, ...]


class FileCoverage(msgspec.Struct, frozen=True):
    """A file of the kernel's: functions that some case reached, in their order.

    ``untouched``: the names of the others.
    """

    file: str
    lines: int
    reached: int
    functions: tuple[FunctionCoverage, ...]
    untouched: tuple[str, ...]

    @property
    def name(self) -> str:
        """Without its folder."""
        return PurePath(self.file).name


class Said(msgspec.Struct, frozen=True):
    """A line of the console in which the kernel complains, and the file that was answered then."""

    file: str
    line: str


class SourceCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything.

    ``played`` of ``cases`` told what they reached; of ``cut``, too much for all of it to be told.
    ``lost``: cases without an outcome. ``unsupported`` counts those that were not played.
    """

    image: str
    linux: str
    seconds: float
    cases: int
    played: int
    files: tuple[FileCoverage, ...]
    cut: tuple[str, ...]
    lost: tuple[Lost, ...]
    complaints: tuple[Said, ...]
    unsupported: tuple[Count, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing has to be looked into."""
        return not (self.lost or self.complaints)

    @property
    def lines(self) -> int:
        """Of all files."""
        return sum(each.lines for each in self.files)

    @property
    def reached(self) -> int:
        """Of all files."""
        return sum(each.reached for each in self.files)


class Sum:
    """What was reached by any case so far."""

    def __init__(self, functions: Sequence[Function]) -> None:
        self._functions: Final = functions
        self._known = frozenset(place.pc for each in functions for place in each.places)
        self._pcs: set[int] = set()

    def add(self, reached: Reached) -> int:
        """How many places it reached that no case before it did."""
        new = (reached.pcs & self._known) - self._pcs
        self._pcs |= new
        return len(new)

    @property
    def places(self) -> tuple[int, int]:
        """How many were reached, and how many there are."""
        return len(self._pcs), len(self._known)

    def files(self) -> tuple[FileCoverage, ...]:
        """Line by line."""
        pcs = frozenset(self._pcs)
        names = dict.fromkeys(each.file for each in self._functions)
        return tuple(
            _file(name, [each for each in self._functions if each.file == name], pcs)
            for name in names
        )


def _file(name: str, functions: Sequence[Function], pcs: frozenset[int]) -> FileCoverage:
    rows = [(each, each.reached(pcs)) for each in functions]
    return FileCoverage(
        file=name,
        lines=sum(len(each.lines) for each in functions),
        reached=sum(len(reached) for _, reached in rows),
        functions=tuple(_function(each, reached) for each, reached in rows if reached),
        untouched=tuple(each.name for each, reached in rows if not reached),
    )


def _function(function: Function, reached: frozenset[int]) -> FunctionCoverage:
    lines = function.lines
    unreached = tuple(sorted(lines - reached))
    return FunctionCoverage(function.name, len(lines), len(reached), unreached)
