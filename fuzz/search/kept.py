"""The inputs that the plain engine has kept, and which of them comes next.

An input is kept for features that none before it had, and one that is smaller and has all of those
takes its place. It is drawn the more often the rarer its features are among the inputs.
"""

import re
from array import array
from bisect import bisect
from itertools import accumulate
from random import Random
from typing import Final

_REACHED: Final = re.compile(rb"[^\0]")
_GROWTH: Final = 8  # weights are reckoned anew when there is an eighth more of inputs


class Input:
    """An input that is kept. ``own``: the features that it is kept for."""

    __slots__ = ("data", "features", "own")

    def __init__(self, data: bytes, own: int, features: "array[int]") -> None:
        self.data = data
        self.own = own
        self.features = features


class Kept:
    """The inputs, with the union of what they reach."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self._held: set[bytes] = set()
        self._union = 0
        self._holders: list[int] = []
        self._weights: list[float] = []
        self._sums: list[float] = []
        self._due = 1

    def is_new(self, features: int) -> bool:
        """Whether there is something in ``features`` that no input has."""
        return features & ~self._union != 0

    def add(self, data: bytes, features: int) -> None:
        """Keep an input for what is new in its features."""
        places = _places(features)
        self._held.add(data)
        self.inputs.append(Input(data, features & ~self._union, places))
        self._union |= features
        self._count(places)
        self._weights.append(self._weight(places))
        self._sums.append((self._sums[-1] if self._sums else 0.0) + self._weights[-1])
        if len(self.inputs) >= self._due:
            self._reckon()

    def is_better(self, data: bytes, features: int, known: Input) -> bool:
        """Whether it is smaller and reaches all that the other is kept for."""
        smaller = len(data) < len(known.data) and data not in self._held
        return smaller and not known.own & ~features

    def replace(self, known: Input, data: bytes) -> None:
        """Keep ``data`` in place of what is known."""
        self._held.discard(known.data)
        self._held.add(data)
        known.data = data

    def draw(self, rng: Random) -> Input:
        """One of them; there has to be one."""
        return self.inputs[bisect(self._sums, rng.random() * self._sums[-1])]

    def _count(self, places: "array[int]") -> None:
        holders = self._holders
        if places and places[-1] >= len(holders):
            holders.extend([0] * (places[-1] + 1 - len(holders)))
        for place in places:
            holders[place] += 1

    def _reckon(self) -> None:
        """Every weight, now that features are less rare."""
        self._weights = [self._weight(each.features) for each in self.inputs]
        self._sums = list(accumulate(self._weights))
        self._due = len(self.inputs) * (_GROWTH + 1) // _GROWTH + 1

    def _weight(self, places: "array[int]") -> float:
        holders = self._holders
        return sum(1.0 / holders[place] for place in places) + 1e-9


def _places(features: int) -> "array[int]":
    content = features.to_bytes(-(-features.bit_length() // 8), "little")
    return array("H", (found.start() for found in _REACHED.finditer(content)))
