"""What every machine showed of every corpus case: a mutant is asked only to judge it.

Nothing here imports ``fuzz``: the mutant comes in with the first import.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from emu import casefile, text
from emu.case import Case
from emu.expectation import Expectation, ExpectedRun
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from emu.outcome import Outcomes

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = ROOT / "corpus"

# As tests/test_kernels.py: something injected that is served without anybody seeing it.
_INJECTED_BEFORE: Final = text.load("""
create mem7 size=0x10000 anon
memslot 7 gpa=0x70100000 size=0x10000 mem7+0x0
fail kvm_pgtable_stage2_map EAGAIN
guest read64 slot7+0x0
run
""").steps


class Recorded(NamedTuple):
    """A case, what a machine showed of it, and the kernels that show the same.

    ``expected``: the clauses that its file has for them, by KVM_RUN; None where it is in no file.
    """

    case: Case
    outcomes: Outcomes
    kernels: tuple[str, ...]
    expected: dict[int, tuple[str, ...]] | None


def record(kernels: Mapping[str, Kernel]) -> list[Recorded]:
    """The corpus on these kernels, as it is and after an injection; alike outcomes once."""
    model = Model()
    found: list[Recorded] = []
    for path in sorted(CORPUS.rglob("*.case")):
        file = casefile.load(path.read_text(), str(path))
        for each in _played(model, file.case, kernels):
            group = file.expected_of(each.kernels[0]) or file.expected_of("clean")
            found.append(each._replace(expected=_expected(group)))
        if path.parent.name != "selftest":
            disturbed = replace(file.case, steps=_INJECTED_BEFORE + file.case.steps)
            found += _played(model, disturbed, kernels)
    return found


def _expected(group: Expectation | None) -> dict[int, tuple[str, ...]] | None:
    if group is None:
        return None
    runs = (line for line in group.lines if isinstance(line, ExpectedRun))
    return {line.number - 1: line.clauses for line in runs if line.clauses}


def _played(model: Model, case: Case, kernels: Mapping[str, Kernel]) -> Iterator[Recorded]:
    by_outcomes: dict[Outcomes, list[str]] = {}
    for name, kernel in kernels.items():
        by_outcomes.setdefault(model.run(case, kernel), []).append(name)
    for outcomes, names in by_outcomes.items():
        yield Recorded(case, outcomes, tuple(names), None)
