"""Who is at work in a directory: a lock that the kernel takes back when its holder dies.

The holder writes its process id into the file, and takes it out again at its end: an id in a file
that nobody has locked is that of a process which was killed. To look does not disturb the holder.

Some sandboxes and file systems do not know the lock that tells of its holder. There a plain one
takes its place; to look is then to hold it, shared, for an instant.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

# struct flock: type, whence, start, length, pid; the last two of a lock on the whole file are 0.
_FLOCK: Final = Struct("hhqqi0q")
_REQUEST: Final = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_LONGEST: Final = 32  # bytes of an id
_UNKNOWN: Final = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


class Holder(NamedTuple):
    """Whether somebody has the lock. ``pid``: the process that has it, or was killed with it."""

    alive: bool
    pid: int | None


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Holds the lock at ``path`` if it can be had at once; whether it could."""
    descriptor = _opened(path, os.O_RDWR | os.O_CREAT)
    try:
        if not _locked(descriptor):
            yield False
            return
        _write(descriptor, f"{os.getpid()}\n".encode())
        try:
            yield True
        finally:
            # No room for a word, on a full disk, is no reason to end otherwise.
            with suppress(OSError):
                _write(descriptor, b"")
    finally:
        os.close(descriptor)


def holder(path: Path) -> Holder:
    """Who has the lock at ``path``, or had it at last."""
    try:
        descriptor = _opened(path, os.O_RDONLY)
    except FileNotFoundError:
        return Holder(alive=False, pid=None)
    try:
        alive = _is_locked(descriptor)
        word = os.read(descriptor, _LONGEST).strip()
    finally:
        os.close(descriptor)
    return Holder(alive, int(word) if word.isdigit() else None)


def is_claim(path: Path) -> bool:
    """Whether a file holds what ``claimed`` writes, and nothing of somebody else's."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    content = path.read_bytes()[: _LONGEST + 1].strip()
    return not content or (content.isdigit() and len(content) < _LONGEST)


def _opened(path: Path, flags: int) -> int:
    """A plain file. A link may lead to somebody else's; a pipe would wait for its other end."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if path.is_symlink():
            raise OSError(error.errno, "a symbolic link, not followed", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return descriptor


def _locked(descriptor: int) -> bool:
    """Locks a file, if nobody else has."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _REQUEST)
    except (BlockingIOError, PermissionError):  # the latter on CIFS
        return False
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        return _locked_plainly(descriptor, fcntl.LOCK_EX)
    return True


def _is_locked(descriptor: int) -> bool:
    """Whether somebody else has locked a file."""
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _REQUEST)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        return not _locked_plainly(descriptor, fcntl.LOCK_SH)
    kind: int = _FLOCK.unpack(answer)[0]
    return kind != fcntl.F_UNLCK


def _locked_plainly(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(descriptor: int, content: bytes) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, content, 0)
