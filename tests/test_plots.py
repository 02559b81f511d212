"""Plots: round ticks, curves inside their axes, and units that a reader knows."""

import re
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triage.plots import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Curve,
    plot,
    short,
    ticks,
    time_unit,
)

TICKS: Final = [
    (0.0, [0.0, 1.0]),
    (1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
    (12.0, [0.0, 5.0, 10.0, 15.0]),
    (665.0, [0.0, 200.0, 400.0, 600.0, 800.0]),
]


@pytest.mark.parametrize(("highest", "found"), TICKS)
def test_ticks_are_round_and_reach_the_largest_value(highest: float, found: list[float]) -> None:
    assert ticks(highest) == pytest.approx(found)


@settings(deadline=None)
@given(st.floats(1e-6, 1e15))
def test_there_are_never_many_ticks(highest: float) -> None:
    found = ticks(highest)
    assert 2 <= len(found) <= 7
    assert found[-1] >= highest * (1 - 1e-6)


UNITS: Final = [(0.0, "s"), (59.0, "s"), (180.0, "min"), (3 * 3600.0, "h"), (1e9, "d")]


@pytest.mark.parametrize(("seconds", "unit"), UNITS)
def test_the_unit_of_time_is_the_largest_of_which_there_are_a_few(
    seconds: float, unit: str
) -> None:
    assert time_unit(seconds)[0] == unit


SHORT: Final = [
    *((0.0, "0"), (999.0, "999"), (1234.0, "1.23k"), (2.5e6, "2.5M"), (7e9, "7G")),
    *((999.4, "999"), (999.6, "1k"), (999_700.0, "1M")),  # not 1e+03
]


@pytest.mark.parametrize(("value", "text"), SHORT)
def test_a_number_is_short(value: float, text: str) -> None:
    assert short(value) == text


POINTS: Final = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e9)), min_size=1, max_size=8
).map(sorted)


@settings(deadline=None)  # what counts is where it is drawn, not how busy the machine is
@given(POINTS, st.booleans())
def test_a_curve_stays_inside_its_axes(points: list[tuple[float, float]], stepped: bool) -> None:
    drawn = plot("n", "t", "u", [Curve("c", points, stepped)], max(at for at, _ in points))
    path = drawn.curves[0].path
    xs = [float(x) for x in re.findall(r"[MLH]([\d.e+-]+)", path)]
    ys = [float(y) for y in re.findall(r"[ V]([\d.e+-]+)", path)]
    assert all(LEFT - 0.1 <= x <= WIDTH - RIGHT + 0.1 for x in xs)
    assert all(TOP - 0.1 <= y <= HEIGHT - BOTTOM + 0.1 for y in ys)
    assert len(xs) == len(ys) == len(points)


def test_a_plot_is_told_in_words() -> None:
    drawn = plot("n", "Findings", "findings", [Curve("all", [(0, 0), (7200, 3)])], 7200.0)
    assert drawn.says == "findings over time in min. all: 3 at the end."


def test_a_curve_without_points_draws_nothing() -> None:
    drawn = plot("n", "t", "u", [Curve("c", [])], 0.0)
    assert (drawn.curves[0].path, drawn.curves[0].last) == ("", "nothing")
