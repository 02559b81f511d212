"""A campaign finds what is there, keeps it, stops when told, and outlives its workers."""

import importlib.util
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import pytest

from fuzz.campaign import resume
from fuzz.campaign.member import CrewError, Limits, Member
from fuzz.campaign.rejudging import RejudgingError
from fuzz.campaign.status import Snapshot, SummaryLine, as_json
from fuzz.campaign.supervisor import Settings, run_campaign
from fuzz.campaign.suspects import Suspects
from fuzz.directory.opening import create_store, open_store
from fuzz.directory.store import Store, StoreError
from fuzz.guidance.coverage import Mode
from fuzz.halting import Flag
from fuzz.oracle.contract import Reading
from fuzz.search.atheris_engine import arguments
from tests.test_store import configuration, finding
from tests.test_target import orders
from triage.campaign_line import campaign_line

CHECKOUT: Final = Path(__file__).parent.parent
LEAK: Final = "v7.3--C2-gmem_abort-natural"
needs_atheris: Final = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="no wheel for this platform"
)


# A CAMPAIGN


def settings(campaign: Path) -> Settings:
    return Settings(
        campaign=campaign,
        kernels=("v7.3",),
        reading=Reading.STRICT,
        workers=1,
        seconds=None,
        cases=2000,
        coverage=Mode.COUNTERS,
        seed=1,
    )


def ignore(_now: Snapshot) -> None:
    pass


@needs_atheris
def test_the_leak_is_found_and_the_number_of_cases_is_exact(tmp_path: Path) -> None:
    updates: list[Snapshot] = []
    summary = run_campaign(replace(settings(tmp_path / "c"), cases=4000), updates.append)
    assert summary.snapshot.cases == 4000
    leak = next(finding for finding in summary.snapshot.findings if finding.name == LEAK)
    assert leak.size.steps == 5
    assert updates[-1] == summary.snapshot
    assert leak.count > 10  # of the cases after the one that found it, too
    assert LEAK in campaign_line(summary.snapshot) or len(summary.snapshot.findings) > 1
    assert open_store(tmp_path / "c").findings() == list(summary.snapshot.findings)


@needs_atheris
def test_the_last_line_is_one_object_with_what_was_promised(tmp_path: Path) -> None:
    last = as_json(run_campaign(replace(settings(tmp_path / "c"), cases=4000), ignore))
    assert "\n" not in last
    told = msgspec.json.decode(last, type=SummaryLine)
    assert (told.cases, told.workers, told.kernels) == (4000, 1, ("v7.3",))
    assert told.cases_per_second > 100
    leak = next(each for each in told.findings if f"{each.kernel}--{each.signature}" == LEAK)
    assert (leak.clause, leak.errno, leak.observed) == ("C2", "ENOMEM", False)
    assert json.loads(last)["findings"][0].keys() == {
        "signature",
        "clause",
        "kernel",
        "errno",
        "exit_reason",
        "natural",
        "observed",
        "found_after_s",
        "case",
    }


@needs_atheris
def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = run_campaign(replace(settings(tmp_path / "c"), cases=4000), ignore)
    second = run_campaign(replace(settings(tmp_path / "c"), cases=500, seed=2), ignore)
    assert second.snapshot.cases == 4500
    assert second.snapshot.seconds > first.snapshot.seconds
    before, after = (
        {finding.name: finding for finding in summary.snapshot.findings}
        for summary in (first, second)
    )
    assert after[LEAK].found_after_s == before[LEAK].found_after_s
    assert after[LEAK].count >= before[LEAK].count


@needs_atheris
def test_the_questions_of_a_campaign_are_those_in_its_directory(tmp_path: Path) -> None:
    known = create_store(tmp_path / "c", configuration())
    for name in ("one", "other"):
        known.record_question(name, "a case")
    last = run_campaign(replace(settings(tmp_path / "c"), cases=10), ignore)
    assert last.snapshot.questions == 2
    assert json.loads(as_json(last))["questions"] == 2


@needs_atheris
def test_branches_do_not_become_fewer_when_a_campaign_goes_on(tmp_path: Path) -> None:
    first = run_campaign(replace(settings(tmp_path / "c"), cases=4000), ignore)
    # What the inputs of the corpus reach is counted anew, and nothing more is run.
    worker = open_store(tmp_path / "c").root / "workers" / "0.json"
    worker.unlink()
    again = run_campaign(replace(settings(tmp_path / "c"), cases=1, seed=2), ignore)
    assert again.snapshot.arms >= first.snapshot.arms
    # Without the corpus, the worker's last word tells.
    shutil.rmtree(tmp_path / "c" / "corpus" / "0")
    third = run_campaign(replace(settings(tmp_path / "c"), cases=1, seed=3), ignore)
    assert third.snapshot.arms >= again.snapshot.arms


