"""The executor as an ordinary process of this host: for an arm64 machine with /dev/kvm."""

import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from emu.access import Access
from emu.live.channel import receive
from emu.live.console import ConsoleFinding


class Process:
    """An executor that runs. ``channel`` is its standard input and output; a new one after every
    restart. ``hello`` is the frame with which it began.
    """

    channel: socket.socket
    hello: bytes
    _process: subprocess.Popen[bytes]

    def __init__(self, executor: Path) -> None:
        self._executor = executor
        self._start()

    def restart(self) -> None:
        """Start anew; what it was asked is lost."""
        self.close()
        self._start()

    @property
    def lacking(self) -> frozenset[Access]:
        """Nothing: a real CPU is asked."""
        return frozenset()

    def death(self) -> str:
        """Nothing: what it had to say is on our standard error."""
        return ""

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        """None: the console of this host is not ours to read."""
        return ()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        self.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self) -> None:
        self.channel, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [self._executor], stdin=its.fileno(), stdout=its.fileno()
            )
        self.hello = receive(self.channel)
