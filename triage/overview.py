"""How a campaign stands, as its directory says: running here or elsewhere, or ended."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Final

from fuzz.campaign.status import Snapshot, snapshot
from fuzz.directory.follower import Follower
from fuzz.directory.series import Sample
from fuzz.directory.store import (
    FINDINGS,
    WORKERS,
    Configuration,
    Store,
    StoreError,
    WorkerStatus,
    open_store,
)
from fuzz.exhaustive.ledger import COVERAGE
from fuzz.oracle.asked import Asked
from fuzz.oracle.contract_coverage import Coverage
from triage.campaigns import campaign_path
from triage.ending import UserError

SILENT_AFTER: Final = 30.0  # seconds; a worker speaks twice in one, but not while it shrinks


@unique
class Condition(Enum):
    """Whether a campaign is going on. ``SILENT``: it did not end, but nobody speaks any more."""

    RUNNING = "running"
    ENDED = "ended"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Overview:
    """A campaign at one moment. ``silent_s``: how long ago a worker last spoke.

    ``workers`` are those of the latest run, each with its number.
    """

    directory: Path
    condition: Condition
    silent_s: float
    configuration: Configuration
    snapshot: Snapshot
    workers: tuple[tuple[int, WorkerStatus], ...]
    samples: tuple[Sample, ...]
    coverage: Coverage

    @property
    def latest(self) -> Sample | None:
        """The sample made last."""
        return self.samples[-1] if self.samples else None

    @property
    def harness_crashes(self) -> int:
        """How often we went wrong, in all runs; a sample comes later than the workers' word."""
        latest = self.latest.harness_crashes if self.latest else 0
        return max(latest, self.snapshot.harness_crashes)

    @property
    def questions(self) -> int:
        """How many questions are kept."""
        latest = self.latest.questions if self.latest else 0
        return max(latest, self.snapshot.questions)

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
    configuration, statuses = store.configuration(), store.statuses()
    if configuration.coverage == COVERAGE:
        told = "gff exhaust tells how it stands, gff triage list what it found"
        raise UserError(f"{store.root}: an exhaustive search, not a campaign; {told}")
    # A search for files takes a folder that it cannot read for one without any.
    with os.scandir(store.root / FINDINGS):
        findings = store.findings()
    workers = {index: each for index, each in statuses.items() if index < configuration.workers}
    course = follower.samples()
    silent_s = _silent_s(store)
    return Overview(
        directory=store.root,
        condition=_condition(workers.values(), silent_s),
        silent_s=silent_s,
        configuration=configuration,
        snapshot=snapshot(
            list(statuses.values()),
            findings,
            at_work=list(workers.values()),
            restarts=course[-1].restarts if course else 0,
        ),
        workers=tuple(sorted(workers.items())),
        samples=tuple(course),
        coverage=_coverage(store),
    )


def _silent_s(store: Store) -> float:
    """Since a worker's status was last written, by the clock that dates files."""
    times = [path.stat().st_mtime for path in (store.root / WORKERS).glob("[0-9]*.json")]
    return max(time.time() - max(times), 0.0) if times else 0.0


def _coverage(store: Store) -> Coverage:
    """What all workers put to the test."""
    asked = Asked()
    for each in store.coverages():
        asked.add(each.tested)
    return asked.coverage()


def _condition(workers: Iterable[WorkerStatus], silent_s: float) -> Condition:
    if all(worker.finished for worker in workers):
        return Condition.ENDED
    return Condition.SILENT if silent_s > SILENT_AFTER else Condition.RUNNING


def rate(worker: WorkerStatus) -> float:
    """Cases a second of a worker's present process."""
    return worker.process_cases / worker.process_seconds if worker.process_seconds else 0.0
