"""What a campaign does, before it goes on, with files that are not what they should be."""

import os
from pathlib import Path
from typing import Final

import msgspec

from fuzz.directory import durable, tallies
from fuzz.directory.records import RecordError
from fuzz.directory.series import STATISTICS, samples
from fuzz.directory.store import Store

SUFFIXES: Final = (".json", tallies.SUFFIX)
SHOWN: Final = 5  # damaged samples; there may be thousands


def mended(store: Store) -> list[str]:
    """Sets aside what is damaged, under another name; what was, a line each.

    Nobody else may be at work there. Samples that are whole stay where they are.
    """
    bad: list[RecordError] = []
    store.findings(bad)
    store.coverages(bad)
    store.statuses(bad)
    told = [_set_aside(error) for error in bad]
    return [*told, *_mended_course(store.root)]


def _set_aside(error: RecordError) -> str:
    if error.path.suffix not in SUFFIXES or not os.path.lexists(error.path):
        return str(error)  # a folder, or what is there no more
    return f"{error}; now {durable.set_aside(error.path).name}"


def _mended_course(root: Path) -> list[str]:
    bad: list[RecordError] = []
    whole, path = samples(root, bad), root / STATISTICS
    if not bad:
        return []
    # What is whole is never away; what is no file, or none that can be read, cannot be copied.
    now = durable.copied_aside(path) if whole else durable.set_aside(path)
    durable.write(path, b"".join(msgspec.json.encode(each) + b"\n" for each in whole))
    told = [f"{error}; now in {now.name}" for error in bad[:SHOWN]]
    return [*told, *([f"{path}: {len(bad) - SHOWN} more"] if len(bad) > SHOWN else [])]
