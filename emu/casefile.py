"""A ``.case`` file: a comment, a case, and below ``---`` what is expected of each kernel.

A tool rewrites the expectations; what stands above them stays as people wrote it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from emu import expectation, text
from emu.case import Case
from emu.expectation import (
    Basis,
    Expectation,
    ExpectedLine,
    ExpectedLog,
    ExpectedRefusal,
    ExpectedRun,
    arrange,
    expected_lines,
)
from emu.tokens import CaseSyntaxError, Line

__all__ = [
    "Basis",
    "CaseFile",
    "CaseSyntaxError",
    "Expectation",
    "ExpectedLine",
    "ExpectedLog",
    "ExpectedRefusal",
    "ExpectedRun",
    "arrange",
    "dump",
    "expected_lines",
    "load",
    "make",
]

_SEPARATOR: Final = "---"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A whole file. ``header`` and ``body`` are its text as it stands; ``case`` is the body's."""

    header: str
    body: str
    case: Case
    expectations: tuple[Expectation, ...]

    def expected_of(self, kernel: str) -> Expectation | None:
        """The group that names ``kernel``."""
        return next((group for group in self.expectations if kernel in group.kernels), None)


def make(header: str, case: Case, expectations: Iterable[Expectation]) -> CaseFile:
    """A new file; ``header`` is lines of comment."""
    return CaseFile(header, text.dump(case), case, tuple(expectations))


def load(content: str, name: str = "<case>") -> CaseFile:
    """The file with that ``content``; ``name`` is what an error calls it."""
    texts = content.split("\n")
    lines = [Line.split(name, number, each) for number, each in enumerate(texts, start=1)]
    split = next((at for at, line in enumerate(lines) if _separates(line)), len(lines))
    above = _terminated("\n".join(texts[:split]))
    case = text.load(above, name)
    groups = expectation.read(lines[split + 1 :], case)
    if split < len(lines) and not groups:
        raise CaseSyntaxError(name, len(lines), 1, "the end of the file", "a group of kernels")
    header = "".join(f"{each}\n" for each in takewhile(_is_comment, texts[:split]))
    return CaseFile(header, above[len(header) :], case, groups)


def dump(casefile: CaseFile) -> str:
    """The text of the file."""
    groups = expectation.dump(casefile.expectations)
    return casefile.header + casefile.body + (f"{_SEPARATOR}\n{groups}" if groups else "")


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _terminated(lines: str) -> str:
    return lines if lines.endswith("\n") or not lines else f"{lines}\n"


def _separates(line: Line) -> bool:
    return [word.text for word in line.words] == [_SEPARATOR]
