"""One worker of a crew: the process it is at present, the signs of life it gives, and its ends.

A worker that is at one input for too long, silent or too large is killed. Whatever one died of, the
input that it had in hand is kept apart with the reason, and no worker runs it again. Where it may
be innocent, because somebody else has killed the worker or a slow disk held it up, it is tried
alone.
"""

import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.campaign.ends import cause, from_outside
from fuzz.campaign.suspects import Suspects
from fuzz.directory.logs import bounded
from fuzz.directory.shards import sha1
from fuzz.directory.store import Store, StoreError, WorkerStatus
from fuzz.processes import (
    SOURCE,
    NO_ENGINE,
    UNUSABLE,
    environment,
    last_line,
    processor_seconds,
    resident_mib,
)
from fuzz.search.hand import held, pulse
from fuzz.search.orders import Orders

SHORT_LIFE: Final = 10.0  # seconds; after several of these in a row the next start is put off
AT_ONCE: Final = 3  # short lives after which a worker is started again without delay
LONGEST_DELAY: Final = 60.0  # seconds
LAST_WORDS: Final = 0.3  # seconds for a traceback of a worker that hangs
LOOK_EVERY: Final = 0.5  # seconds
SILENT: Final = "silent"  # begins the reason where a disk, not the input, may be to blame


class CrewError(Exception):
    """The workers cannot work; the text is one line, the last that a worker printed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is borne: seconds without a sign of life, as a worker starts and later, and MiB.

    ``busy``: of the later silence, the seconds that it may have a processor; an input takes some
    hundredths of one, however long that is on a busy machine or a slow disk.
    """

    start: float = 120.0
    silence: float = 20.0
    busy: float = 5.0
    rss_mib: int = 512  # one needs about 100


