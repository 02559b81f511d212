"""Frames between a box and this side: a length of four bytes, then that many."""

import struct
from typing import Final

LENGTH: Final = struct.Struct("<I")
LONGEST: Final = 1 << 20  # nothing that an executor says comes near it


class FrameError(ValueError):
    """The other end does not speak in frames."""


def framed(body: bytes) -> bytes:
    """A frame with this body."""
    return LENGTH.pack(len(body)) + body


class Unframer:
    """Bytes as they come in, taken apart."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, content: bytes) -> list[bytes]:
        """The bodies that are whole with these bytes."""
        self._bytes += content
        bodies = []
        while len(self._bytes) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._bytes)
            if length > LONGEST:
                raise FrameError(f"a frame of {length} bytes")
            end = LENGTH.size + length
            if len(self._bytes) < end:
                break
            bodies.append(bytes(self._bytes[LENGTH.size : end]))
            del self._bytes[:end]
        return bodies
