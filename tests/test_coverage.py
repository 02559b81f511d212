"""The counters see every arm, and a module with counters does what it did without."""

import ctypes
import importlib
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec
import pytest

from emu.outcome import RunOutcome
from fuzz.guidance import coverage
from fuzz.guidance.counted import CAPACITY
from fuzz.guidance.feedback import Feedback, Region

SOURCE: Final = '''"""A module with every kind of branch."""

from __future__ import annotations

LIMIT = 3 if True else 4


class Switch:
    """Has a method."""

    KIND = "switch"

    def turn(self, word: str) -> str:
        """Turns."""
        match word:
            case "on":
                return "lit"
            case "off" | "out":
                return "dark"
        return "broken"


def grade(mark: int) -> str:
    if mark > 8:
        grade = "good"
    elif mark > 4:
        grade = "fair"
    else:
        grade = "poor"
    if mark == 0:
        grade += "!"
    return grade


def total(limit: int) -> int:
    """Adds up."""
    result = 0
    for number in range(limit):
        if number == 7:
            break
        result += number
    else:
        result += 100
    while result > 90:
        result -= 50
    return result


def divide(left: int, right: int) -> int | None:
    try:
        return left // right
    except ZeroDivisionError:
        return None


def choose(first: bool, second: bool) -> str:
    word = "a" if first else "b"
    return word + "1" if second else "c" if first else "d"


def wildcard(number: int) -> str:
    match number:
        case 1:
            return "one"
        case _:
            return "many"


def breaks(number: int) -> int:
    """Raises on line 73, or goes on."""
    if number > 1:
        number -= 1
        return number // 0
    return number
'''

EXAMPLES: Final[list[tuple[str, tuple[object, ...]]]] = [
    *(("grade", (mark,)) for mark in (0, 3, 5, 9)),
    *(("total", (limit,)) for limit in (0, 3, 9, 20)),
    *(("divide", pair) for pair in ((7, 2), (7, 0))),
    *(("choose", pair) for pair in ((True, True), (True, False), (False, True), (False, False))),
    *(("wildcard", (number,)) for number in (1, 2)),
]


@contextmanager
def imported(
    tmp_path: Path, arms: coverage.Arms | None, source: str = SOURCE
) -> Iterator[ModuleType]:
    """A module of that source, with counters where ``arms`` are given."""
    (tmp_path / "branchy.py").write_text(source)
    sys.path.insert(0, str(tmp_path))
    finder = None if arms is None else coverage.install(arms, ("branchy",))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("branchy")
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("branchy", None)
        if finder is not None:
            sys.meta_path.remove(finder)


def results(module: ModuleType) -> list[object]:
    found: list[object] = []
    for name, arguments in EXAMPLES:
        found.append(getattr(module, name)(*arguments))
    found += [module.Switch().turn(word) for word in ("on", "off", "out", "up")]
    return found


def test_a_module_with_counters_gives_the_same_results(tmp_path: Path) -> None:
    with imported(tmp_path, None) as plain:
        expected = results(plain)
    with imported(tmp_path, coverage.Arms()) as counted:
        assert results(counted) == expected
        assert counted.Switch.turn.__doc__ == "Turns."
        assert counted.Switch.KIND == "switch"
        assert counted.LIMIT == 3


def test_every_arm_is_counted_once_all_examples_have_run(tmp_path: Path) -> None:
    arms = coverage.Arms()
    with imported(tmp_path, arms) as module:
        assert not any(arms.counts)
        results(module)
        with pytest.raises(ZeroDivisionError):
            module.breaks(2)
        missed = [
            place for place, count in zip(arms.places, arms.counts, strict=False) if not count
        ]
        assert [line for _, line in missed] == [71]
        module.breaks(1)
        assert all(arms.counts[: len(arms.places)])


@pytest.mark.parametrize(
    ("mark", "arms_taken"), [(9, {25}), (5, {27}), (3, {29}), (0, {29, 31})], ids=str
)
def test_an_if_counts_the_arm_that_was_taken(
    tmp_path: Path, mark: int, arms_taken: set[int]
) -> None:
    arms = coverage.Arms()
    with imported(tmp_path, arms) as module:
        module.grade(mark)
    taken = {
        line
        for (_, line), count in zip(arms.places, arms.counts, strict=False)
        if count and line in {25, 27, 29, 31}
    }
    assert taken == arms_taken


WAYS = [
    # function, arguments for each way through it, counters it takes
    #
    # A guard that leaves needs none for going on: the next branch tells.
    (
        "def f(a, b):\n if a: return 1\n if b: return 2\n return 3\n",
        [(1, 0), (0, 1), (0, 0)],
        3,
    ),
    # A block that surely branches needs none of its own.
    (
        "def f(a, b):\n if a:\n  if b: x = 1\n  else: x = 2\n  return x\n return 0\n",
        [(1, 0), (1, 1), (0, 0)],
        3,
    ),
    # A guard inside does not tell of the way past the outer block.
    (
        "def f(a, b):\n x = 0\n if a:\n  if b: return 1\n  x = 1\n return x\n",
        [(1, 0), (1, 1), (0, 0)],
        3,
    ),
    # An arm that comes back to the others needs a counter on both sides.
    (
        "def f(a, b):\n x = 0\n if a: x = 1\n if b: x += 2\n return x\n",
        [(0, 0), (0, 1), (1, 0), (1, 1)],
        4,
    ),
    # A loop that may make no pass at all.
    (
        "def f(a, b):\n for _ in range(a):\n  if b: return 1\n return 0\n",
        [(0, 0), (1, 0), (1, 1)],
        2,
    ),
]


