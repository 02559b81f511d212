"""The cases of a scope: none is lost, none comes twice, and what is left out shows nothing new."""

import itertools
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import pytest

from emu.case import Case
from emu.kernels import KERNELS
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from emu.outcome import describe
from emu.steps import Guest, GuestL2, Run, Step
from fuzz.exhaustive.enumeration import Enumeration, alphabet
from fuzz.exhaustive.footprint import footprint
from fuzz.exhaustive.scope import LAYOUTS, Layout
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.oracle.signature import signature
from fuzz.oracle.view import Timeline

SETUP: Final = """create gmem0 size=0x1000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
"""
# One name for each letter, in the order of the layout.
TINY: Final = {
    "L": "memory-limit on",
    "l": "memory-limit off",
    "P": "punch gmem0+0x0 size=0x1000",
    "R": "release gmem0",
    "D": "memslot 0 delete",
    "C": "memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd",
    "F": "fail kvm_gmem_get_pfn ENOMEM",
    "g": "guest read64 0x40000008",
    "s": "skip",
    "r": "run",
    "i": "run immediate-exit",
    "b": "run bad-argument",
}
TINY_LAYOUT: Final = Layout("tiny", SETUP, tuple(TINY.values()))
TINY_STEPS: Final = 4
RUNS: Final = "rib"
MODEL: Final = Model()
by_layout: Final = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


# AGAINST BRUTE FORCE

# Written by hand, and not from the footprints: what does not commute.
CLASHES: Final = (
    *("Ll", "PR", "PD", "PC", "RD", "RC", "DC", "ib", "si", "sb"),
    *("Ci", "Cb"),  # an error that waited for it marks the outcomes
    *(f"{letter}r" for letter in "PRDCFgsib"),
    *("Lr", "lr"),
)


def commute(one: str, other: str) -> bool:
    return one != other and one + other not in CLASHES and other + one not in CLASHES


def smaller(word: str) -> Iterator[str]:
    """Words that show the same by one swap, or without one letter that does nothing."""
    for at in range(len(word) - 1):
        if commute(word[at], word[at + 1]):
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    yield from (word[:at] + word[at + 1 :] for at in idle(word))
    if word and word[-1] not in RUNS:
        yield word[:-1]


def idle(word: str) -> Iterator[int]:
    """Where a letter does nothing: the scene is played as far as it matters."""
    limited, punched, skipped, file, slot = False, True, True, True, True
    for at, letter in enumerate(word):
        nothing = {
            "L": limited,
            "l": not limited,
            "P": punched or not file,
            "R": not file,
            "D": not slot,
            "C": slot or not file,
            "s": skipped,
        }
        if nothing.get(letter, False):
            yield at
        limited = letter == "L" or (limited and letter != "l")
        # What else is done to the memory may leave something to punch: better once too often.
        punched = letter == "P" or (punched and letter not in "rRDC")
        # A call that fails early may still have completed an MMIO.
        skipped = letter == "s" or (skipped and letter not in "ri")
        file, slot = file and letter != "R", letter == "C" or (slot and letter != "D")


def order(word: str) -> tuple[int, list[int]]:
    return len(word), [list(TINY).index(letter) for letter in word]


def first_of_each_kind() -> set[str]:
    """The first word of all that show the same, by the moves above alone."""
    words = [
        "".join(letters)
        for length in range(TINY_STEPS + 1)
        for letters in itertools.product(TINY, repeat=length)
    ]
    kind = {word: word for word in words}

    def find(word: str) -> str:
        while kind[word] != word:
            kind[word] = kind[kind[word]]
            word = kind[word]
        return word

    for word in words:
        for other in smaller(word):
            first, second = sorted((find(word), find(other)), key=order)
            kind[second] = first
    return {find(word) for word in words} - {""}


def spelled(enumeration: Enumeration) -> list[str]:
    names = {alphabet(TINY_LAYOUT).letters[at]: name for at, name in enumerate(TINY)}
    setup = len(alphabet(TINY_LAYOUT).setup)
    cases = enumeration.cases(0, enumeration.size)
    return ["".join(names[step] for step in case.steps[setup:]) for case in cases]


def test_of_all_sequences_that_show_the_same_the_first_is_there_and_no_other() -> None:
    words = spelled(Enumeration(TINY_LAYOUT, TINY_STEPS))
    assert len(words) == len(set(words))
    assert set(words) == first_of_each_kind()


Shown = tuple[tuple[str, ...], tuple[str, ...]]


