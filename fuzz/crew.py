"""The worker processes of a campaign: started, watched, started again, stopped."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from fuzz.contract import Reading
from fuzz.coverage import Mode
from fuzz.processes import environment, last_line
from fuzz.store import Store, WorkerStatus

HASTY_DEATHS: Final = 3  # of one worker, in a row, each before its first status: it never will work
RETRYING_IS_NO_USE: Final = (2, 3)  # exit statuses of fuzz.worker
SEED_STRIDE: Final = 1000  # a worker that starts again does not repeat itself
POLL: Final = 0.02


class CrewError(Exception):
    """The workers cannot work; the text is one line, the last that a worker printed."""


@dataclass(frozen=True, slots=True)
class Duty:
    """What the crew has to do. ``epoch`` and ``until`` are times of CLOCK_MONOTONIC.

    ``cases`` are all workers' together; None for as many as time allows.
    """

    kernels: tuple[str, ...]
    reading: Reading
    coverage: Mode
    workers: int
    cases: int | None
    seed: int
    epoch: float
    until: float


@dataclass(slots=True)
class _Member:
    """One worker: its number, its share of the cases, and the process it is at present."""

    index: int
    cases_before: int
    share: int | None
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    hasty_deaths: int = 0
    done: bool = False


class Crew:
    """The workers of one run of a campaign."""

    def __init__(self, store: Store, duty: Duty) -> None:
        self.duty = duty
        self._store = store
        earlier = store.statuses()
        self._members = [
            _Member(index, earlier[index].cases if index in earlier else 0, _share(duty, index))
            for index in range(duty.workers)
        ]

    @property
    def restarts(self) -> int:
        """How often a worker died and was started again."""
        return sum(max(member.starts - 1, 0) for member in self._members)

    def start(self) -> None:
        """Starts every worker that has anything to do."""
        for member in self._members:
            member.done = member.share == 0
            if not member.done:
                self._launch(member)

    def at_work(self) -> bool:
        """Whether there is work going on; starts again what has died."""
        for member in self._members:
            if member.process is not None and member.process.poll() is not None:
                self._bury(member, member.process)
        return any(not member.done for member in self._members)

    def stop(self, patience: float) -> None:
        """Asks every worker to come to its end, and kills those that do not in time."""
        alive = [m.process for m in self._members if m.process and m.process.poll() is None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(process.poll() is None for process in alive):
            time.sleep(POLL)
        for process in alive:
            process.kill()
            process.wait()

    def statuses(self) -> list[WorkerStatus]:
        """What the workers of this run, as far as they have spoken, last said."""
        spoken = (self._status(member) for member in self._members)
        return [status for status in spoken if status is not None]

    def _bury(self, member: _Member, process: subprocess.Popen[bytes]) -> None:
        """A worker has ended: done, or to be started again, or hopeless."""
        status = self._status(member)
        if process.returncode == 0:
            member.done = True
            member.process = process
            return
        member.hasty_deaths = 0 if status is not None else member.hasty_deaths + 1
        if process.returncode in RETRYING_IS_NO_USE or member.hasty_deaths == HASTY_DEATHS:
            log = self._store.log_file(member.index)
            raise CrewError(f"{last_line(log)} (worker {member.index}, see {log})")
        self._launch(member)

    def _status(self, member: _Member) -> WorkerStatus | None:
        """What the member's present process said, if it has."""
        status = self._store.status(member.index)
        if status is None or member.process is None or status.pid != member.process.pid:
            return None
        return status

    def _launch(self, member: _Member) -> None:
        runs = 0
        if member.share is not None:
            status = self._store.status(member.index)
            done = status.cases - member.cases_before if status is not None else 0
            runs = member.share - done
            if runs <= 0:
                member.done = True
                return
        arguments = self._arguments(member, runs)
        with self._store.log_file(member.index).open("ab") as log:
            member.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                # A terminal's ctrl-C is for the supervisor, who passes it on.
                start_new_session=True,
            )
        member.starts += 1

    def _arguments(self, member: _Member, runs: int) -> list[str]:
        duty = self.duty
        seed = duty.seed + member.index + SEED_STRIDE * member.starts
        return [
            *(sys.executable, "-P", "-m", "fuzz.worker"),
            *("--campaign", str(self._store.root)),
            *("--index", str(member.index)),
            *("--seed", str(seed % (1 << 32) or 1)),  # libFuzzer's 0 is for a random one
            *("--epoch", repr(duty.epoch)),
            *("--until", repr(duty.until)),
            *("--runs", str(runs)),
            *("--coverage", duty.coverage.value),
            *("--reading", duty.reading.value),
            *("--parent", str(os.getpid())),
            *(word for kernel in duty.kernels for word in ("--kernel", kernel)),
        ]


def _share(duty: Duty, index: int) -> int | None:
    if duty.cases is None:
        return None
    return duty.cases // duty.workers + (index < duty.cases % duty.workers)
