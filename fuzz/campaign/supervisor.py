"""The supervisor: starts the workers, keeps them going, and says how they are doing.

Workers share nothing but the campaign directory. One that dies is started again: what it found is
on disk already. All of them die with the supervisor, whatever it dies of.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from fuzz.campaign.crew import Crew, Duty
from fuzz.campaign.hook import Hook
from fuzz.campaign.member import Limits
from fuzz.campaign.recorder import Recorder
from fuzz.campaign.resume import Resume
from fuzz.campaign.status import Snapshot, Summary, snapshot
from fuzz.directory.configuration import FORMAT, Configuration, versions
from fuzz.directory.finding import Finding
from fuzz.directory.fingerprint import fingerprints
from fuzz.directory.mending import mended
from fuzz.directory.opening import begin, place
from fuzz.directory.store import Store, StoreError
from fuzz.exhaustive.ledger import COVERAGE, PLAN
from fuzz.guidance.coverage import Mode
from fuzz.halting import Flag, told_to_stop
from fuzz.oracle.contract import Reading
from fuzz.processes import SOURCE
from fuzz.search.orders import Engine

POLL: Final = 0.05  # seconds
UPDATE: Final = 0.2  # seconds
PATIENCE: Final = 1.2  # seconds for the workers to come to an end; a clean stop takes at most 2


class MissingEngineError(Exception):
    """The fuzzing engine is not installed; the text is one line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``gff fuzz`` was asked for. ``seconds`` and ``cases`` None: until it is told to stop.

    ``split``: the kernels are dealt out to the workers, in place of all to each. ``on_finding``: a
    command that is run for each new finding. ``tree``: the packages that workers run, those here
    or a build of them.
    """

    campaign: Path
    kernels: tuple[str, ...]
    reading: Reading
    workers: int
    seconds: float | None
    cases: int | None
    coverage: Mode
    seed: int
    engine: Engine = Engine.ATHERIS
    split: bool = False
    limits: Limits = field(default_factory=Limits)
    on_finding: tuple[str, ...] = ()
    tree: Path = SOURCE


def run_campaign(
    settings: Settings,
    on_update: Callable[[Snapshot], None],
    on_note: Callable[[str], None] = lambda _: None,
    on_start: Callable[[], None] = lambda: None,
) -> Summary:
    """Runs or continues a campaign until its end; ``on_update`` is told a few times a second.

    ``on_note`` is told, a line at a time, what is done with an earlier run's corpus and findings,
    and what went wrong with the command of ``settings.on_finding``;
    ``on_start`` is called before, when the directory can be written and nobody else is at it.
    The end is the limit of ``settings``, or SIGINT, SIGTERM or SIGHUP in the main thread.
    Raises StoreError, MissingEngineError, or CrewError if the workers cannot do their work.
    """
    if settings.engine is Engine.ATHERIS and importlib.util.find_spec("atheris") is None:
        raise MissingEngineError("atheris is not installed: there is no wheel for this platform")
    try:
        return _run(settings, on_update, on_note, on_start)
    except BrokenPipeError:  # whoever is told has no ear any more; the directory is all right
        raise
    except OSError as error:
        raise StoreError(f"{error.filename or settings.campaign}: {error.strerror}") from error


def _run(
    settings: Settings,
    on_update: Callable[[Snapshot], None],
    on_note: Callable[[str], None],
    on_start: Callable[[], None],
) -> Summary:
    configuration = _configuration(settings)
    store = place(settings.campaign)
    _refuse_exhaust(store)
    with store.claimed(), told_to_stop() as stop:
        _refuse_exhaust(store)  # now that nobody else can begin it
        before = store.configuration() if store.is_begun() else None
        changed = before is not None and _changed(before, configuration)
        # Killed before all is judged again, it is left to the next run.
        begin(store, replace(configuration, code=None) if changed else configuration)
        on_start()
        for line in mended(store):
            on_note(line)
        if before is not None:
            done = _resume(before, configuration, Resume(store, settings.kernels, on_note, stop))
            if changed and done:
                store.configure(replace(store.configuration(), code=configuration.code))
        # What a campaign was made ready for takes no time of its own.
        started = time.monotonic()
        crew = Crew(store, _duty(settings, store, started))
        watch = _Watch(store, crew, settings.kernels, Hook(settings.on_finding, store, on_note))
        watch.until_end(stop, on_update)
        last = watch.end(stop)
    on_update(last)
    return Summary(settings.kernels, last, stop.raised, settings.tree != SOURCE)


def _refuse_exhaust(store: Store) -> None:
    searched = store.is_begun() and store.configuration().coverage == COVERAGE
    # The plan is there where the configuration is lost.
    if searched or (store.root / PLAN).exists():
        raise StoreError(f"{store.root}: an exhaustive search, not a campaign of random cases")


def _changed(before: Configuration, now: Configuration) -> bool:
    """Whether what is known may be otherwise now."""
    return (before.kernels, before.code, before.versions.gff) != (
        now.kernels,
        now.code,
        now.versions.gff,
    )


def _resume(before: Configuration, now: Configuration, resume: Resume) -> bool:
    """Whether all was done. ``before``: how the campaign was run the last time."""
    judged = True
    if before.code is None or now.code is None or before.code.model != now.code.model:
        resume.forget_arms()
    if (before.code, before.versions.gff) != (now.code, now.versions.gff):
        judged = resume.judge_again()
    tidy = resume.tidy_corpus(anew=(before.kernels, before.code) != (now.kernels, now.code))
    return judged and tidy


class _Watch:
    """Looks after a crew, and knows what was found in the kernels that it is at."""

    def __init__(self, store: Store, crew: Crew, kernels: tuple[str, ...], hook: Hook) -> None:
        self._store = store
        self._crew = crew
        self._kernels = kernels
        self._hook = hook
        self._recorder = Recorder(store, crew.split_kernels)
        self._findings: list[Finding] = []
        self._findings_read_at = 0

    def until_end(self, stop: Flag, on_update: Callable[[Snapshot], None]) -> None:
        """Returns when every worker is done, has been told to stop, or is late."""
        next_update = 0.0
        try:
            while not stop.raised and self._crew.at_work():
                now = time.monotonic()
                if now > self._crew.duty.until + PATIENCE:
                    break
                if now >= next_update:
                    self._update(on_update)
                    next_update = now + UPDATE
                self._hook.tend(now)
                time.sleep(POLL)
        except BaseException:
            self._hook.end(Flag(raised=True))  # nobody looks after it any more
            raise
        finally:
            self._crew.stop(PATIENCE)

    def end(self, stop: Flag) -> Snapshot:
        """The campaign when its workers are gone."""
        self._findings_read_at = 0  # their last counts are not in there
        last = self.snapshot()
        self._recorder.record(last, self._crew.statuses())
        self._hook.end(stop)
        return last

    def _update(self, on_update: Callable[[Snapshot], None]) -> None:
        now = self.snapshot()
        if self._recorder.due():
            self._recorder.record(now, self._crew.statuses())
        on_update(now)

    def snapshot(self) -> Snapshot:
        """The campaign now."""
        changed_at = self._store.findings_changed_at()
        if changed_at != self._findings_read_at:
            # A campaign that is continued may hold those of other kernels.
            found = self._store.findings([])
            self._findings = [finding for finding in found if finding.kernel in self._kernels]
            self._findings_read_at = changed_at
            self._hook.news(self._findings)
        return snapshot(
            list(self._store.statuses([]).values()),
            self._findings,
            at_work=list(self._crew.statuses().values()),
            restarts=self._crew.restarts,
            oddities=self._store.oddities(),
            waiting=self._crew.waiting,
            killed=self._crew.killed,
        )


def _duty(settings: Settings, store: Store, started: float) -> Duty:
    """What the workers have to do, with the age of a continued campaign taken into account."""
    age = max((status.seconds for status in store.statuses([]).values()), default=0.0)
    seconds = float("inf") if settings.seconds is None else settings.seconds
    return Duty(
        kernels=settings.kernels,
        reading=settings.reading,
        engine=settings.engine,
        coverage=settings.coverage,
        workers=settings.workers,
        cases=settings.cases,
        seed=settings.seed,
        epoch=started - age,
        until=started + seconds,
        split=settings.split,
        limits=settings.limits,
        tree=settings.tree,
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
        versions=versions(atheris=True),
        engine=settings.engine.value,
        split=settings.split,
        code=fingerprints(),
        compiled=settings.tree != SOURCE,
    )
