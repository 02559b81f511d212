"""The fewest cases that reach all that many do: of a corpus at its resume, of a merge, of pruning.

``reduced`` takes the smallest cases first, and one stays if it reaches what none before it did (see
``features``): the same cases give the same few whatever order they came in, reducing again
changes nothing, and nothing that was reached is lost. Under a limit those stay that reach most.

The arms of a model that was imported before cannot be counted, so a process of its own does it:

    python -m fuzz.search.reduction --kernel K... [--held N] [--max-cases N] [--max-bytes N]

A line of its standard input is a list of cases, the first N of which are there whatever comes; its
answer is a line with the number of those that stay so far. At the end it says which they are.
"""

import argparse
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heapreplace
from typing import IO, Final, NamedTuple

import msgspec

from fuzz.directory.shards import sha1
from fuzz.guidance.coverage import Arms, install
from fuzz.guidance.feedback import Feedback
from fuzz.processes import environment

BATCH: Final = 256  # cases; a few hundredths of a second
PATIENCE: Final = 120.0  # seconds for a batch; with a hundred kernels it takes several
LOOK_EVERY: Final = 0.5  # seconds
_ENCODER: Final = msgspec.json.Encoder()


class ReductionError(Exception):
    """The process died: a case may have killed it; the text is one line."""


class Limit(NamedTuple):
    """How many cases may stay, and how many bytes they may have in all; None: any number."""

    cases: int | None = None
    size: int | None = None

    def allows(self, cases: int, size: int) -> bool:
        """Whether so much is within."""
        few = self.cases is None or cases <= self.cases
        return few and (self.size is None or size <= self.size)


NO_LIMIT: Final = Limit()


class Reduction(msgspec.Struct, frozen=True):
    """The places, in the order they were given in, of the cases that stay.

    ``features``: what they reach in all; ``crashed``: the places of those on which we went wrong.
    """

    kept: tuple[int, ...]
    crashed: tuple[int, ...]
    features: int


def reduced(
    cases: Sequence[bytes],
    kernels: Iterable[str],
    *,
    held: Sequence[bytes] = (),
    limit: Limit = NO_LIMIT,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Reduction:
    """The fewest of ``cases`` that reach, together with ``held``, what all of them do.

    ``on_progress`` is told how many were run so far. Raises ReductionError.
    """
    order = sorted(range(len(cases)), key=lambda place: (len(cases[place]), sha1(cases[place])))
    queue = [*held, *(cases[place] for place in order)]
    words = [sys.executable, "-P", "-m", "fuzz.search.reduction", "--held", str(len(held))]
    words += [word for kernel in kernels for word in ("--kernel", kernel)]
    words += [] if limit.cases is None else ["--max-cases", str(limit.cases)]
    words += [] if limit.size is None else ["--max-bytes", str(limit.size)]
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,  # a terminal's ctrl-C is for us
    ) as process:
        try:
            said = _asked(process, queue, on_progress)
        except BaseException:
            process.kill()
            raise
    found = msgspec.json.decode(said, type=Reduction)
    return Reduction(
        kept=tuple(sorted(order[place] for place in found.kept)),
        crashed=tuple(sorted(order[place] for place in found.crashed)),
        features=found.features,
    )


def _asked(
    process: subprocess.Popen[bytes], queue: Sequence[bytes], on_progress: Callable[[int], None]
) -> bytes:
    """The last line of its output."""
    words, answers = _pipe(process.stdin), _pipe(process.stdout)
    for start in range(0, len(queue), BATCH):
        batch = queue[start : start + BATCH]
        with suppress(BrokenPipeError):
            words.write(_ENCODER.encode(batch) + b"\n")
            words.flush()
        _answer(process, answers, lambda: on_progress(start))  # noqa: B023 - used at once
        on_progress(start + len(batch))
    words.close()
    return _answer(process, answers, lambda: on_progress(len(queue)))


