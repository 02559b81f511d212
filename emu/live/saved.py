"""A machine booted once and saved with its executor ready: what every box is resumed from."""

import os
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

from emu.access import Access
from emu.live import qemu
from emu.live.console import Console, ConsoleFinding
from emu.live.frames import FrameError, Unframer
from emu.live.images import Image
from emu.live.initrd import initrd
from emu.live.monitor import Monitor
from emu.live.needs import Needs
from emu.live.qemu import Wiring
from emu.live.trouble import BoxError, RequestError

BOOT_LIMIT: Final = 60.0  # seconds; a machine with nothing else to do needs three
SAVE_LIMIT: Final = 60.0

_TAKEN: Final = 1 << 16
# On QEMU 7.2 a KVM_RUN does not end in which a walk is to set an access flag on a read-only page.
_BEFORE_NESTING: Final = frozenset({Access.WALK_AF})


class Saved:
    """The state, in a file without a name, and what else a QEMU must be given to resume it.

    A nested machine has no state and is booted each time: its kernel needs VHE, and with that a
    resumed machine loses its timer interrupts and stops after a while. ``hello`` is the body of the
    frame that the executor says when it is ready, ``complaints`` what the kernel complained of
    until then.
    """

    def __init__(self, image: Image, executor: Path, needed: Needs) -> None:
        self.image: Final = image
        self.needed: Final = needed
        self.hello = b""
        self.complaints: tuple[ConsoleFinding, ...] = ()
        self.boot_seconds = 0.0
        self.save_seconds = 0.0
        with ExitStack() as stack:
            self._initrd = stack.enter_context(_unnamed(initrd(_program(executor))))
            self._state = stack.enter_context(_unnamed(b""))
            self._boot()
            self._files = stack.pop_all()

    @property
    def size(self) -> int:
        """Bytes of the state."""
        return os.fstat(self._state.fileno()).st_size

    @property
    def lacking(self) -> frozenset[Access]:
        """What its CPU is known not to do: what it would come to need not be found out."""
        return frozenset() if self.image.qemu(nested=self.needed.nested).nests else _BEFORE_NESTING

    def resume(
        self,
        port: socket.socket,
        console: Console,
        errors: IO[bytes],
        debugger: socket.socket | None = None,
    ) -> "_Process":
        """A QEMU that goes on from the state, its port connected to this socket.

        A nested one says ``hello`` again when it is ready.
        """
        if self.needed.nested:
            wiring = self._wiring(port, console, debugger=debugger)
            return qemu.spawn(self._command(wiring), wiring, errors)
        # A description of its own: each reads from the beginning.
        state = os.open(f"/proc/self/fd/{self._state.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            wiring = self._wiring(port, console, state=state, debugger=debugger)
            return qemu.spawn(self._command(wiring), wiring, errors)
        finally:
            os.close(state)

    def close(self) -> None:
        """Give the disk space back."""
        self._files.close()

    def _boot(self) -> None:
        start = time.monotonic()
        port, qemus_port = socket.socketpair()
        control, qemus_control = socket.socketpair()
        console = Console()
        with ExitStack() as stack:
            for each in (port, qemus_port, control, qemus_control):
                stack.enter_context(each)
            stack.callback(console.close)
            errors = stack.enter_context(_unnamed(b""))
            wiring = self._wiring(qemus_port, console, monitor=qemus_control.fileno())
            process = qemu.spawn(self._command(wiring), wiring, errors)
            stack.callback(ended, process)
            qemus_port.close()
            qemus_control.close()
            monitor = Monitor(control)
            stack.callback(monitor.close)
            try:
                self.hello = first_frame(port, start + BOOT_LIMIT)
                self.boot_seconds = time.monotonic() - start
                self.complaints = console.findings()
                if not self.needed.nested:
                    monitor.save(self._state.fileno(), SAVE_LIMIT)
            except BoxError as error:
                raise BoxError(
                    f"{self.image.name}: {error}{parting_words(errors, console)}"
                ) from None
            self.save_seconds = time.monotonic() - start - self.boot_seconds

    def _command(self, wiring: Wiring) -> list[str]:
        return qemu.command(self.image, self.needed, wiring)

    def _wiring(
        self,
        port: socket.socket,
        console: Console,
        *,
        monitor: int | None = None,
        state: int | None = None,
        debugger: socket.socket | None = None,
    ) -> Wiring:
        initrd_file = self._initrd.fileno()
        stub = debugger.fileno() if debugger else None
        return Wiring(port.fileno(), console.descriptor, initrd_file, monitor, state, stub)


_Process = subprocess.Popen[bytes]


def ended(process: _Process) -> None:
    """Kill a QEMU and wait until it is gone."""
    process.kill()
    process.wait()


def last_words(errors: IO[bytes]) -> str:
    """The last line of what a QEMU had to say."""
    lines = os.pread(errors.fileno(), _TAKEN, 0).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def parting_words(errors: IO[bytes], console: Console) -> str:
    """What QEMU said last, and the kernel's complaint or last line, to be put behind a message.

    A last line may say nothing of the reason, and is therefore told as what it is.
    """
    said = last_words(errors)
    words = f"; QEMU: {said}" if said else ""
    if findings := console.findings():
        return f"{words}; the kernel: {findings[-1].line}"
    last = next((line for line in reversed(console.tail()) if line), "")
    return words + (f"; the console's last line, perhaps harmless: {last}" if last else "")


def first_frame(port: socket.socket, deadline: float) -> bytes:
    """What an executor says when it is ready; BoxError where it does not say it in time."""
    unframer = Unframer()
    while True:
        port.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            content = port.recv(_TAKEN)
            frames = unframer.feed(content)
        except TimeoutError:
            late = f"the executor was not ready within {BOOT_LIMIT:g} s; a busy machine may do that"
            raise BoxError(late) from None
        except (OSError, FrameError) as error:
            raise BoxError(str(error)) from None
        if frames:
            return frames[0]
        if not content:
            raise BoxError("the machine ended before its executor was ready")


def _program(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from None


def _unnamed(content: bytes) -> IO[bytes]:
    file = TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(content)
    file.flush()
    return file
