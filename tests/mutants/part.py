"""The two parts of what judges, which share nothing, and their tests, the quick ones first."""

from collections.abc import Iterable
from enum import Enum

from emu.kernels import KERNELS

_CONTRACT_TESTS = (
    "tests.test_contract",
    "tests.test_contract_emulation",
    "tests.test_contract_recovery",
    "tests.test_contract_endings",
    "tests.test_contract_machines",
    "tests.test_contract_page",
    "tests.test_contract_reasons",
    "tests.test_pins",
    "tests.test_signature",
    "tests.test_scene",
)
_EXPECTATION_TESTS = (
    "tests.test_answers",
    "tests.test_premises",
    "tests.test_possible",
    "tests.test_expect",
    "tests.test_questions",
    "tests.test_expect_random",
)


class Part(Enum):
    """Its modules, and its tests."""

    CONTRACT = (
        *("contract", "clauses", "consequences", "recovery", "emulation", "logged", "pins"),
        *("judge", "signature", "scene", "files", "backing", "reach", "race", "course", "view"),
        "syndrome",
    )
    EXPECTATION = (
        *("expect", "effects", "effects_nested", "endings", "answers", "possible", "premises"),
    )

    @property
    def folder(self) -> str:
        """The package in ``fuzz``."""
        return "oracle" if self is Part.CONTRACT else "expectation"

    @property
    def tests(self) -> tuple[str, ...]:
        """The modules with its tables."""
        return _CONTRACT_TESTS if self is Part.CONTRACT else _EXPECTATION_TESTS

    @property
    def kernels(self) -> Iterable[str]:
        """Those on which the corpus is played for it."""
        return KERNELS if self is Part.CONTRACT else ("clean",)

    @property
    def killer(self) -> str:
        """The module that asks the corpus, of what the tests let pass."""
        return f"tests.mutants.{'by_corpus' if self is Part.CONTRACT else 'by_clean'}"


def part_of(file: str) -> Part:
    """The part that a file belongs to."""
    stem = file.removesuffix(".py")
    return next(part for part in Part if stem in part.value)
