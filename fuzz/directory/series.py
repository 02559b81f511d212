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

from fuzz.directory import durable, records
from fuzz.directory.records import RecordError
from fuzz.directory.store import Bad, tell

STATISTICS: Final = "statistics.jsonl"
EVERY: Final = 5.0  # seconds
MOST: Final = 4096  # lines
SHARP: Final = 1024
LARGEST: Final = 1 << 30  # bytes; a line has some hundred for each worker


class WorkerSample(msgspec.Struct, frozen=True):
    """One worker in a sample. ``kernels``: () where each worker has all of the campaign's."""

    index: int
    cases: int
    cases_per_second: float
    rss_mib: int
    kernels: tuple[str, ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign at one moment. ``seconds``: its age, the time it was not running left out.

    ``cases``, ``restarts``, ``harness_crashes``, ``rerun`` and ``differed`` are totals of all its
    runs: ``differed`` of the ``rerun`` cases came out otherwise on a fresh machine. ``killed`` of
    the ``restarts`` were somebody else's doing. ``waiting`` workers died so often that they are
    left alone for a while. ``findings``, ``questions`` and ``corpus`` are what is kept of each.
    ``cases_per_second`` is that of all workers since the sample before, ``rss_mib`` the largest
    worker's, and ``last_new_s`` the age at the last new path.
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
    killed: int = 0
    waiting: int = 0


def samples(root: Path, bad: Bad = None) -> list[Sample]:
    """The course of the campaign at ``root`` so far; none where none is written.

    What is no sample is told to ``bad``; without, it is a StoreError.
    """
    path = root / STATISTICS
    found, told = list[Sample](), list[RecordError]()
    try:
        for number, line in enumerate(_whole_lines(path), 1):
            try:
                found.append(msgspec.json.decode(line, type=Sample))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                told.append(RecordError(path, f"line {number}: damaged: {error}"))
    except FileNotFoundError:
        return []
    except RecordError as error:
        told.append(error)
    tell(told, bad)
    return found


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
            kept = thinned(samples(self._path.parent, bad := list[RecordError]()))
            if bad:
                durable.copied_aside(self._path)
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
    if not older:  # somebody has taken lines away
        return list(latest)
    distance = latest[-1].seconds / SHARP
    kept = [older[0]]
    for sample in older:
        if sample.seconds >= kept[-1].seconds + distance:
            kept.append(sample)
    return [*kept, *latest]


def _line(sample: Sample) -> bytes:
    return msgspec.json.encode(sample) + b"\n"


def _whole_lines(path: Path) -> list[bytes]:
    return records.content(path, LARGEST).split(b"\n")[:-1]
