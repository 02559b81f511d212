"""Campaign directories with a made-up past."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from fuzz.directory import durable
from fuzz.directory.finding import Finding
from fuzz.directory.series import STATISTICS, Sample, WorkerSample
from fuzz.directory.store import LOCK, WORKERS, Store, WorkerStatus
from fuzz.oracle.contract_coverage import Combination, Coverage
from tests.command import campaign

BEGIN: Final = datetime(2026, 1, 2, tzinfo=UTC)
PID: Final = 4711  # of a supervisor that was killed
RATE: Final = 1000  # cases a second of each worker


@dataclass(frozen=True, slots=True)
class Past:
    """What came of a campaign: its age, its last new path, whether it was killed, and troubles."""

    seconds: float = 3600.0
    last_new_s: float = 3590.0
    killed: bool = False
    spoke_s_ago: float = 0.0
    workers: int = 2
    restarts: int = 0
    waiting: int = 0
    differed: int = 0


def sample(past: Past, seconds: float) -> Sample:
    """The campaign at that age: a new path every minute until the last."""
    per = tuple(WorkerSample(i, int(seconds * RATE), RATE, 90 + i) for i in range(past.workers))
    arms = int(100 + 500 * seconds / past.seconds)
    return Sample(
        seconds=seconds,
        at=BEGIN + timedelta(seconds=seconds),
        cases=sum(each.cases for each in per),
        cases_per_second=RATE * past.workers,
        arms=arms,
        arms_known=700,
        corpus=arms * 2,
        findings=1,
        questions=0,
        harness_crashes=0,
        restarts=past.restarts,
        waiting=past.waiting,
        rss_mib=91,
        rerun=int(seconds),
        differed=past.differed,
        last_new_s=min(seconds // 60 * 60, past.last_new_s),
        workers=per,
    )


def worker(past: Past, index: int) -> WorkerStatus:
    """A worker as it last spoke."""
    cases = int(past.seconds * RATE)
    return WorkerStatus(
        pid=100 + index,
        cases=cases,
        seconds=past.seconds,
        process_cases=cases,
        process_seconds=past.seconds,
        arms=600 - index,
        arms_known=700,
        harness_crashes=0,
        mutator_incidents=0,
        rss_mib=90 + index,
        finished=not past.killed,
    )


def lived(root: Path, past: Past, *findings: Finding) -> Store:
    """A campaign directory with that past."""
    store = campaign(root, *findings)
    settings = msgspec.structs.replace(store.configuration(), workers=past.workers)
    store.configure(settings)
    steps = range(0, int(past.seconds) + 1, 5)
    lines = [msgspec.json.encode(sample(past, float(seconds))) + b"\n" for seconds in steps]
    durable.replace(root / STATISTICS, b"".join(lines))
    for index in range(past.workers):
        store.set_status(index, worker(past, index))
        store.set_coverage(index, Coverage(TESTED, (), ()))
        when = time.time() - past.spoke_s_ago
        os.utime(root / WORKERS / f"{index}.json", (when, when))
    (root / LOCK).write_text(f"{PID}\n" if past.killed else "")
    return store


@contextmanager
def running(root: Path, past: Past, *findings: Finding) -> Iterator[Store]:
    """A campaign with that past, at which this process is at work as long as this lasts."""
    store = lived(root, past, *findings)
    with store.claimed():
        yield store


TESTED: Final = (
    Combination("C1", "gmem_abort", "EFAULT", "guest_memfd", 7, ""),
    Combination("C2", "gmem_abort", "ENOMEM", "guest_memfd", 3, ""),
)
