"""Files that are there whole or not at all, whatever is killed or loses power when.

A file is written beside its place under a temporary name, flushed to the disk, and renamed; then
the directory is flushed if the name is new, because that is in there. Names of temporary files
begin with ``TEMPORARY``, so that what a killed writer left behind can be told and removed.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

TEMPORARY: Final = ".writing-"
DAMAGED: Final = ".damaged"


def write(path: Path, content: bytes) -> None:
    """Puts ``content`` at ``path``; when this returns, it survives a power cut.

    In place of another content: that, or the other, as a whole.
    """
    replace(path, content, durable=True)


def replace(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Puts ``content`` at ``path`` in one step for every reader; on the disk soon, or now.

    OSError where it cannot, and where something stands there that is no plain file: root could
    put a file in place of a device.
    """
    there = path.exists()
    if there and not path.is_file():
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
    if durable and not there:  # else there is the old file or the new one, and both are whole
        _flush_directory(path.parent)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file at ``path``; the kernel gives it back when the holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def free(path: Path) -> Path:
    """That path, or one like it at which nothing is."""
    number = 0
    found = path
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f"{path.name}.{number}")
    return found


def set_aside(path: Path) -> Path:
    """Gives a damaged file another name, so that its place is free and nothing is lost."""
    return path.rename(free(path.with_name(f"{path.name}{DAMAGED}")))


def copied_aside(path: Path) -> Path:
    """Keeps a damaged file under another name, and where it was too, until it is replaced."""
    copy = free(path.with_name(f"{path.name}{DAMAGED}"))
    write(copy, path.read_bytes())
    return copy


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