def shown(case: Case, kernel: Kernel) -> Shown:
    """All outcomes of a case, in any order, and all that the judge has to say."""
    outcomes = MODEL.run(case, kernel)
    timeline = Timeline(case, outcomes)
    breaches = judge(case, outcomes, Reading.PARANOID)
    return (
        tuple(sorted([*map(describe, outcomes.runs), *(str(log.pages) for log in outcomes.logs)])),
        tuple(sorted({str(signature(timeline, breach)) for breach in breaches})),
    )


def lost(layout: Layout, steps: int, show: Callable[[Case], Shown]) -> list[Case]:
    """Sequences that show what no case of the scope does."""
    enumeration, letters = Enumeration(layout, steps), alphabet(layout)
    kept = {show(case) for case in enumeration.cases(0, enumeration.size)}
    observers = {step for step in letters.letters if footprint(step).observes}
    sequences = (
        Case(letters.vm, letters.setup + steps)
        for length in range(1, steps + 1)
        for steps in itertools.product(letters.letters, repeat=length)
        if not observers.isdisjoint(steps)
    )
    return [case for case in sequences if show(case) not in kept]


@pytest.mark.parametrize("kernel", ["v7.3", "bad-reason-kept"])
def test_no_sequence_shows_what_no_case_shows(kernel: str) -> None:
    assert lost(TINY_LAYOUT, TINY_STEPS, lambda case: shown(case, KERNELS[kernel])) == []


@by_layout
def test_no_sequence_of_a_layout_shows_what_no_case_shows(layout: Layout) -> None:
    assert lost(layout, 2, lambda case: shown(case, KERNELS["v7.3"])) == []


def test_an_error_that_struck_outside_a_run_is_in_the_outcomes_of_the_next() -> None:
    (layout,) = (layout for layout in LAYOUTS if "fail kvm_gmem_bind ENOMEM" in layout.letters)
    assert lost(layout, 3, lambda case: shown(case, KERNELS["v7.3"])) == []


@by_layout
def test_letters_that_are_said_to_commute_do(layout: Layout) -> None:
    show = shown_in_context(layout)
    for one, other in itertools.combinations(alphabet(layout).letters, 2):
        if footprint(one).commutes(footprint(other)):
            assert show(one, other) == show(other, one), (one, other)


@by_layout
def test_a_letter_that_settles_changes_nothing_the_second_time(layout: Layout) -> None:
    show = shown_in_context(layout)
    for letter in alphabet(layout).letters:
        if footprint(letter).settles:
            assert show(letter, letter) == show(letter), letter


class Show(Protocol):
    """Shows what becomes of some steps."""

    def __call__(self, *steps: Step) -> list[Shown]:
        """Every outcome, and what is judged of it."""


def shown_in_context(layout: Layout) -> Show:
    """What steps show before each access that is run, and between the first and each."""
    letters = alphabet(layout)
    accesses = [step for step in letters.letters if isinstance(step, Guest | GuestL2)]

    def show(*steps: Step) -> list[Shown]:
        uses = [(access, Run(0)) for access in accesses]
        before = ((), uses[0])
        cases = [
            Case(letters.vm, (*letters.setup, *at, *steps, *use)) for use in uses for at in before
        ]
        return [shown(case, KERNELS["v7.3"]) for case in cases]

    return show


# NUMBERS


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_size_is_how_many_cases_come(steps: int) -> None:
    for layout in LAYOUTS:
        enumeration = Enumeration(layout, steps)
        assert sum(1 for _ in enumeration.cases(0, enumeration.size)) == enumeration.size


def test_any_piece_of_the_cases_can_be_had_by_their_numbers() -> None:
    enumeration = Enumeration(TINY_LAYOUT, TINY_STEPS)
    cases = list(enumeration.cases(0, enumeration.size))
    for first in range(0, len(cases), 7):
        for end in (first, first + 1, first + 11, len(cases)):
            assert list(enumeration.cases(first, end)) == cases[first:end]


def test_a_longer_scope_holds_all_of_a_shorter_one() -> None:
    assert set(spelled(Enumeration(TINY_LAYOUT, 3))) < set(spelled(Enumeration(TINY_LAYOUT, 4)))


def test_every_case_ends_with_an_outcome() -> None:
    for layout in LAYOUTS:
        enumeration = Enumeration(layout, 3)
        for case in enumeration.cases(0, enumeration.size):
            assert footprint(case.steps[-1]).observes