@pytest.mark.parametrize(("source", "ways", "counters"), WAYS)
def test_every_way_through_a_function_leaves_counts_of_its_own(
    tmp_path: Path, source: str, ways: list[tuple[int, int]], counters: int
) -> None:
    arms = coverage.Arms()
    seen = set()
    with imported(tmp_path, arms, source) as module:
        for way in ways:
            arms.counts[:] = bytes(len(arms.counts))
            module.f(*way)
            seen.add(bytes(arms.counts[: len(arms.places)]))
    assert len(seen) == len(ways)
    assert len(arms.places) == counters


def test_an_arm_is_marked_once_however_often_it_is_taken(tmp_path: Path) -> None:
    arms = coverage.Arms()
    with imported(tmp_path, arms) as module:
        for _ in range(300):
            module.wildcard(1)
    assert max(arms.counts) == 1


def test_a_traceback_names_the_line_of_the_source(tmp_path: Path) -> None:
    with (
        imported(tmp_path, coverage.Arms()) as module,
        pytest.raises(ZeroDivisionError) as caught,
    ):
        module.breaks(5)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.lineno, frame.line) == (73, "return number // 0")


def test_other_modules_are_left_to_the_ordinary_import() -> None:
    finder = coverage.CountingFinder(("emu.kvm",), coverage.Arms())
    assert finder.find_spec("emu.kvmalloc", None) is None
    assert finder.find_spec("json", None) is None


def test_a_region_is_the_bytearray_itself() -> None:
    counts = bytearray(CAPACITY)
    region = Region(counts, 128, 0x1000)
    begin, end = region.counters
    assert begin.value is not None
    assert end.value is not None
    assert end.value - begin.value == 128
    counts[5] = 7
    assert ctypes.string_at(begin.value, 8) == bytes([0, 0, 0, 0, 0, 7, 0, 0])
    with pytest.raises(BufferError):
        counts.append(0)


def test_the_number_of_arms_is_bounded() -> None:
    arms = coverage.Arms()
    arms.places = [("m", 1)] * CAPACITY
    with pytest.raises(OverflowError, match="more than 32768 branch arms"):
        arms.add("m", 2)


# FEEDBACK


def outcome(**changes: int | bool | tuple[tuple[int, int], ...]) -> RunOutcome:
    usual = RunOutcome(
        step=4,
        ret=-1,
        errno=14,
        exit_reason=39,
        union=(0, 0x4000_0000, 0x1000, 0),
        before=0,
        fresh=True,
        access=3,
        moved=False,
        changed=False,
        exceptions=(),
        injected=False,
        stuck=False,
        sigbus=False,
    )
    return msgspec.structs.replace(usual, **changes)


def marks(*runs: RunOutcome) -> set[int]:
    feedback = Feedback(coverage.Arms())
    feedback.mark(runs)
    return {place for place, mark in enumerate(feedback.outcomes) if mark}


@pytest.mark.parametrize(
    "other",
    [
        outcome(errno=12),
        outcome(exit_reason=0),
        outcome(fresh=False),
        outcome(before=39),
        outcome(access=-1),
        outcome(exceptions=((2, 0x8600_0010),)),  # filled, perhaps, for an access before this one
    ],
)
def test_a_new_kind_of_outcome_leaves_a_new_mark(other: RunOutcome) -> None:
    assert marks(outcome()) != marks(other)
    assert marks(outcome(), other) == marks(outcome()) | marks(other)


def test_the_same_kind_of_outcome_leaves_the_same_mark() -> None:
    assert marks(outcome()) == marks(outcome(step=9), outcome(injected=True))
    exception = ((2, 0x8600_0010),)
    assert marks(outcome(exit_reason=6)) == marks(outcome(exit_reason=6, exceptions=exception))


def test_arms_ever_seen_are_remembered_though_the_counters_are_cleared() -> None:
    arms = coverage.Arms()
    for line in range(10):
        arms.add("module", line)
    feedback = Feedback(arms)
    for taken in (3, 7, 3):
        arms.counts[:] = bytes(len(arms.counts))
        arms.counts[taken] = 255
        feedback.note_arms()
    assert (feedback.arms_seen, feedback.arms_known) == (2, 10)


def test_what_runs_while_paused_leaves_no_marks() -> None:
    arms = coverage.Arms()
    feedback = Feedback(arms)
    arms.counts[5] = 1
    feedback.mark([outcome()])
    before = bytes(feedback.outcomes)
    with feedback.paused():
        arms.counts[6] = 1
        feedback.mark([outcome(errno=5)])
    assert (arms.counts[5], arms.counts[6]) == (1, 0)
    assert feedback.outcomes == before


def test_the_regions_do_not_share_an_address() -> None:
    first, second = Feedback(coverage.Arms()).regions
    for one, other in ((first.counters, second.counters), (first.pcs, second.pcs)):
        bounds = sorted([[end.value or 0 for end in one], [end.value or 0 for end in other]])
        assert bounds[0][1] <= bounds[1][0]
