"""A box: a QEMU that runs a kernel with the executor as its first process.

It is killed when the thread that started it ends. Nothing of it has a name in the file system, so
nothing of it is left, whatever is killed.
"""

import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Final, Self

from emu.access import Access
from emu.live.console import Console, ConsoleFinding
from emu.live.frames import FrameError, Unframer, framed
from emu.live.images import Image
from emu.live.injector import HOOK, Injector
from emu.live.needs import Needs
from emu.live.protocol import greeting
from emu.live.saved import BOOT_LIMIT, Saved, ended, first_frame, last_words
from emu.live.trouble import BoxError

_TAKEN: Final = 1 << 16
_PROBE: Final = bytes(8)  # a frame of no kind: the executor says that it does not know it


class Box:
    """One machine, resumed, or booted where it is nested.

    ``channel`` is its port; a new one after every restart.
    """

    channel: socket.socket
    _process: subprocess.Popen[bytes]

    def __init__(self, saved: Saved, *, owns: bool = False) -> None:
        """``owns``: what it was resumed from is closed with it."""
        self.saved: Final = saved
        self.console: Final = Console()
        self.restarts = 0
        self._stub: socket.socket | None = None
        self._injector: Injector | None = None
        with ExitStack() as stack:
            if owns:
                stack.callback(saved.close)
            stack.callback(self.console.close)
            self._errors = stack.enter_context(TemporaryFile())
            self._resume()
            self._files = stack.pop_all()

    @property
    def hello(self) -> bytes:
        """What the executor said when it was ready."""
        return self.saved.hello

    @property
    def lacking(self) -> frozenset[Access]:
        """What its CPU is known not to do."""
        return self.saved.lacking

    @property
    def alive(self) -> bool:
        """Whether its QEMU runs; what the guest does is another question."""
        return self._process.poll() is None

    def restart(self) -> None:
        """Start anew from the saved state, whatever it is doing; what it was asked is lost."""
        self._end()
        self.console.cut()
        self.restarts += 1
        self._resume()

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        """What its kernel complained of since this was last asked."""
        return self.console.news()

    def probe(self, limit: float) -> float:
        """The seconds until the executor answers. Only when it was asked nothing else."""
        start = time.monotonic()
        unframer = Unframer()
        self.channel.settimeout(limit)
        try:
            self.channel.sendall(framed(_PROBE))
            while content := self.channel.recv(_TAKEN):
                if unframer.feed(content):
                    return time.monotonic() - start
        except TimeoutError:
            raise BoxError(f"the executor did not answer within {limit:g} s") from None
        except (OSError, FrameError) as error:
            raise BoxError(str(error)) from None
        finally:
            self.channel.settimeout(None)
        raise BoxError(f"the machine ended{self.death()}")

    def death(self) -> str:
        """What QEMU or its stub had to say, to be put behind a message."""
        trouble = self._injector.trouble if self._injector else ""
        said = trouble or last_words(self._errors)
        return f": {said}" if said else ""

    def close(self) -> None:
        """Kill it."""
        self._end()
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _resume(self) -> None:
        with ExitStack() as stack:
            self.channel, qemus = socket.socketpair()
            stack.enter_context(qemus)
            stub = None
            if self.saved.needed.injecting:
                self._stub, stub = socket.socketpair()
                stack.enter_context(stub)
            self._process = self.saved.resume(qemus, self.console, self._errors, stub)
        with ExitStack() as failed:
            failed.callback(self._end)
            if self.saved.needed.nested:
                first_frame(self.channel, time.monotonic() + BOOT_LIMIT)
                self.channel.settimeout(None)
            if self._stub is not None:
                self._injector = _injector(self._stub, self.hello, self._process.kill)
            failed.pop_all()

    def _end(self) -> None:
        ended(self._process)
        self.channel.close()
        if self._injector is not None:
            self._injector.join()
        if self._stub is not None:
            self._stub.close()


def _injector(stub: socket.socket, hello: bytes, end: Callable[[], None]) -> Injector | None:
    """None where the kernel does not tell where its functions are."""
    functions = greeting(hello).functions
    return Injector(stub, functions, end) if HOOK in functions else None


def start(image: Image, executor: Path, needed: Needs) -> Box:
    """A box of its own: booted, saved, and resumed."""
    return Box(Saved(image, executor, needed), owns=True)
