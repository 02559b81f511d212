"""kill -9 of a random process of a running campaign, the supervisor included, at random instants.

    python -m tests.kill_storm [KILLS] [WORKERS] [SEED]

Afterwards the campaign goes on, with every finding ever shown, once, and every input whole.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from fuzz.directory.finding import Finding
from fuzz.directory.series import samples
from fuzz.directory.shards import survey
from fuzz.directory.store import Store

CHECKOUT: Final = Path(__file__).parent.parent
PATIENCE: Final = 60.0  # seconds for what takes one or two
BACK: Final = 10.0  # seconds after a resume in which the throughput has to be back
SUPERVISOR: Final = """
import sys
from pathlib import Path
from fuzz.campaign.supervisor import Settings, run_campaign
from fuzz.oracle.contract import Reading
from fuzz.guidance.coverage import Mode
run_campaign(
    Settings(
        Path(sys.argv[1]), ("v7.3",), Reading.STRICT, int(sys.argv[2]), None, None, Mode.COUNTERS, 1
    ),
    lambda _: None,
)
"""


class StormError(AssertionError):
    """Something was lost, torn or there twice."""


@dataclass(slots=True)
class Storm:
    """A campaign that is being shot at."""

    store: Store
    workers: int
    rng: Random
    shown: dict[str, Finding] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=lambda: {"supervisor": 0, "worker": 0})
    supervisor: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the campaign, or goes on with it; all workers are at work when this returns."""
        begun = time.monotonic()
        words = [sys.executable, "-c", SUPERVISOR, str(self.store.root), str(self.workers)]
        self.supervisor = subprocess.Popen(words, cwd=CHECKOUT)
        while len(self.at_work()) < self.workers:
            _check(time.monotonic() < begun + PATIENCE, "the workers do not come to work")
            time.sleep(0.02)

    def shoot(self, longest: float) -> None:
        """Kills one process after at most so many seconds; goes on if that was the supervisor."""
        time.sleep(self.rng.uniform(0, longest))
        self.look()
        supervisor = self._running()
        pids = [supervisor.pid, *_children(supervisor.pid)]
        pid = self.rng.choice(pids)
        self.killed["supervisor" if pid == supervisor.pid else "worker"] += 1
        with suppress(ProcessLookupError):  # a worker that has just been replaced
            os.kill(pid, signal.SIGKILL)
        if pid == supervisor.pid:
            supervisor.wait()
            _wait_for_the_end_of(pids)
            self.look()
            self.start()

    def look(self) -> None:
        """Compares the findings with those that were ever shown."""
        found = {finding.name: finding for finding in self.store.findings()}
        for name, before in self.shown.items():
            _check(name in found, f"{name} is lost")
            now = found[name]
            _check(now.count >= before.count, f"{name} was counted down")
            _check(now.size <= before.size, f"{name} has grown")
            _check(now.found_at <= before.found_at, f"{name} was found again")
        self.shown = found

    def stop(self) -> None:
        """Ends the campaign as ctrl-C does."""
        supervisor = self._running()
        supervisor.send_signal(signal.SIGINT)
        _check(supervisor.wait(PATIENCE) == 0, "the supervisor did not end well")

    def check(self) -> None:
        """What has to hold of a campaign that was resumed and has ended."""
        self.look()
        found = survey(self.store.corpus, lambda _: None, aside=True)
        _check(len(found.entries) > 0, "the corpus is empty")
        _check(not found.skipped, f"no inputs: {found.skipped}")
        course = samples(self.store.root)
        ages = [sample.seconds for sample in course]
        _check(ages == sorted(ages), "the age goes back")
        cases = [sample.cases for sample in course]
        _check(cases == sorted(cases), "the number of cases goes back")

    def at_work(self) -> list[int]:
        """The workers of the present run that have spoken."""
        children = _children(self._running().pid)
        return [it.pid for it in self.store.statuses([]).values() if it.pid in children]

    def cases(self) -> int:
        """How many cases were run so far."""
        return sum(status.cases for status in self.store.statuses([]).values())

    def rate(self, seconds: float) -> float:
        """Cases a second over the next seconds."""
        before, started = self.cases(), time.monotonic()
        time.sleep(seconds)
        return (self.cases() - before) / (time.monotonic() - started)

    def _running(self) -> subprocess.Popen[bytes]:
        supervisor = self.supervisor
        if supervisor is None or supervisor.poll() is not None:
            raise StormError("the supervisor has ended by itself")
        return supervisor


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StormError(otherwise)


def _children(pid: int) -> list[int]:
    try:
        return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{pid}").exists() and not _is_zombie(pid) for pid in pids):
        _check(time.monotonic() < deadline, "a worker lives on")
        time.sleep(0.01)


def _is_zombie(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    return True


def main() -> None:
    """The long form."""
    numbers = [int(word) for word in sys.argv[1:]]
    kills, workers, seed = [*numbers, *(200, 4, 1)[len(numbers) :]]
    root = Path(tempfile.mkdtemp(prefix="gff-storm-"))
    storm = Storm(Store(root / "c"), workers, Random(seed))  # noqa: S311 - nothing here is secret
    storm.start()
    time.sleep(10)
    for number in range(kills):
        storm.shoot(1.5)
        if number % 20 == 19:
            sys.stdout.write(f"{number + 1} kills: {storm.killed}, {len(storm.shown)} findings\n")
            sys.stdout.flush()
    storm.stop()
    resumed = time.monotonic()
    storm.start()
    time.sleep(max(BACK / 2 - (time.monotonic() - resumed), 0))
    early = storm.rate(BACK / 2)
    time.sleep(BACK)
    later = storm.rate(BACK)
    storm.stop()
    storm.check()
    sys.stdout.write(
        f"{len(storm.shown)} findings, none lost; {storm.cases():,} cases; "
        f"{early:,.0f} cases a second 5 to 10 s after the resume, {later:,.0f} after 20 s\n"
    )
    _check(early > 0.7 * later, "the throughput is not back")
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
