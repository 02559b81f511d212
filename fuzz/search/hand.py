"""The input that a worker has in hand, where it is found when the worker is killed.

The file is mapped: to put an input there is one copy in memory, which outlives the process.
"""

import mmap
import os
from pathlib import Path
from struct import Struct
from typing import Final

CAPACITY: Final = 4096  # bytes; more than an input has
_LENGTH: Final = Struct("<H")


class Hand:
    """One worker's."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            # Allocated now: a full disk would be a SIGBUS later.
            os.posix_fallocate(descriptor, 0, CAPACITY)
            self._file = mmap.mmap(descriptor, CAPACITY)
        finally:
            os.close(descriptor)
        self.hold(b"")

    def hold(self, data: bytes) -> None:
        """Put an input there, in place of the one before."""
        kept = (_LENGTH.pack(len(data)) + data)[:CAPACITY]
        self._file[: len(kept)] = kept


def held(path: Path) -> bytes:
    """The input that the worker had in hand; b"" where it had none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return b""
    if len(content) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack_from(content)
    return content[_LENGTH.size : _LENGTH.size + length]
