"""A campaign's samples, which are rarer the older they are, evenly spaced; and spark lines."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from fuzz.directory.series import Sample

_BARS: Final = "▁▂▃▄▅▆▇█"


def evenly(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most ``count`` samples, as evenly spaced in time as can be, from the first to the last."""
    if len(samples) <= count:
        return list(samples)
    first, last = samples[0].seconds, samples[-1].seconds
    chosen: dict[int, Sample] = {}
    for number in range(count):
        moment = first + (last - first) * number / (count - 1)
        index = bisect_left(samples, moment, key=lambda sample: sample.seconds)
        index = min(index, len(samples) - 1)
        chosen[index] = samples[index]
    return list(chosen.values())


def rates(samples: Sequence[Sample]) -> list[float]:
    """Cases a second of all workers, between each sample and the next."""
    return [
        max(after.cases - before.cases, 0) / (after.seconds - before.seconds)
        for before, after in pairwise(samples)
        if after.seconds > before.seconds
    ]


def spark(values: Sequence[float], *, floor: float = 0.0) -> str:
    """One bar a value, from ``floor`` to the largest."""
    top = max(values, default=0.0)
    if top <= floor:
        return _BARS[0] * len(values)
    parts = ((max(each, floor) - floor) / (top - floor) for each in values)
    return "".join(_BARS[round(part * (len(_BARS) - 1))] for part in parts)
