"""What a campaign says of itself."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fuzz.campaign.recorder import Recorder
from fuzz.campaign.status import Snapshot, snapshot
from fuzz.directory.opening import create_store
from fuzz.directory.series import samples
from fuzz.directory.store import Oddities, WorkerStatus
from tests.test_store import configuration, finding
from triage.campaign_line import campaign_line

QUIET: Final = Snapshot(
    workers=2,
    cases=1_234_567,
    seconds=61.7,
    cases_per_second=12_345.6,
    arms=250,
    arms_known=300,
    restarts=0,
    harness_crashes=0,
    mutator_incidents=0,
    questions=0,
    findings=(),
)
NEW: Final = finding(after=0.4)

LINES: Final = [
    (
        QUIET,
        "62 s | 1,234,567 cases | 12,346/s a worker | 2 workers | 250 of 300 branches | 0 findings",
    ),
    # Without counters there are no branches to speak of.
    (
        replace(QUIET, arms=0, arms_known=0, workers=1),
        "62 s | 1,234,567 cases | 12,346/s a worker | 1 worker | 0 findings",
    ),
    # The newest finding is named.
    (
        replace(QUIET, arms_known=0, findings=(NEW,)),
        (
            "62 s | 1,234,567 cases | 12,346/s a worker | 2 workers | 1 finding"
            " | newest v7.3--C2-gmem_abort-natural after 0.4 s"
        ),
    ),
    # Trouble shows, and only then.
    (
        replace(QUIET, arms_known=0, restarts=1, harness_crashes=2, mutator_incidents=3),
        (
            "62 s | 1,234,567 cases | 12,346/s a worker | 2 workers | 0 findings"
            " | 1 restart of workers | gff itself crashed on 2 cases | 3 mutator incidents"
        ),
    ),
]


@pytest.mark.parametrize(("now", "words"), LINES)
def test_the_status_line_says_what_matters(now: Snapshot, words: str) -> None:
    assert campaign_line(now) == words


def status(*, cases: int, before: int, seconds: float) -> WorkerStatus:
    return WorkerStatus(
        pid=1,
        cases=before + cases,
        seconds=100.0 + seconds,
        process_cases=cases,
        process_seconds=seconds,
        arms=cases // 10,
        arms_known=300,
        harness_crashes=1,
        mutator_incidents=2,
        rss_mib=70,
        finished=False,
    )


def test_cases_are_of_all_runs_and_the_rate_is_of_this_one() -> None:
    idle = status(cases=999, before=0, seconds=1.0)
    at_work = [status(cases=1000 * n, before=50, seconds=1.0) for n in (1, 2, 4)]
    now = snapshot([idle, *at_work], [NEW], at_work=at_work, restarts=5, oddities=Oddities(3, 1, 2))
    assert now == Snapshot(
        workers=3,
        cases=999 + 7150,
        seconds=101.0,
        cases_per_second=2000.0,
        arms=400,
        arms_known=300,
        restarts=5,
        harness_crashes=4,
        mutator_incidents=8,
        questions=3,
        findings=(NEW,),
        denied=2,
    )


def test_what_is_kept_tells_of_crashes_where_a_workers_word_is_lost() -> None:
    assert (
        snapshot([], [], at_work=[], restarts=0, oddities=Oddities(crashes=2)).harness_crashes == 2
    )


def test_a_sample_has_what_the_campaign_says_of_itself(tmp_path: Path) -> None:
    store = create_store(tmp_path / "c", configuration())
    now = replace(QUIET, restarts=3, killed=1, waiting=2, harness_crashes=4, questions=5)
    Recorder(store, {}).record(now, {})
    (sample,) = samples(store.root)
    assert (sample.restarts, sample.killed, sample.waiting) == (3, 1, 2)
    assert (sample.harness_crashes, sample.questions, sample.cases) == (4, 5, QUIET.cases)


def test_a_campaign_of_which_nothing_is_known_yet_is_all_zeros() -> None:
    now = snapshot([], [], at_work=[], restarts=0)
    assert (now.cases, now.seconds, now.cases_per_second, now.newest) == (0, 0.0, 0.0, None)
