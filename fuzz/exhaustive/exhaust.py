"""The supervisor of an exhaustive search: deals chunks out to processes, and writes down the done.

A chunk counts when its result is on the disk, and is dealt again where it is not: whoever is killed
loses at most the chunk in hand. Findings are stored by the processes, as soon as they are made.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fuzz.directory.configuration import FORMAT, Configuration, versions
from fuzz.directory.finding import Finding
from fuzz.directory.fingerprint import fingerprints
from fuzz.directory.opening import begin, place
from fuzz.directory.store import Store, StoreError
from fuzz.exhaustive.enumeration import Enumeration
from fuzz.exhaustive.examiners import Examiners
from fuzz.exhaustive.ledger import COVERAGE, Extent, Ledger, Plan, check, chunks
from fuzz.exhaustive.scope import LAYOUTS
from fuzz.halting import Flag, told_to_stop
from fuzz.oracle.contract import Reading

UPDATE: Final = 0.2  # seconds
PATIENCE: Final = 1.5  # seconds for the processes to come to an end; a clean stop takes at most 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``gff exhaust`` was asked for."""

    campaign: Path
    kernels: tuple[str, ...]
    reading: Reading
    steps: int
    workers: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a search is. ``seconds``: all runs of it together, as if with the present number of
    workers; ``rate``: cases a second of the present run, all workers together.
    """

    plan: Plan
    done: int
    crashes: int
    seconds: float
    rate: float
    workers: int
    restarts: int
    findings: tuple[Finding, ...]

    @property
    def finished(self) -> bool:
        """Whether every case of the scope was run."""
        return self.done == self.plan.cases


def extents(steps: int) -> tuple[Extent, ...]:
    """How many cases each layout has, exactly, without running any."""
    return tuple(Extent(layout.name, Enumeration(layout, steps).size) for layout in LAYOUTS)


def run_exhaust(settings: Settings, on_update: Callable[[Tally], None]) -> Tally:
    """Begins or goes on with a search until it is finished, or SIGINT, SIGTERM or SIGHUP comes.

    ``on_update`` is told a few times a second. Raises StoreError, or ExaminerError if the processes
    cannot do their work.
    """
    try:
        return _run(settings, on_update)
    except OSError as error:
        raise StoreError(f"{error.filename or settings.campaign}: {error.strerror}") from error


def _run(settings: Settings, on_update: Callable[[Tally], None]) -> Tally:
    plan = _plan(settings)
    check(settings.campaign, plan)
    store = place(settings.campaign)
    with store.claimed(), told_to_stop() as stop:
        check(settings.campaign, plan)  # now that nobody else can begin it
        begin(store, _configuration(settings))
        search = _Search(store, plan, settings.workers)
        if search.left:
            search.until_end(stop, on_update)
        return search.end()


class _Search:
    """One run: what was done before it, and what it adds."""

    def __init__(self, store: Store, plan: Plan, workers: int) -> None:
        self._store = store
        self._plan = plan
        self._workers = workers
        self._ledger = Ledger(store.root)
        self._ledger.begin(plan)
        self._results = self._ledger.results()
        done = {result.chunk for result in self._results}
        self.left = [chunk for chunk in chunks(plan) if chunk not in done]
        self._seconds_before = sum(result.seconds for result in self._results) / workers
        self._cases_before = sum(result.cases for result in self._results)
        self._started = time.monotonic()
        self._restarts = 0
        self._findings: tuple[Finding, ...] = ()
        self._findings_read_at = 0

    def until_end(self, stop: Flag, on_update: Callable[[Tally], None]) -> None:
        """Deals out all that is left."""
        epoch = self._started - self._seconds_before
        examiners = Examiners(self._store, self.left, min(self._workers, len(self.left)), epoch)
        next_update = 0.0
        try:
            examiners.start()
            while examiners.at_work() and not stop.raised:
                for result in examiners.results(UPDATE):
                    self._ledger.record(result)
                    self._results.append(result)
                self._restarts = examiners.restarts
                if time.monotonic() >= next_update:
                    on_update(self.tally())
                    next_update = time.monotonic() + UPDATE
        finally:
            examiners.stop(PATIENCE)

    def end(self) -> Tally:
        """Brings the findings' counts up to date; how it stands."""
        totals: Counter[str] = Counter()
        for result in self._results:
            totals.update(result.seen)
        for finding in self._store.findings():
            if totals[finding.name] != finding.count:
                self._store.count(finding.name, totals[finding.name] - finding.count)
        return self.tally()

    def tally(self) -> Tally:
        """How it stands."""
        changed_at = self._store.findings_changed_at()
        if changed_at != self._findings_read_at:
            self._findings = tuple(self._store.findings())
            self._findings_read_at = changed_at
        done = sum(result.cases for result in self._results)
        seconds = time.monotonic() - self._started
        return Tally(
            plan=self._plan,
            done=done,
            crashes=sum(result.crashes for result in self._results),
            seconds=self._seconds_before + (seconds if self.left else 0.0),
            rate=(done - self._cases_before) / seconds if seconds else 0.0,
            workers=self._workers,
            restarts=self._restarts,
            findings=self._findings,
        )


def _plan(settings: Settings) -> Plan:
    prints, steps = fingerprints(), settings.steps
    known = Ledger(settings.campaign).plan()
    # To count takes seconds, and the same scope comes to the same.
    same = known is not None and (known.steps, known.fingerprints.scope) == (steps, prints.scope)
    return Plan(
        kernels=settings.kernels,
        reading=settings.reading,
        steps=steps,
        extents=known.extents if known is not None and same else extents(steps),
        fingerprints=prints,
    )


def _configuration(settings: Settings) -> Configuration:
    return Configuration(
        format=FORMAT,
        created_at=datetime.now(UTC),
        kernels=settings.kernels,
        reading=settings.reading.value,
        coverage=COVERAGE,
        workers=settings.workers,
        seed=0,
        versions=versions(atheris=False),
    )
