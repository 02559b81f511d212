"""A campaign's course: ``statistics.jsonl``, a sample a line, written by the supervisor.

Figures are totals, so that a line left out costs only sharpness. When there are ``MOST`` lines, the
older of them are thinned to about ``SHARP``, evenly over the campaign's age: one of weeks has as
long a file as one of hours. A line that a killed writer has torn is the last, and dropped.
"""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from fuzz.directory import durable
from fuzz.directory.store import StoreError

STATISTICS: Final = "statistics.jsonl"
EVERY: Final = 5.0  # seconds
MOST: Final = 4096  # lines
SHARP: Final = 1024


class WorkerSample(msgspec.Struct, frozen=True):
    """One worker in a sample. ``kernels``: () where each worker has all of the campaign's."""

    index: int
    cases: int
    cases_per_second: float
    rss_mib: int
    kernels: tuple[str, ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign at one moment. ``seconds``: its age, the time it was not running left out.

    ``cases``, ``restarts``, ``rerun`` and ``differed`` are totals of all its runs: ``differed`` of
    the ``rerun`` cases came out otherwise on a fresh machine. ``findings``, ``questions``,
    ``harness_crashes`` and ``corpus`` are what is kept of each. ``cases_per_second`` is that of all
    workers since the sample before, ``rss_mib`` the largest worker's, and ``last_new_s`` the age at
    the last new path.
    """

    seconds: float
    at: datetime
    cases: int
    cases_per_second: float
    arms: int
    arms_known: int
    corpus: int
    findings: int
    questions: int
    harness_crashes: int
    restarts: int
    rss_mib: int
    rerun: int
    differed: int
    last_new_s: float
    workers: tuple[WorkerSample, ...]


def samples(root: Path) -> list[Sample]:
    """The course of the campaign at ``root`` so far; none where none is written."""
    path = root / STATISTICS
    try:
        lines = _whole_lines(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    return [_sample(path, number, line) for number, line in enumerate(lines, 1)]


class Series:
    """The writer of a campaign's samples; there is one at a time."""

    def __init__(self, root: Path) -> None:
        self._path = root / STATISTICS
        self._lines = self._mended()

    def add(self, sample: Sample) -> None:
        """Appends a sample, and thins what has become too long."""
        with self._path.open("ab") as file:  # buffered: a disk that takes half a line is an error
            file.write(_line(sample))
        self._lines += 1
        if self._lines >= MOST:
            kept = thinned(samples(self._path.parent))
            durable.replace(self._path, b"".join(map(_line, kept)), durable=True)
            self._lines = len(kept)

    def _mended(self) -> int:
        """How many lines there are; a torn one is cut off, so that none is joined to it."""
        if not self._path.exists():
            return 0
        lines = _whole_lines(self._path)
        length = sum(len(line) + 1 for line in lines)
        if self._path.stat().st_size != length:
            os.truncate(self._path, length)
        return len(lines)


def thinned(course: Sequence[Sample]) -> list[Sample]:
    """The latest as they are, of the older ones some, at even distances."""
    older, latest = course[:-SHARP], course[-SHARP:]
    distance = latest[-1].seconds / SHARP
    kept = [older[0]]
    for sample in older:
        if sample.seconds >= kept[-1].seconds + distance:
            kept.append(sample)
    return [*kept, *latest]


def _line(sample: Sample) -> bytes:
    return msgspec.json.encode(sample) + b"\n"


def _whole_lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")[:-1]


def _sample(path: Path, number: int, line: bytes) -> Sample:
    try:
        return msgspec.json.decode(line, type=Sample)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: line {number}: damaged: {error}") from error
