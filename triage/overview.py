"""How a campaign stands, as its directory says: running here or elsewhere, or ended."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, unique
from pathlib import Path

from fuzz.campaign.status import Snapshot, snapshot
from fuzz.directory.claim import Holder
from fuzz.directory.configuration import Configuration
from fuzz.directory.follower import Follower
from fuzz.directory.opening import open_store
from fuzz.directory.records import RecordError
from fuzz.directory.series import Sample
from fuzz.directory.store import LOCK, WORKERS, Store, StoreError, WorkerStatus
from fuzz.exhaustive.ledger import COVERAGE
from fuzz.oracle.asked import Asked
from fuzz.oracle.contract_coverage import Coverage
from triage.campaigns import campaign_path
from triage.ending import Status, UserError


@unique
class Condition(Enum):
    """Whether a campaign is going on. ``KILLED``: it is not, and did not come to its end."""

    RUNNING = "running"
    ENDED = "ended"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Overview:
    """A campaign at one moment. ``silent_s``: how long ago a worker last spoke.

    ``pid``: the process that is at work there, or was killed. ``workers`` are those of the latest
    run, each with its number. ``damaged``: the files that are left out, each with the reason.
    """

    directory: Path
    condition: Condition
    pid: int | None
    silent_s: float
    configuration: Configuration
    snapshot: Snapshot
    workers: tuple[tuple[int, WorkerStatus], ...]
    samples: tuple[Sample, ...]
    coverage: Coverage
    damaged: tuple[str, ...] = ()

    @property
    def latest(self) -> Sample | None:
        """The sample made last."""
        return self.samples[-1] if self.samples else None

    @property
    def quiet_s(self) -> float | None:
        """How long there was no new path; None where that is not known."""
        latest = self.latest
        return None if latest is None else max(self.snapshot.seconds - latest.last_new_s, 0.0)

    @property
    def unasked(self) -> tuple[str, ...]:
        """Clauses that were not put to the test, as far as the sample and the findings tell."""
        broken = {each.clause for each in self.snapshot.findings}
        return tuple(clause for clause in self.coverage.unasked if clause not in broken)


class Reader:
    """Reads one campaign's directory, as often as it is asked."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._follower = Follower(campaign_path(directory))

    def overview(self) -> Overview:
        """The campaign now. UserError where there is none, or none that can be read."""
        try:
            return _overview(open_store(campaign_path(self._directory)), self._follower)
        except StoreError as error:
            raise UserError(str(error)) from error
        except OSError as error:
            raise UserError(f"{error.filename or self._directory}: {error.strerror}") from error


def overview(directory: str) -> Overview:
    """The campaign in that directory, read once."""
    return Reader(directory).overview()


def _overview(store: Store, follower: Follower) -> Overview:
    configuration = store.configuration()
    if configuration.coverage == COVERAGE:
        told = "gff exhaust tells how it stands, gff triage list what it found"
        raise UserError(f"{store.root}: an exhaustive search, not a campaign; {told}")
    bad: list[RecordError] = []
    statuses, findings = store.statuses(bad), store.findings(bad)
    workers = {index: each for index, each in statuses.items() if index < configuration.workers}
    course, coverage = follower.samples(bad), _coverage(store, bad)
    holder = _holder(store, bad)
    shot = _at_least(
        course[-1:],
        snapshot(
            list(statuses.values()),
            findings,
            at_work=list(workers.values()),
            restarts=course[-1].restarts if course else 0,
            oddities=store.oddities(),
            waiting=course[-1].waiting if course and holder.alive else 0,
            killed=course[-1].killed if course else 0,
        ),
    )
    return Overview(
        directory=store.root,
        condition=_condition(holder),
        pid=holder.pid,
        silent_s=_silent_s(store),
        configuration=configuration,
        snapshot=shot,
        workers=tuple(sorted(workers.items())),
        samples=tuple(course),
        coverage=coverage,
        damaged=tuple(map(str, bad)),
    )


def _at_least(latest: Sequence[Sample], now: Snapshot) -> Snapshot:
    """What is said of a worker may be lost: no less than the latest sample knew."""
    for each in latest:
        cases, seconds = max(now.cases, each.cases), max(now.seconds, each.seconds)
        return replace(now, cases=cases, seconds=seconds)
    return now


def _holder(store: Store, bad: list[RecordError]) -> Holder:
    try:
        return store.holder()
    except OSError as error:
        bad.append(RecordError(store.root / LOCK, f"cannot be read: {error.strerror}"))
        return Holder(alive=False, pid=None)


def _silent_s(store: Store) -> float:
    """Since a worker's status was last written, by the clock that dates files."""
    times = [path.lstat().st_mtime for path in (store.root / WORKERS).glob("[0-9]*.json")]
    return max(time.time() - max(times), 0.0) if times else 0.0


def _coverage(store: Store, bad: list[RecordError]) -> Coverage:
    """What all workers put to the test."""
    asked = Asked()
    for each in store.coverages(bad):
        asked.add(each.tested)
    return asked.coverage()


def _condition(holder: Holder) -> Condition:
    if holder.alive:
        return Condition.RUNNING
    # Whoever comes to an end takes its id out of the lock.
    return Condition.ENDED if holder.pid is None else Condition.KILLED


def ending(now: Overview) -> Status:
    """How a command ends that has shown this: what is left out may be what one looked for."""
    if now.damaged:
        return Status.USAGE
    return Status.FINDINGS if now.snapshot.findings else Status.CLEAN


def rate(worker: WorkerStatus) -> float:
    """Cases a second of a worker's present process."""
    return worker.process_cases / worker.process_seconds if worker.process_seconds else 0.0
