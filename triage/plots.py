"""Line plots as geometry: where axes, ticks and curves lie in a view box; no markup."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 420
HEIGHT: Final = 230
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
BOX: Final = (WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM)
_TICKS: Final = 5
_NICE: Final = (1.0, 2.0, 5.0, 10.0)
_SECONDS: Final = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86400.0))
_LEAST: Final = 3  # of a unit of time on an axis, to be drawn in it
_LEAST_VALUE: Final = 1e-9  # as good as nothing
_SHORT: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_ROUNDED_UP: Final = 0.9995  # of a size, three digits make a whole one

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Curve:
    """Values over seconds. ``stepped``: a value stays until the next."""

    label: str
    points: Points
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A curve as the ``d`` of an SVG path, and the value that it ends with."""

    label: str
    path: str
    last: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with its axes. ``name`` is its id on the page."""

    name: str
    title: str
    y_unit: str
    x_unit: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Drawn, ...]

    @property
    def says(self) -> str:
        """The plot in words, for those who do not see it."""
        ends = "; ".join(f"{curve.label}: {curve.last} at the end" for curve in self.curves)
        return f"{self.y_unit} over time in {self.x_unit}. {ends}."


def plot(name: str, title: str, y_unit: str, curves: Sequence[Curve], seconds: float) -> Plot:
    """A plot from 0 to ``seconds``, and from 0 to a little above the largest value."""
    unit, length = time_unit(seconds)
    x_top = max(seconds / length, _LEAST_VALUE)
    highest = max((value for curve in curves for _, value in curve.points), default=0.0)
    y_ticks = ticks(highest)
    y_top = max(y_ticks[-1], highest)

    def x(value: float) -> float:
        return LEFT + value / x_top * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / y_top * (HEIGHT - TOP - BOTTOM)

    return Plot(
        name=name,
        title=title,
        y_unit=y_unit,
        x_unit=unit,
        x_ticks=tuple(Tick(x(at), f"{at:g}") for at in ticks(x_top) if at <= x_top),
        y_ticks=tuple(Tick(y(at), short(at)) for at in y_ticks),
        curves=tuple(
            Drawn(
                curve.label,
                _path([(x(at / length), y(value)) for at, value in curve.points], curve.stepped),
                short(curve.points[-1][1]) if curve.points else "nothing",
            )
            for curve in curves
        ),
    )


def ticks(highest: float) -> list[float]:
    """0 and a few round numbers, the last of them ``highest`` or above."""
    if highest < _LEAST_VALUE:
        return [0.0, 1.0]
    rough = highest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in _NICE if power * nice >= rough * (1 - 1e-9))
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def time_unit(seconds: float) -> tuple[str, float]:
    """The largest unit of which there are a few, and its length."""
    fitting = [each for each in _SECONDS if seconds / each[1] >= _LEAST]
    return fitting[-1] if fitting else _SECONDS[0]


def short(value: float) -> str:
    """A number in as few characters as can be: 950, 1.2k, 3.4M."""
    for size, letter in _SHORT:
        if value >= size * _ROUNDED_UP:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _path(points: Points, stepped: bool) -> str:
    if not points:
        return ""
    (x, y), *rest = points
    words = [f"M{x:.1f} {y:.1f}"]
    for x, y in rest:
        words.append(f"H{x:.1f}V{y:.1f}" if stepped else f"L{x:.1f} {y:.1f}")
    return "".join(words)
