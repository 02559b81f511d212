"""``workers/N.seen``: how often worker N has seen each finding since that was stored.

A finding's own file is flushed to the disk, and dear. These are not: a power cut may cost counts.
"""

from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from fuzz.directory import durable, records
from fuzz.directory.records import RecordError

SUFFIX: Final = ".seen"


class Seen(msgspec.Struct, frozen=True):
    """How often, by the name of the finding."""

    counts: dict[str, int]


def of(folder: Path, worker: int) -> dict[str, int]:
    """What one worker has seen; nothing where that cannot be read."""
    try:
        return dict(records.read(_file(folder, worker), Seen).counts)
    except (FileNotFoundError, RecordError):
        return {}


def of_all(folder: Path, bad: list[RecordError]) -> Counter[str]:
    """What all workers that ever were have seen."""
    total: Counter[str] = Counter()
    for _, seen in records.all_in(folder, SUFFIX, Seen, bad):
        total.update(seen.counts)
    return total


def replace(folder: Path, worker: int, counts: dict[str, int]) -> None:
    """Puts that in place of what a worker had seen."""
    durable.replace(_file(folder, worker), records.encoded(Seen(counts)))


def _file(folder: Path, worker: int) -> Path:
    return folder / f"{worker}{SUFFIX}"
