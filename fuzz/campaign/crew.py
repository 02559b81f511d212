"""The worker processes of a campaign: started, watched, started again, stopped."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fuzz.campaign.member import CrewError, Limits, Member
from fuzz.campaign.suspects import Suspects
from fuzz.directory.store import Store, WorkerStatus
from fuzz.guidance.coverage import Mode
from fuzz.oracle.contract import Reading
from fuzz.processes import SOURCE, last_line
from fuzz.search.orders import Engine, Orders

HASTY_DEATHS: Final = 3  # of each worker, of which none has ever spoken: none ever will
SEED_STRIDE: Final = 1000  # a worker that starts again does not repeat itself
POLL: Final = 0.02
ASLEEP: Final = 3.0  # seconds without a look at the workers: we were stopped, not they silent


@dataclass(frozen=True, slots=True)
class Duty:
    """What the crew has to do. ``epoch`` and ``until`` are times of CLOCK_MONOTONIC.

    ``cases`` are all workers' together; None for as many as time allows. ``split``: the kernels
    are dealt out to the workers, in place of all to each. ``tree``: the packages that workers run.
    """

    kernels: tuple[str, ...]
    reading: Reading
    engine: Engine
    coverage: Mode
    workers: int
    cases: int | None
    seed: int
    epoch: float
    until: float
    split: bool = False
    limits: Limits = field(default_factory=Limits)
    tree: Path = SOURCE


class Crew:
    """The workers of one run of a campaign."""

    def __init__(self, store: Store, duty: Duty) -> None:
        self.duty = duty
        self._store = store
        self._cases_before = {index: status.cases for index, status in store.statuses([]).items()}
        self._suspects = Suspects(
            store, duty.kernels, duty.reading, duty.limits.rss_mib, duty.tree
        )
        self._members = [self._member(index) for index in range(duty.workers)]
        self._looked_at = time.monotonic()

    @property
    def restarts(self) -> int:
        """How often a worker died and was started again."""
        return sum(max(member.starts - 1, 0) for member in self._members)

    @property
    def killed(self) -> int:
        """How often somebody else has ended a worker, and no input is to blame."""
        return self._suspects.cleared + sum(member.killed for member in self._members)

    @property
    def split_kernels(self) -> dict[int, tuple[str, ...]]:
        """Which kernels each worker has, where not all have all."""
        kernels, workers = self.duty.kernels, self.duty.workers
        indices = range(workers) if self.duty.split else ()
        return {index: kernels[index % len(kernels) :: workers] for index in indices}

    @property
    def waiting(self) -> int:
        """How many workers died so often that they are left alone for a while."""
        return sum(member.waits for member in self._members)

    def at_work(self) -> bool:
        """Whether there is work going on; starts what does not run, and kills what hangs."""
        now = time.monotonic()
        asleep = now - self._looked_at > ASLEEP
        self._looked_at = now
        if asleep:
            self._suspects.forgive(now)
        for member in self._members:
            if asleep:
                member.forgive(now)
            member.tend(now)
        self._suspects.tend(now)
        self._check_hope()
        return self._suspects.busy or any(not member.done for member in self._members)

    def stop(self, patience: float) -> None:
        """Asks every worker to come to its end, and kills those that do not in time."""
        self._suspects.stop()
        alive = [process for member in self._members if (process := member.alive) is not None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(process.poll() is None for process in alive):
            time.sleep(POLL)
        for process in alive:
            process.kill()
        for process in alive:
            # Longer is only one that a disk holds up.
            with suppress(subprocess.TimeoutExpired):
                process.wait(patience / 5)

    def statuses(self) -> dict[int, WorkerStatus]:
        """What the workers of this run, as far as they have spoken, last said."""
        spoken = ((member.index, member.status) for member in self._members)
        return {index: status for index, status in spoken if status is not None}

    def _check_hope(self) -> None:
        left = [member for member in self._members if not member.done]
        if left and all(each.short_lives >= HASTY_DEATHS and not each.spoken for each in left):
            log = self._store.log_file(left[0].index)
            raise CrewError(f"{last_line(log)} (worker {left[0].index}, see {log})")

    def _member(self, index: int) -> Member:
        return Member(
            index,
            self._store,
            self.duty.limits,
            self._suspects,
            lambda starts: self._orders(index, starts),
            self.duty.tree,
        )

    def _orders(self, index: int, starts: int) -> Orders | None:
        """What a worker has to do that was started so often before; None: nothing is left."""
        duty = self.duty
        runs = self._left(index)
        if runs == 0 or time.monotonic() >= duty.until:
            return None
        return Orders(
            campaign=self._store.root,
            index=index,
            # libFuzzer's 0 is for a random one.
            seed=(duty.seed + index + SEED_STRIDE * starts) % (1 << 32) or 1,
            epoch=duty.epoch,
            until=duty.until,
            runs=runs or 0,
            engine=duty.engine,
            coverage=duty.coverage,
            reading=duty.reading,
            parent=os.getpid(),
            kernels=self.split_kernels.get(index, duty.kernels),
            source=None if duty.tree == SOURCE else SOURCE,
        )

    def _left(self, index: int) -> int | None:
        """How many cases are left to a worker; None where time alone decides."""
        duty = self.duty
        if duty.cases is None:
            return None
        share = duty.cases // duty.workers + (index < duty.cases % duty.workers)
        status = self._store.status(index)
        done = status.cases - self._cases_before.get(index, 0) if status is not None else 0
        return max(share - done, 0)
