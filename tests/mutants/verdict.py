"""What becomes of a mutant."""

from enum import Enum, unique


@unique
class Verdict(Enum):
    """What became of a mutant: it survived, or what killed it."""

    SURVIVED = "survived"
    TESTS = "tests"
    CORPUS = "corpus"
    CATALOGUE = "catalogue"
    CRASH = "crash"
    TIME = "time"
