"""QEMU's monitor, QMP, as far as saving the machine's state needs it."""

import socket
import time
from typing import Final

import msgspec

from emu.live.trouble import BoxError

_POLL: Final = 0.01
_STATE: Final = "state"
_FASTEST: Final = 1 << 40  # bytes a second: the default is a network's


class _Status(msgspec.Struct, frozen=True):
    """query-migrate's return, or that of a command without any."""

    status: str = ""
    error_desc: str = msgspec.field(default="", name="error-desc")


class _Error(msgspec.Struct, frozen=True):
    desc: str


class _Message(msgspec.Struct, frozen=True):
    """A line of QMP: a greeting, an event, an error or a return."""

    returned: _Status | None = msgspec.field(default=None, name="return")
    error: _Error | None = None


class Monitor:
    """One connection to a QEMU that was just started."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._command("qmp_capabilities")

    def save(self, descriptor: int, limit: float) -> None:
        """Write the machine's state to an open file; the machine stays stopped then.

        The machine runs when this begins: one that was stopped would be resumed stopped.
        """
        self._command("migrate-set-parameters", {"max-bandwidth": _FASTEST})
        self._command("getfd", {"fdname": _STATE}, descriptor)
        self._command("migrate", {"uri": f"fd:{_STATE}"})
        deadline = time.monotonic() + limit
        while (now := self._command("query-migrate")).status != "completed":
            if now.status in {"failed", "cancelled"}:
                raise BoxError(f"QEMU could not save its state: {now.error_desc or now.status}")
            if time.monotonic() > deadline:
                raise BoxError(f"QEMU did not save its state within {limit:g} s")
            time.sleep(_POLL)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._connection.close()

    def _command(
        self,
        name: str,
        arguments: dict[str, str | int] | None = None,
        descriptor: int | None = None,
    ) -> _Status:
        words = msgspec.json.encode({"execute": name, "arguments": arguments or {}})
        try:
            socket.send_fds(self._connection, [words], [] if descriptor is None else [descriptor])
            for line in self._lines:
                message = msgspec.json.decode(line, type=_Message)
                if message.error is not None:
                    raise BoxError(f"QEMU: {name}: {message.error.desc}")
                if message.returned is not None:
                    return message.returned
        except OSError as error:
            raise BoxError(f"QEMU: {name}: {error}") from None
        raise BoxError(f"QEMU: {name}: it ended")