class Member:
    """One worker, which is started again as often as it dies. ``orders``: for its next process.

    ``killed``: how often somebody else has ended it, as far as no input is suspected of that.
    """

    def __init__(
        self,
        index: int,
        store: Store,
        limits: Limits,
        suspects: Suspects,
        orders: Callable[[int], Orders | None],
        tree: Path = SOURCE,
    ) -> None:
        self.index = index
        self.killed = 0
        self.starts = 0
        self.short_lives = 0
        self.done = False
        self.spoken = False
        self._store = store
        self._limits = limits
        self._suspects = suspects
        self._orders = orders
        self._tree = tree
        self._process: subprocess.Popen[bytes] | None = None
        self._status: WorkerStatus | None = None
        self._started_at = self._sign_at = self._start_at = self._look_at = 0.0
        self._pulse, self._used_before = 0, 0.0
        self._killed_for = ""

    @property
    def alive(self) -> subprocess.Popen[bytes] | None:
        """Its process, if that runs."""
        process = self._process
        return process if process is not None and process.poll() is None else None

    @property
    def status(self) -> WorkerStatus | None:
        """What its present process, or its last if it is done, said; None if it has not spoken."""
        status, process = self._store.status(self.index), self._process
        if process is None:  # it died, and where it is done there was nothing left to do
            return status if self.done and self.spoken else None
        return status if status is not None and status.pid == process.pid else None

    @property
    def waits(self) -> bool:
        """Whether it died too often to be started again at once."""
        return self._process is None and not self.done and self.short_lives >= AT_ONCE

    def tend(self, now: float) -> None:
        """Starts it if it is time to, sees what it died of, or kills it for good reason."""
        if self.done:
            return
        if self._process is None:
            if now >= self._start_at:
                self._start(now)
        elif self._process.poll() is not None:
            self._bury(self._process, now)
        elif not self._killed_for and now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            bounded(self._store.log_file(self.index))
            self._killed_for = self._look(self._process.pid, now)
            if self._killed_for:
                self._kill(self._process)

    def forgive(self, now: float) -> None:
        """Nobody has looked at it for long: it is not to be blamed for its silence."""
        self._sign_at = now

    def _start(self, now: float) -> None:
        orders = self._orders(self.starts)
        if orders is None:
            self.done = True
            return
        # Else a worker that dies as it starts would be thought to die of it.
        self._store.hand_file(self.index).unlink(missing_ok=True)
        bounded(self._store.log_file(self.index))
        with self._store.log_file(self.index).open("ab") as log:
            self._process = subprocess.Popen(
                orders.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self._tree),
                # A terminal's ctrl-C is for the supervisor, who passes it on.
                start_new_session=True,
            )
        self.starts += 1
        self._started_at = self._sign_at = now
        self._status, self._killed_for = None, ""
        self._pulse, self._used_before = 0, 0.0

    # LIFE

    def _look(self, pid: int, now: float) -> str:
        """Why the process must go, or ""."""
        self._listen(pid, now)
        limits = self._limits
        resident = resident_mib(pid)
        if resident > limits.rss_mib:
            return f"memory: {resident} MiB, where {limits.rss_mib} are allowed"
        starting = self._status is None and not self._pulse
        used = processor_seconds(pid) - self._used_before
        if not starting and used > limits.busy:
            return f"hung: {limits.busy:.0f} s at work without a sign of life"
        patience = limits.start if starting else limits.silence
        if now - self._sign_at > patience:
            return f"{SILENT}: no sign of life for {patience:.0f} s"
        return ""

    def _listen(self, pid: int, now: float) -> None:
        """Takes down whether it has given a sign since the last time."""
        status, beats = self.status, pulse(self._store.hand_file(self.index))
        if status is not None and status != self._status:
            self._status, self.spoken = status, True
            if now - self._started_at > SHORT_LIFE:
                self.short_lives = 0
        elif beats == self._pulse:
            return
        self._pulse, self._sign_at = beats, now
        self._used_before = processor_seconds(pid)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        if self._killed_for.startswith(("hung", SILENT)):
            process.send_signal(signal.SIGABRT)  # it leaves a traceback, in a native loop too
            with suppress(subprocess.TimeoutExpired):
                process.wait(LAST_WORDS)
        process.kill()

    # DEATH

    def _bury(self, process: subprocess.Popen[bytes], now: float) -> None:
        """It has ended: done, or to be started again, or hopeless."""
        status, code = self.status, process.returncode
        if code == 0 and status is not None and status.finished:
            self._end_well(now)
            return
        log = self._store.log_file(self.index)
        if code == UNUSABLE:
            self._store.probe()  # knows best what is wrong with the disk, if that is it
            raise StoreError(f"{last_line(log)} (worker {self.index}, see {log})")
        if code == NO_ENGINE:
            raise CrewError(f"{last_line(log)} (worker {self.index}, see {log})")
        self.spoken |= status is not None
        self._keep_input(code, now - self._started_at, log)
        self.short_lives = self.short_lives + 1 if now - self._started_at < SHORT_LIFE else 0
        self._start_at = now + delay(self.short_lives)
        self._process = None

    def _end_well(self, now: float) -> None:
        """It has done all, or somebody has told it to stop who is not its supervisor."""
        self.done = self._orders(self.starts) is None
        if not self.done:
            self.killed += 1
            self._process, self._start_at = None, now

    def _keep_input(self, code: int, lived: float, log: Path) -> None:
        reason = self._killed_for or cause(code)
        outside = not self._killed_for and from_outside(code)
        doubtful = outside or self._killed_for.startswith(SILENT)
        data = held(self._store.hand_file(self.index))
        if not data:
            self.killed += outside
            return
        told = f"{reason}, after {lived:.1f} s\nworker {self.index}, whose log is {log}"
        name = f"{reason.partition(':')[0].replace(' ', '-')}-{sha1(data)}"
        if doubtful:
            self._suspects.add(name, data, told)
        else:
            self._store.record_death(name, data, told)


def delay(short_lives: int) -> float:
    """Seconds to wait after so many short lives in a row."""
    if short_lives < AT_ONCE:
        return 0.0
    return min(2.0 ** (short_lives - AT_ONCE), LONGEST_DELAY)
