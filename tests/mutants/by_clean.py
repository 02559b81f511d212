"""Whether a mutant of the expectation is surprised by what a correct kernel does of the corpus."""

from fuzz.expectation.expect import questions
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import Recorded


def verdict(recorded: list[Recorded]) -> Verdict:
    """What the corpus says of a mutant that every test let pass."""
    clean = (each for each in recorded if "clean" in each.kernels)
    surprised = any(questions(each.case, each.outcomes) for each in clean)
    return Verdict.CORPUS if surprised else Verdict.SURVIVED
