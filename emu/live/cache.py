"""Where kernels and QEMUs are kept: the user's cache, the only place that fetching writes to."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_WORK: Final = ".fetching-"
_OLD: Final = ".replaced"


def root() -> Path:
    """This tool's part of the cache; XDG has relative paths ignored."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "guest-fault-fuzzer"


def images() -> Path:
    """A folder for each image."""
    return root() / "images"


def qemus() -> Path:
    """A folder for each QEMU."""
    return root() / "qemu"


@contextmanager
def workshop() -> Iterator[Path]:
    """A private folder in the cache for one fetch at a time; gone at the end."""
    root().mkdir(parents=True, exist_ok=True)
    with (root() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in root().glob(f"{_WORK}*"):  # of a fetch that was killed
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(prefix=_WORK, dir=root()) as folder:
            yield Path(folder)


def install(prepared: Path, place: Path) -> None:
    """Put a prepared folder at its place, whole; what was there before goes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    old = prepared.parent / _OLD
    if place.exists():
        place.rename(old)
    prepared.rename(place)
    shutil.rmtree(old, ignore_errors=True)