@needs_atheris
def test_branches_of_another_model_are_forgotten(tmp_path: Path) -> None:
    run_campaign(replace(settings(tmp_path / "c"), cases=10), ignore)
    known = open_store(tmp_path / "c")
    last = known.status(0)
    before = known.configuration()
    assert last is not None
    assert before.code is not None
    known.set_status(0, msgspec.structs.replace(last, arms=9998, arms_known=9999))
    same = run_campaign(replace(settings(tmp_path / "c"), cases=10), ignore).snapshot
    assert (same.arms, same.arms_known) == (9998, 9999)
    code = msgspec.structs.replace(before.code, model="another")
    known.configure(msgspec.structs.replace(before, code=code))
    other = run_campaign(replace(settings(tmp_path / "c"), cases=10), ignore).snapshot
    assert 0 < other.arms <= last.arms_known == other.arms_known


def _stopped(_store: Store, _stop: Flag) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _killed(_store: Store, _stop: Flag) -> None:
    raise SystemExit


def _in_vain(_store: Store, _stop: Flag) -> None:
    raise RejudgingError("no time")


@needs_atheris
@pytest.mark.parametrize("end", [_stopped, _killed, _in_vain])
def test_what_a_resume_did_not_come_to_do_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[Store, Flag], None]
) -> None:
    wanted = replace(settings(tmp_path / "c"), cases=10)
    run_campaign(wanted, ignore)
    known = open_store(tmp_path / "c")
    known.record(finding())
    now = known.configuration()
    assert now.code is not None
    code = msgspec.structs.replace(now.code, judge="another")
    known.configure(msgspec.structs.replace(now, code=code))
    with monkeypatch.context() as during, suppress(SystemExit):
        during.setattr(resume, "judged_again", end)
        run_campaign(wanted, ignore)
    notes: list[str] = []
    run_campaign(wanted, ignore, notes.append)
    assert [line[:22] for line in notes] == ["findings judged again:"]
    assert known.configuration().code == now.code
    run_campaign(wanted, ignore, notes.append)
    assert len(notes) == 1  # nothing has changed since


@needs_atheris
def test_nothing_is_begun_in_a_directory_that_is_anothers(tmp_path: Path) -> None:
    begun: list[str] = []

    def begin() -> None:
        begun.append("again")

    run_campaign(replace(settings(tmp_path / "c"), cases=1), ignore, on_start=begin)
    with open_store(tmp_path / "c").claimed(), pytest.raises(StoreError, match="another campaign"):
        run_campaign(settings(tmp_path / "c"), ignore, on_start=begin)
    assert begun == ["again"]


@needs_atheris
def test_a_kernel_is_not_credited_with_what_another_did_before(tmp_path: Path) -> None:
    run_campaign(replace(settings(tmp_path / "c"), cases=4000), ignore)
    summary = run_campaign(replace(settings(tmp_path / "c"), cases=500, kernels=("clean",)), ignore)
    assert not summary.snapshot.findings
    assert LEAK in {finding.name for finding in open_store(tmp_path / "c").findings()}


@needs_atheris
def test_workers_share_the_cases_and_the_findings(tmp_path: Path) -> None:
    wanted = replace(settings(tmp_path / "c"), workers=2, cases=4001)
    summary = run_campaign(wanted, ignore)
    assert summary.snapshot.cases == 4001
    names = [finding.name for finding in summary.snapshot.findings]
    assert LEAK in names
    assert len(set(names)) == len(names)


@needs_atheris
def test_nothing_is_found_in_a_clean_kernel(tmp_path: Path) -> None:
    wanted = replace(settings(tmp_path / "c"), kernels=("clean",), cases=4000)
    summary = run_campaign(wanted, ignore)
    assert summary.snapshot.findings == ()
    assert summary.snapshot.harness_crashes == 0
    assert summary.snapshot.arms > 100


@needs_atheris
@pytest.mark.parametrize("mode", [Mode.ATHERIS, Mode.NONE])
def test_a_campaign_can_do_without_our_counters(tmp_path: Path, mode: Mode) -> None:
    wanted = replace(settings(tmp_path / "c"), coverage=mode, cases=300)
    summary = run_campaign(wanted, ignore)
    assert summary.snapshot.cases == 300
    assert summary.snapshot.arms_known == 0


