"""QEMU's gdbstub, as far as forcing the return value of a kernel's function needs it.

The protocol is GDB's Remote Serial Protocol; registers are those of its aarch64 core feature.
"""

import socket
import struct
import time
from dataclasses import dataclass
from typing import Final

from emu.live.trouble import BoxError

_POLL: Final = 0.02
_SLOWEST_POLL: Final = 0.5
_LIMIT: Final = 30.0  # seconds for an answer: a machine that others keep busy
_TAKEN: Final = 1 << 16
_BREAK: Final = b"\x03"
_CORE: Final = struct.Struct("<33QI")  # x0 to x30, SP, PC, CPSR
_LINK: Final = 30
_PC: Final = 32
_STOPPED: Final = (b"T", b"S")
_EXITED: Final = (b"W", b"X")
_SHOWN: Final = 24  # bytes of an answer that is shown


class StubError(BoxError):
    """The stub said what it cannot mean; its machine stands still from then on."""

    def __init__(self, content: bytes) -> None:
        words = content[:_SHOWN].decode("ascii", "backslashreplace")
        super().__init__(f"QEMU's gdbstub said {words!r}")


@dataclass(slots=True)
class Registers:
    """The core registers of a stopped CPU; ``rest`` is what else the stub tells."""

    values: list[int]
    rest: bytes

    @property
    def pc(self) -> int:
        """Where it stands."""
        return self.values[_PC]

    def argument(self, number: int) -> int:
        """An argument of the function that it is at the start of."""
        return self.values[number]

    def leave(self, result: int) -> None:
        """Return from that function, undone."""
        self.values[0] = result & (1 << 64) - 1
        self.values[_PC] = self.values[_LINK]


class Stub:
    """A connection to the stub of a QEMU that runs. BoxError where it is gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._bytes = bytearray()

    def attach(self) -> None:
        """Stop the machine, as soon as it runs: before that nothing answers."""
        deadline, pause = time.monotonic() + _LIMIT, _POLL
        while not self._bytes:
            if time.monotonic() > deadline:
                raise BoxError("QEMU's gdbstub does not answer")
            self._send(_BREAK)
            self._receive(pause)
            pause = min(2 * pause, _SLOWEST_POLL)  # the socket has room for some hundred
        self._packet()

    def go_on(self) -> None:
        """Let the machine run."""
        self._put(b"c")

    def wait(self) -> None:
        """Until the machine stops; BoxError where it ends instead."""
        while (answer := self._packet(None))[:1] not in _STOPPED:
            if answer[:1] not in _EXITED:  # after which the connection ends
                raise StubError(answer)

    def step(self) -> None:
        """One instruction."""
        self._put(b"s")
        self.wait()

    def insert(self, address: int) -> None:
        """A breakpoint; only while the machine is stopped."""
        self._command(f"Z0,{address:x},4")

    def remove(self, address: int) -> None:
        """Take one away."""
        self._command(f"z0,{address:x},4")

    def registers(self) -> Registers:
        """Of the CPU, which is stopped."""
        self._put(b"g")
        answer = self._packet()
        try:
            content = bytes.fromhex(answer.decode("ascii"))
            return Registers(list(_CORE.unpack_from(content)), content[_CORE.size :])
        except (ValueError, struct.error):
            raise StubError(answer) from None

    def set_registers(self, registers: Registers) -> None:
        """All of them."""
        content = _CORE.pack(*registers.values) + registers.rest
        self._command(f"G{content.hex()}")

    def _command(self, words: str) -> None:
        self._put(words.encode())
        answer = self._packet()
        if answer != b"OK":
            raise StubError(answer)

    def _put(self, content: bytes) -> None:
        self._send(b"$%b#%02x" % (content, sum(content) & 0xFF))

    def _packet(self, limit: float | None = _LIMIT) -> bytes:
        """The next one, acknowledged; between two stand acknowledgements of ours."""
        while True:
            start, end = self._bytes.find(b"$"), self._bytes.find(b"#")
            if 0 <= start < end <= len(self._bytes) - 3:
                content, checksum = (
                    bytes(self._bytes[start + 1 : end]),
                    self._bytes[end + 1 : end + 3],
                )
                del self._bytes[: end + 3]
                if checksum != b"%02x" % (sum(content) & 0xFF):
                    raise StubError(content)
                self._send(b"+")
                return content
            if not self._receive(limit):
                raise BoxError("QEMU's gdbstub does not answer")

    def _receive(self, limit: float | None) -> bool:
        """Take in what there is; whether anything came in time."""
        self._connection.settimeout(limit)
        try:
            content = self._connection.recv(_TAKEN)
        except TimeoutError:
            return False
        except OSError as error:
            raise BoxError(f"QEMU's gdbstub: {error.strerror}") from None
        if not content:
            raise BoxError("QEMU's gdbstub is gone")
        self._bytes += content
        return True

    def _send(self, content: bytes) -> None:
        self._connection.settimeout(_LIMIT)
        try:
            self._connection.sendall(content)
        except TimeoutError:
            raise BoxError("QEMU's gdbstub takes nothing in") from None
        except OSError as error:
            raise BoxError(f"QEMU's gdbstub: {error.strerror}") from None