def _answer(
    process: subprocess.Popen[bytes], answers: IO[bytes], on_waiting: Callable[[], None]
) -> bytes:
    """A line; ``on_waiting`` may raise, if there is no time to wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not select.select([answers], [], [], LOOK_EVERY)[0]:
        on_waiting()
        if time.monotonic() > deadline:
            raise ReductionError(f"no answer for {PATIENCE:.0f} s: a case may hang the model")
    said = answers.readline()
    if not said:
        raise ReductionError(_last_words(process))
    return said


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "it was asked for"  # noqa: S101 - for the type
    return pipe


def _last_words(process: subprocess.Popen[bytes]) -> str:
    lines = _pipe(process.stderr).read().decode(errors="replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip()), "")
    return said or f"the corpus cannot be reduced: a process ended with {process.wait()}"


class _Reducer:
    """The process' side: what was reached so far, and by which cases."""

    def __init__(self, kernels: Sequence[str], held: int) -> None:
        arms = Arms()
        install(arms)
        from emu.kernels import KERNELS  # noqa: PLC0415 - a module of the model
        from fuzz.search.features import Features  # noqa: PLC0415 - brings in the others

        self._features = Features({name: KERNELS[name] for name in kernels}, Feedback(arms))
        self._held = held
        self._seen = 0
        self._union = 0
        self._kept: list[int] = []
        self._reached: list[int] = []
        self._sizes: list[int] = []
        self._crashed: list[int] = []

    def take(self, cases: Sequence[bytes]) -> int:
        """Keep those that reach something new; how many stay so far."""
        for data in cases:
            place, self._seen = self._seen - self._held, self._seen + 1
            try:
                reached = self._features.of(data)
            except Exception:  # noqa: BLE001 - we are wrong: whoever asked is told which case it was
                if place >= 0:
                    self._crashed.append(place)
                continue
            new = reached & ~self._union
            if new:
                self._union |= new
                if place >= 0:
                    self._kept.append(place)
                    self._reached.append(reached)
                    self._sizes.append(len(data))
        return len(self._kept)

    def end(self, limit: Limit) -> Reduction:
        """What stays within ``limit``."""
        kept, union = self._kept, self._union
        if not limit.allows(len(kept), sum(self._sizes)):
            places = most(self._reached, self._sizes, limit)
            kept = [kept[place] for place in places]
            union = 0
            for place in places:
                union |= self._reached[place]
        return Reduction(tuple(kept), tuple(self._crashed), union.bit_count())


def most(reached: Sequence[int], sizes: Sequence[int], limit: Limit) -> list[int]:
    """The places, in their order, of those that together reach most within ``limit``.

    The next is always the one that adds most, of several the first. What a case adds can only
    become less, so the best is known once one that was counted again is still ahead.
    """
    waiting = [(-features.bit_count(), place) for place, features in enumerate(reached)]
    heapify(waiting)
    taken: list[int] = []
    union = total = 0
    while waiting:
        less, place = waiting[0]
        added = (reached[place] & ~union).bit_count()
        if added != -less:
            heapreplace(waiting, (-added, place))
            continue
        heappop(waiting)
        if added and limit.allows(len(taken) + 1, total + sizes[place]):
            taken.append(place)
            union |= reached[place]
            total += sizes[place]
    return sorted(taken)


def main() -> None:
    """Answer until there is nothing left to ask."""
    parser = argparse.ArgumentParser(prog="fuzz.search.reduction")
    parser.add_argument("--kernel", action="append", dest="kernels", required=True)
    parser.add_argument("--held", type=int, default=0)
    parser.add_argument("--max-cases", type=int)
    parser.add_argument("--max-bytes", type=int)
    given = parser.parse_args()
    reducer = _Reducer(given.kernels, given.held)
    decoder = msgspec.json.Decoder(list[bytes])
    for line in sys.stdin.buffer:
        _say(str(reducer.take(decoder.decode(line))).encode())
    _say(_ENCODER.encode(reducer.end(Limit(given.max_cases, given.max_bytes))))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
