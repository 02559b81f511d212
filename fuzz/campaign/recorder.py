"""Writes down the course of a campaign: makes its samples from what the workers say."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fuzz.campaign.status import Snapshot
from fuzz.directory.series import EVERY, Sample, Series, WorkerSample, samples
from fuzz.directory.store import Store, WorkerStatus

SOON: Final = 1.0  # seconds; of a short run, more than its end is wanted


class Recorder:
    """One run's. ``kernels``: those of each worker, where not all have all."""

    def __init__(self, store: Store, kernels: Mapping[int, tuple[str, ...]]) -> None:
        self._store = store
        self._kernels = dict(kernels)
        self._series = Series(store.root)
        earlier = samples(store.root, [])
        self._restarts_before = earlier[-1].restarts if earlier else 0
        self._killed_before = earlier[-1].killed if earlier else 0
        self._last_new = earlier[-1].last_new_s if earlier else 0.0
        self._paths = _Paths(store)
        self._earlier: dict[int, WorkerStatus] = {}
        self._next = time.monotonic() + SOON

    def due(self) -> bool:
        """Whether it is time for a sample."""
        return time.monotonic() >= self._next

    def record(self, now: Snapshot, statuses: Mapping[int, WorkerStatus]) -> None:
        """Adds a sample. ``statuses``: of the workers that are at work."""
        self._next = time.monotonic() + EVERY
        if self._paths.look():
            self._last_new = now.seconds
        everybody = self._store.statuses([]).values()
        workers = tuple(self._worker(index, status) for index, status in statuses.items())
        self._earlier = dict(statuses)
        self._series.add(
            Sample(
                seconds=now.seconds,
                at=datetime.now(UTC),
                cases=now.cases,
                cases_per_second=round(sum(worker.cases_per_second for worker in workers), 1),
                arms=now.arms,
                arms_known=now.arms_known,
                corpus=self._paths.count,
                findings=len(now.findings),
                questions=now.questions,
                harness_crashes=now.harness_crashes,
                restarts=self._restarts_before + now.restarts,
                killed=self._killed_before + now.killed,
                waiting=now.waiting,
                rss_mib=max((worker.rss_mib for worker in workers), default=0),
                rerun=sum(status.rerun for status in everybody),
                differed=sum(status.differed for status in everybody),
                last_new_s=self._last_new,
                workers=workers,
            )
        )

    def _worker(self, index: int, status: WorkerStatus) -> WorkerSample:
        rate = round(_rate(self._earlier.get(index), status), 1)
        kernels = self._kernels.get(index, ())
        return WorkerSample(index, status.cases, rate, status.rss_mib, kernels)


class _Paths:
    """How many different inputs the shards hold."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen_at: dict[Path, int] = {}
        self._names: dict[Path, set[str]] = {}
        self.count = 0
        self.look()

    def look(self) -> bool:
        """Whether there are more than at the last look."""
        changed = False
        for shard in self._store.shards():
            changed_at = shard.stat().st_mtime_ns
            if self._seen_at.get(shard) != changed_at:
                self._seen_at[shard] = changed_at
                self._names[shard] = {path.name for path in shard.iterdir()}
                changed = True
        if changed:
            before, self.count = self.count, len(set().union(*self._names.values()))
            return self.count > before
        return False


def _rate(before: WorkerStatus | None, now: WorkerStatus) -> float:
    """Cases a second since ``before``, or since the process began where that was another's."""
    cases, seconds = now.process_cases, now.process_seconds
    if before is not None and before.pid == now.pid:
        cases, seconds = cases - before.process_cases, seconds - before.process_seconds
    return cases / seconds if seconds > 0 else 0.0
