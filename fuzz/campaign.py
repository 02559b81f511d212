"""The supervisor: starts the workers, keeps them going, and says how they are doing.

Workers share nothing but the campaign directory. One that dies is started again: what it found is
on disk already. All of them die with the supervisor, whatever it dies of.
"""

import importlib.metadata
import importlib.util
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fuzz.contract import Reading
from fuzz.coverage import Mode
from fuzz.crew import Crew, Duty
from fuzz.finding import Finding
from fuzz.halting import Flag, told_to_stop
from fuzz.status import Snapshot, Summary, snapshot
from fuzz.store import FORMAT, Configuration, Store, Versions, create_store

POLL: Final = 0.05  # seconds
UPDATE: Final = 0.2  # seconds
PATIENCE: Final = 1.5  # seconds for the workers to come to an end; a clean stop takes at most 2


class MissingEngineError(Exception):
    """The fuzzing engine is not installed; the text is one line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``gff fuzz`` was asked for. ``seconds`` and ``cases`` None: until it is told to stop."""

    campaign: Path
    kernels: tuple[str, ...]
    reading: Reading
    workers: int
    seconds: float | None
    cases: int | None
    coverage: Mode
    seed: int


def run_campaign(settings: Settings, on_update: Callable[[Snapshot], None]) -> Summary:
    """Runs or continues a campaign until its end; ``on_update`` is told a few times a second.

    The end is the limit of ``settings``, or SIGINT or SIGTERM if this is the main thread.
    Raises StoreError, MissingEngineError, or CrewError if the workers cannot do their work.
    """
    started = time.monotonic()
    if importlib.util.find_spec("atheris") is None:
        raise MissingEngineError("atheris is not installed: there is no wheel for this platform")
    store = create_store(settings.campaign, _configuration(settings))
    with store.claimed(), told_to_stop() as stop:
        watch = _Watch(store, Crew(store, _duty(settings, store, started)), settings.kernels)
        watch.until_end(stop, on_update)
    last = watch.snapshot()
    on_update(last)
    return Summary(settings.kernels, last)


class _Watch:
    """Looks after a crew, and knows what was found in the kernels that it is at."""

    def __init__(self, store: Store, crew: Crew, kernels: tuple[str, ...]) -> None:
        self._store = store
        self._kernels = kernels
        self._crew = crew
        self._findings: list[Finding] = []
        self._findings_read_at = 0

    def until_end(self, stop: Flag, on_update: Callable[[Snapshot], None]) -> None:
        """Returns when every worker is done, has been told to stop, or is late."""
        self._crew.start()
        next_update = 0.0
        try:
            while self._crew.at_work() and not stop.raised:
                now = time.monotonic()
                if now > self._crew.duty.until + PATIENCE:
                    break
                if now >= next_update:
                    on_update(self.snapshot())
                    next_update = now + UPDATE
                time.sleep(POLL)
        finally:
            self._crew.stop(PATIENCE)

    def snapshot(self) -> Snapshot:
        """The campaign now."""
        changed_at = self._store.findings_changed_at()
        if changed_at != self._findings_read_at:
            # A campaign that is continued may hold those of other kernels.
            found = self._store.findings()
            self._findings = [finding for finding in found if finding.kernel in self._kernels]
            self._findings_read_at = changed_at
        return snapshot(
            list(self._store.statuses().values()),
            self._findings,
            at_work=self._crew.statuses(),
            restarts=self._crew.restarts,
        )


def _duty(settings: Settings, store: Store, started: float) -> Duty:
    """What the workers have to do, with the age of a continued campaign taken into account."""
    age = max((status.seconds for status in store.statuses().values()), default=0.0)
    seconds = float("inf") if settings.seconds is None else settings.seconds
    return Duty(
        kernels=settings.kernels,
        reading=settings.reading,
        coverage=settings.coverage,
        workers=settings.workers,
        cases=settings.cases,
        seed=settings.seed,
        epoch=started - age,
        until=started + seconds,
    )


def _configuration(settings: Settings) -> Configuration:
    return Configuration(
        format=FORMAT,
        created_at=datetime.now(UTC),
        kernels=settings.kernels,
        reading=settings.reading.value,
        coverage=settings.coverage.value,
        workers=settings.workers,
        seed=settings.seed,
        versions=Versions(
            gff=_version("guest-fault-fuzzer"),
            python=platform.python_version(),
            unicorn=_version("unicorn"),
            atheris=_version("atheris"),
        ),
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
