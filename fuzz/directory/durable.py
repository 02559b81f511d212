"""Files that are there whole or not at all, whatever is killed or loses power when.

A file is written beside its place under a temporary name, flushed to the disk, and renamed; then
the directory is flushed, because the new name is in there. Names of temporary files begin with
``TEMPORARY``, so that what a killed writer left behind can be told and removed.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".writing-"


def write(path: Path, content: bytes) -> None:
    """Puts ``content`` at ``path``; when this returns, it survives a power cut."""
    replace(path, content, durable=True)


def replace(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Puts ``content`` at ``path`` in one step for every reader; on the disk soon, or now.

    OSError where it cannot, and where something stands there that is no plain file: root could
    put a file in place of a device.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        if durable:
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError:  # a full disk: half a file would only fill it more
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    if durable:
        _flush_directory(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file at ``path``; the kernel gives it back when the holder dies."""
    with _opened_lock(path) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_at_once(path: Path) -> Iterator[bool]:
    """The same without waiting; whether the lock could be had."""
    with _opened_lock(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _opened_lock(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_temporary(path: Path) -> bool:
    """Whether this is a file that a killed writer left behind."""
    return path.name.startswith(TEMPORARY)


def sweep(directory: Path) -> None:
    """Removes what killed writers left in ``directory``; only while nobody writes there."""
    for leftover in directory.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
