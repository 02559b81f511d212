"""How good a search is: cases to the first finding in each known-bad kernel, in several ways.

Trials are independent, so their results are kept one a line in a file, and a later run adds to
them. The interval is that of the median, from the order of the results alone.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from math import comb
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import msgspec

from fuzz.measuring.trial import Result, Trial, Way, run_trial

WAYS: Final = (Way.GUIDED, Way.UNGUIDED)
COMPARED: Final = (Way.GUIDED, Way.UNGUIDED, Way.STATEFUL)
CONFIDENCE: Final = 0.95
FEWEST: Final = 6  # trials; the first and last of five hold the median in 94 % of all cases
_ENCODER: Final = msgspec.json.Encoder()


class Figures(NamedTuple):
    """Of the trials of one kernel in one way. ``cases``: median; ``low``, ``high``: its interval.

    ``seconds``: the median time. A trial that was given up counts as more than any other: where
    the median, or an end of the interval, falls on one, it is None. Of fewer than ``FEWEST`` trials
    the ends are the first and the last, and no interval.
    """

    trials: int
    found: int
    cases: float | None
    seconds: float | None
    low: int | None
    high: int | None
    slowest: float


def planned(
    kernels: Sequence[str], ways: Sequence[Way], trials: int, seconds: float
) -> Iterator[Trial]:
    """All trials, so that after any number of them each kernel has had about as many."""
    for seed in range(1, trials + 1):
        for kernel in kernels:
            for way in ways:
                yield Trial(kernel, way, seed, seconds)


def run_trials(
    trials: Sequence[Trial],
    workers: int,
    on_result: Callable[[Result], None],
    goes_on: Callable[[], bool],
) -> None:
    """Run them, ``workers`` at a time, as long as it goes on. Raises TrialError."""
    waiting = iter(trials)
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(run_trial, trial) for trial in islice(waiting, workers)}
        while running:
            done = next(as_completed(running))
            running.remove(done)
            on_result(done.result())
            more = next(waiting, None) if goes_on() else None
            if more is not None:
                running.add(pool.submit(run_trial, more))


def load(path: Path) -> list[Result]:
    """The results in a file, without a line that was torn at its end; none where it is not there.

    Raises msgspec.MsgspecError on anything else that is no result.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    return [msgspec.json.decode(line, type=Result) for line in whole.splitlines()]


def append(path: Path, result: Result) -> None:
    """Add a result; a torn line before it is ended first, and dropped by nobody's mistake."""
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(_ENCODER.encode(result) + b"\n")


def figures(results: Sequence[Result]) -> Figures:
    """The figures of some trials of the same kernel and way; there must be one at least."""
    found = sorted(result.cases for result in results if result.found)
    given_up = [None] * (len(results) - len(found))
    ordered: list[int | None] = [*found, *given_up]
    times = sorted(result.seconds for result in results if result.found)
    low, high = interval(len(ordered))
    return Figures(
        trials=len(ordered),
        found=len(found),
        cases=_median(ordered),
        seconds=_median([*times, *given_up]),
        low=ordered[low],
        high=ordered[high],
        slowest=max(result.seconds for result in results),
    )


def interval(count: int) -> tuple[int, int]:
    """The places, in their order, of the results between which the median lies.

    The narrowest that is right in ``CONFIDENCE`` of all cases; first and last where none is.
    """
    low = 0
    while low < (count - 1) // 2 and _covered(count, low + 1) >= CONFIDENCE:
        low += 1
    return low, count - 1 - low


def _covered(count: int, low: int) -> float:
    """How likely the median lies between the results at ``low`` and at ``count - 1 - low``."""
    outside = sum(comb(count, below) for below in range(low + 1))
    return 1.0 - 2.0 * outside / float(1 << count)


def _median(ordered: Sequence[float | None]) -> float | None:
    middle = [ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]]
    known = [each for each in middle if each is not None]
    return median(known) if len(known) == len(middle) else None
