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

import pytest

from fuzz import coverage
from fuzz.feedback import Region

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
def imported(tmp_path: Path, arms: coverage.Arms | None) -> Iterator[ModuleType]:
    """The module of SOURCE, with counters where ``arms`` are given."""
    (tmp_path / "branchy.py").write_text(SOURCE)
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


def test_a_loop_counts_its_passes_modulo_256(tmp_path: Path) -> None:
    arms = coverage.Arms()
    with imported(tmp_path, arms) as module:
        for _ in range(300):
            module.wildcard(1)
    assert max(arms.counts) == 300 - 256


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
    counts = bytearray(coverage.CAPACITY)
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
    arms.places = [("m", 1)] * coverage.CAPACITY
    with pytest.raises(OverflowError, match="more than 32768 branch arms"):
        arms.add("m", 2)
