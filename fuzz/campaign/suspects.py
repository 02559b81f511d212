"""Inputs that a worker had in hand as it came to an end that may not be theirs: tried once, alone.

A person may have killed it, or the kernel for want of memory, or a slow disk may have held it up.
Nobody runs a suspect until it is tried; what a campaign does not come to try, its next run does.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from fuzz.campaign.ends import cause
from fuzz.directory import durable, records
from fuzz.directory.records import RecordError
from fuzz.directory.store import DEATHS, Store
from fuzz.oracle.contract import Reading
from fuzz.processes import SOURCE, environment, resident_mib

UNTRIED: Final = "not tried alone yet"
PATIENCE: Final = 60.0  # seconds for what takes one or two


class Suspects:
    """Those of one campaign. ``cleared``: how many turned out harmless, and may be run again."""

    def __init__(
        self,
        store: Store,
        kernels: Sequence[str],
        reading: Reading,
        rss_mib: int,
        tree: Path = SOURCE,
    ) -> None:
        self.cleared = 0
        self._store = store
        self._kernels = tuple(kernels)
        self._reading = reading
        self._rss_mib = rss_mib
        self._tree = tree
        self._waiting = deque(path for path in sorted(store.harness.glob(DEATHS)) if untried(path))
        self._process: subprocess.Popen[bytes] | None = None
        self._path = Path()
        self._late_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether any is still to be tried."""
        return self._process is not None or bool(self._waiting)

    def add(self, name: str, data: bytes, told: str) -> None:
        """Keeps an input from the workers, and has it tried."""
        if self._store.record_death(name, data, f"{told}\n{UNTRIED}"):
            self._waiting.append(self._store.harness / f"died-{name}.bytes")

    def tend(self, now: float) -> None:
        """Begins with the next, or sees what became of the one that is being tried."""
        process = self._process
        if process is None:
            if self._waiting:
                self._start(self._waiting.popleft(), now)
        elif process.poll() is not None:
            self._process = None
            self._decide(self._path, cause(process.returncode) if process.returncode else "")
        elif now > self._late_at:
            self._end(process, f"hung for {PATIENCE:.0f} s")
        elif resident_mib(process.pid) > self._rss_mib:
            self._end(process, f"took more than {self._rss_mib} MiB")

    def forgive(self, now: float) -> None:
        """Nobody has looked for long: the one that is being tried has all its time again."""
        self._late_at = now + PATIENCE

    def stop(self) -> None:
        """Leaves for another time what is not decided."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self, path: Path, now: float) -> None:
        words = [str(path), self._reading.value, str(os.getpid()), *self._kernels]
        self._path, self._late_at = path, now + PATIENCE
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fuzz.campaign.probe", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(self._tree),
            start_new_session=True,
        )

    def _end(self, process: subprocess.Popen[bytes], reason: str) -> None:
        process.kill()
        process.wait()
        self._process = None
        self._decide(self._path, reason)

    def _decide(self, path: Path, reason: str) -> None:
        """``reason``: what became of it alone; "" for nothing worth a word."""
        told = path.with_suffix(".txt")
        if not reason:
            self.cleared += 1
            path.unlink(missing_ok=True)
            told.unlink(missing_ok=True)
            return
        with suppress(FileNotFoundError, RecordError):
            before = records.content(told).decode(errors="replace")
            durable.write(told, before.replace(UNTRIED, f"tried alone: {reason}").encode())


def untried(path: Path) -> bool:
    """Whether an earlier run did not come to try this one."""
    try:
        return UNTRIED.encode() in records.content(path.with_suffix(".txt"))
    except (FileNotFoundError, RecordError):
        return False
