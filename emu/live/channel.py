"""The stream between this side and an executor, a frame at a time."""

import socket

from emu.live.frames import LENGTH, LONGEST
from emu.live.trouble import BoxError


def receive(channel: socket.socket) -> bytes:
    """The next frame, without its length. BoxError where none comes."""
    (length,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    if length > LONGEST:
        raise BoxError(f"the executor sent a frame of {length} bytes")
    return _exactly(channel, length)


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = channel.recv(size - len(parts))
        except TimeoutError:
            raise BoxError("the executor does not answer") from None
        except OSError as error:
            raise BoxError(f"the executor is gone: {error.strerror}") from None
        if not part:
            raise BoxError("the executor is gone")
        parts += part
    return bytes(parts)
