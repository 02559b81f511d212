"""What a kernel makes of a case, in the words of the corpus, beside what a file expects.

The clauses in a corpus file are those of the strict reading, whatever else is asked for.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from emu import expectation
from emu.case import Case
from emu.expectation import Basis, Expectation, ExpectedLine, ExpectedRun, expected_lines
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge

CORPUS_READING: Final = Reading.STRICT


class Difference(msgspec.Struct, frozen=True):
    """A line as the file has it and as the model has it; "" where one has none."""

    expected: str
    actual: str


def replay(model: Model, case: Case, kernel: str) -> tuple[ExpectedLine, ...]:
    """The lines that the kernel of that name gives."""
    return lines_of(case, model.run(case, KERNELS[kernel]))


def lines_of(case: Case, outcomes: Outcomes) -> tuple[ExpectedLine, ...]:
    """The lines that stand for ``outcomes``."""
    condemned: dict[int, list[str]] = {}
    for breach in judge(case, outcomes, CORPUS_READING):
        condemned.setdefault(breach.run, []).append(breach.clause)
    return expected_lines(outcomes, condemned)


def differences(
    expected: Sequence[ExpectedLine], actual: Sequence[ExpectedLine]
) -> tuple[Difference, ...]:
    """The lines that are not the same, in the order of the file."""
    old = {(isinstance(line, ExpectedRun), line.number): line for line in expected}
    new = {(isinstance(line, ExpectedRun), line.number): line for line in actual}
    return tuple(
        Difference(spell(old.get(key)), spell(new.get(key)))
        for key in dict.fromkeys((*old, *new))
        if old.get(key) != new.get(key)
    )


def spell(line: ExpectedLine | None) -> str:
    """A line as a file has it."""
    if line is None:
        return ""
    return expectation.dump([Expectation(Basis.CLAIM, (), (line,))]).splitlines()[1].strip()