@needs_atheris
def test_a_campaign_ends_after_its_time(tmp_path: Path) -> None:
    started = time.monotonic()
    run_campaign(replace(settings(tmp_path / "c"), cases=None, seconds=1.5), ignore)
    assert 1.5 <= time.monotonic() - started < 3.5


@needs_atheris
def test_a_seed_makes_the_same_campaign_again(tmp_path: Path) -> None:
    stores = [Store(tmp_path / name) for name in ("one", "other")]
    for store in stores:
        run_campaign(replace(settings(store.root), cases=1500), ignore)
    one, other = ({path.name for path in store.shard(0).iterdir()} for store in stores)
    assert one == other
    one, other = ({found.smallest for found in store.findings()} for store in stores)
    assert one == other


@needs_atheris
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_is_started_again(tmp_path: Path, number: signal.Signals) -> None:
    store = Store(tmp_path / "c")
    killed: set[int] = set()

    def kill_once(_now: Snapshot) -> None:
        status = store.status(0)
        if status is not None and not killed:
            killed.add(status.pid)
            os.kill(status.pid, number)

    wanted = replace(settings(store.root), cases=6000)
    summary = run_campaign(wanted, kill_once)
    assert killed
    assert summary.snapshot.restarts == 1
    assert summary.snapshot.cases == 6000
    if number is signal.SIGKILL:
        # That was somebody else, and what it had in hand was tried alone.
        assert summary.snapshot.killed == 1
        assert "1 restart of workers, 1 killed from outside" in campaign_line(summary.snapshot)
        assert list(store.harness.iterdir()) == []
        return
    assert summary.snapshot.killed == 0
    (kept,) = store.harness.glob("*.bytes")
    assert kept.name.startswith(f"died-{number.name}-")
    assert kept.with_suffix(".txt").read_text().startswith(f"{number.name}, after ")
    assert store.denied() == {kept.read_bytes()}


@needs_atheris
def test_a_worker_that_somebody_ends_in_good_order_is_started_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "c")
    told: set[int] = set()

    def end_once(_now: Snapshot) -> None:
        status = store.status(0)
        if status is not None and not told:
            told.add(status.pid)
            os.kill(status.pid, signal.SIGTERM)

    summary = run_campaign(replace(settings(store.root), cases=6000), end_once)
    now = summary.snapshot
    assert (now.cases, now.restarts, now.killed) == (6000, 1, 1)


def test_a_worker_that_died_with_nothing_left_to_do_is_one_of_those_that_there_were(
    tmp_path: Path,
) -> None:
    store = create_store(tmp_path / "c", configuration())
    suspects = Suspects(store, ("v7.3",), Reading.STRICT, 512)
    given = orders(store, "v7.3")
    worker = Member(0, store, Limits(), suspects, lambda starts: None if starts else given)
    idle = Member(1, store, Limits(), suspects, lambda _: None)
    deadline = time.monotonic() + 30
    while not worker.done:
        assert time.monotonic() < deadline
        for each in (worker, idle):
            each.tend(time.monotonic())
        if (said := worker.status) is not None and worker.alive is not None:
            store.set_status(1, said)  # as if of an earlier run
            worker.alive.kill()
        time.sleep(0.02)
    assert worker.status == store.status(0)
    assert worker.status is not None
    assert (idle.done, idle.status) == (True, None)


@needs_atheris
def test_workers_that_cannot_work_end_the_campaign_with_their_reason(tmp_path: Path) -> None:
    # One of the two has nothing to do.
    wanted = replace(settings(tmp_path / "c"), kernels=("no-such-kernel",), workers=2, cases=1)
    with pytest.raises(CrewError, match="no-such-kernel"):
        run_campaign(wanted, ignore)


def test_a_directory_that_is_no_campaign_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(StoreError, match="not empty, and not a campaign"):
        run_campaign(settings(tmp_path), ignore)


@needs_atheris
def test_no_time_is_too_long_for_the_engine(tmp_path: Path) -> None:
    """A worker may be stopped for a while, and what hangs is the supervisor's to see."""
    store = create_store(tmp_path / "c", configuration())
    given = arguments(orders(store, "v7.3"), store)
    options = dict(word[1:].split("=", 1) for word in given if word.startswith("-"))
    assert int(options["timeout"]) > 100 * 86400
    assert int(options["report_slow_units"]) > 100 * 86400
