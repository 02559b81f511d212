"""The input that a worker has in hand, where it is found when the worker is killed; and its pulse.

The file is mapped: to write there is one copy in memory, which outlives the process.
"""

import mmap
import os
from pathlib import Path
from struct import Struct
from typing import Final

CAPACITY: Final = 4096  # bytes; more than an input has
_PULSE: Final = Struct("<Q")
_LENGTH: Final = Struct("<H")
_HEAD: Final = _PULSE.size + _LENGTH.size


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
        self._pulse = 0
        self._file[:_HEAD] = bytes(_HEAD)

    def hold(self, data: bytes) -> None:
        """Put an input there, in place of the one before."""
        self.beat()
        kept = (_LENGTH.pack(len(data)) + data)[: CAPACITY - _PULSE.size]
        self._file[_PULSE.size : _PULSE.size + len(kept)] = kept

    def beat(self) -> None:
        """Show that the work goes on, where one input takes long."""
        self._pulse += 1
        _PULSE.pack_into(self._file, 0, self._pulse)


def held(path: Path) -> bytes:
    """The input that the worker had in hand; b"" where it had none."""
    content = _content(path)
    if len(content) < _HEAD:
        return b""
    (length,) = _LENGTH.unpack_from(content, _PULSE.size)
    return content[_HEAD : _HEAD + length]


def pulse(path: Path) -> int:
    """How often the worker has shown that it goes on; 0 where it has not yet."""
    content = _content(path)
    return _PULSE.unpack_from(content)[0] if len(content) >= _HEAD else 0


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
