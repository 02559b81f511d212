"""A campaign finds what is there, keeps it, stops when told, and outlives its workers."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu import text, wire
from emu.kernels import KERNELS
from emu.kernels.releases import V73
from emu.kvm.state import Vcpu
from fuzz.campaign.member import CrewError
from fuzz.campaign.status import Snapshot, SummaryLine, as_json, line
from fuzz.campaign.supervisor import Settings, run_campaign
from fuzz.directory.finding import Finding
from fuzz.directory.store import Store, StoreError, create_store, open_store
from fuzz.guidance.coverage import Arms, Mode
from fuzz.guidance.feedback import Feedback
from fuzz.oracle.contract import Reading
from fuzz.search.target import Target
from tests.test_store import configuration

CHECKOUT: Final = Path(__file__).parent.parent
LEAK: Final = "v7.3--C2-gmem_abort-natural"
LEAKING: Final = """
vm cold
create gmem2 size=0x3000 flags=mmap,init-shared
create mem0 size=0x1000 anon
memslot 1 gpa=0x80000000 size=0x3000 gmem2+0x0 flags=guest-memfd
guest write-pair slot1+0x1008
run
guest read-simd slot1+0x2010
memory-limit on
run
memory-limit off
run
"""
needs_atheris: Final = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="no wheel for this platform"
)


# ONE EXECUTION


class Stumbling(V73):
    """A model with a mistake of ours in it."""

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        raise ZeroDivisionError(f"ours, after exit_reason {vcpu.run.exit_reason}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "campaign", configuration())


def target(store: Store, feedback: Feedback | None = None) -> Target:
    kernels = {"v7.3": KERNELS["v7.3"]}
    return Target(store, kernels, Reading.STRICT, feedback or Feedback(Arms()), lambda: 1.5)


def data(case: str) -> bytes:
    return wire.encode(text.load(case))


def only_finding(store: Store) -> Finding:
    (finding,) = store.findings()
    return finding


def test_a_finding_is_stored_with_its_first_and_its_smallest_case(store: Store) -> None:
    target(store).run(data(LEAKING))
    finding = only_finding(store)
    assert finding.name == LEAK
    assert finding.first == text.dump(text.load(LEAKING))
    assert finding.smallest == (
        "create gmem0 size=0x1000 flags=mmap\n"
        "memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd\n"
        "memory-limit on\n"
        "guest read64 slot0+0x0\n"
        "run\n"
    )
    assert (finding.errno, finding.exit_reason) == ("ENOMEM", "MEMORY_FAULT")
    assert finding.outcome.startswith("-1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000")
    assert finding.found_after_s == 1.5
    assert finding.size.steps == 5


def test_a_finding_seen_again_is_counted_and_not_found_again(store: Store) -> None:
    worker = target(store)
    for _ in range(3):
        worker.run(data(LEAKING))
    worker.store_counts()
    worker.store_counts()
    assert only_finding(store).count == 3


def test_what_an_earlier_run_has_found_is_known(store: Store) -> None:
    target(store).run(data(LEAKING))
    before = only_finding(store)
    again = target(store)
    again.run(data("\n".join(LEAKING.splitlines()[2:])))
    assert only_finding(store) == before
    again.store_counts()
    assert only_finding(store).count == 2


def test_a_natural_finding_is_not_shrunk_to_an_injected_one(store: Store) -> None:
    # Without the limit, the injected error would leak just the same, in a case as small.
    target(store).run(data(LEAKING + "fail kvm_gmem_get_pfn ENOMEM\nguest read64 slot1+0x0\nrun\n"))
    natural = next(finding for finding in store.findings() if finding.name == LEAK)
    assert "fail" not in natural.smallest
    assert "memory-limit on" in natural.smallest


def test_shrinking_leaves_no_marks_behind(store: Store) -> None:
    first, second = Feedback(Arms()), Feedback(Arms())
    target(store, first).run(data(LEAKING))
    target(store, second).run(data(LEAKING))
    assert any(first.outcomes)
    assert first.outcomes == second.outcomes


def test_a_worker_that_is_told_to_stop_stores_what_it_has_found_and_shrinks_no_more(
    store: Store,
) -> None:
    worker = target(store)
    worker.hurried = True
    worker.run(data(LEAKING))
    finding = only_finding(store)
    assert finding.smallest == finding.first == text.dump(text.load(LEAKING))


def test_a_mistake_of_ours_is_kept_apart_from_findings_and_does_not_stop_the_search(
    store: Store,
) -> None:
    worker = Target(store, {"v7.3": Stumbling()}, Reading.STRICT, Feedback(Arms()), lambda: 0.0)
    for _ in range(3):
        worker.run(data(LEAKING))
    assert (worker.cases, worker.harness_crashes) == (3, 3)
    assert store.findings() == []
    (kept,) = store.harness.glob("*.bytes")
    assert kept.read_bytes() == data(LEAKING)
    assert "ZeroDivisionError: ours" in kept.with_suffix(".txt").read_text()


def test_a_finding_that_cannot_be_stored_is_no_mistake_of_ours_and_not_passed_over(
    store: Store,
) -> None:
    shutil.rmtree(store.root / "findings")
    worker = Target(store, {"v7.3": KERNELS["v7.3"]}, Reading.STRICT, Feedback(Arms()), lambda: 0.0)
    with pytest.raises(FileNotFoundError):
        worker.run(data(LEAKING))
    assert worker.harness_crashes == 0


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
    assert LEAK in line(summary.snapshot).plain or len(summary.snapshot.findings) > 1
    assert open_store(tmp_path / "c").findings() == list(summary.snapshot.findings)


@needs_atheris
def test_the_last_line_is_one_object_with_what_was_promised(tmp_path: Path) -> None:
    last = as_json(run_campaign(replace(settings(tmp_path / "c"), cases=4000), ignore))
    assert "\n" not in last
    told = msgspec.json.decode(last, type=SummaryLine)
    assert (told.cases, told.workers, told.kernels) == (4000, 1, ("v7.3",))
    assert told.cases_per_second > 100
    leak = next(finding for finding in told.findings if finding.natural)
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
    assert 1.5 <= time.monotonic() - started < 3.5 + 2  # and two for a busy machine


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
    # What it had in hand, whatever it died of.
    (kept,) = store.harness.glob("*.bytes")
    assert kept.name.startswith(f"died-{number.name}-")
    assert kept.with_suffix(".txt").read_text().startswith(f"{number.name}, after ")
    assert store.denied() == {kept.read_bytes()}


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


# STOPPING

CAMPAIGN: Final = """
import sys
from pathlib import Path
from fuzz.campaign.supervisor import Settings, run_campaign
from fuzz.oracle.contract import Reading
from fuzz.guidance.coverage import Mode
from fuzz.campaign.status import as_json
settings = Settings(
    Path(sys.argv[1]), ("v7.3",), Reading.STRICT, 2, None, None, Mode.COUNTERS, 1
)
print(as_json(run_campaign(settings, lambda now: None)))
"""


def started(campaign: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """An endless campaign in a process of its own, and its workers' pids once both are at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", CAMPAIGN, str(campaign)], cwd=CHECKOUT, stdout=subprocess.PIPE
    )
    store = Store(campaign)
    deadline = time.monotonic() + 20
    while len(store.statuses()) < 2:
        assert time.monotonic() < deadline, "no worker spoke"
        time.sleep(0.05)
    return process, [status.pid for status in store.statuses().values()]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@needs_atheris
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_campaign_cleanly_within_two_seconds(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, workers = started(tmp_path / "c")
    time.sleep(0.5)
    process.send_signal(number)
    told = time.monotonic()
    output, _ = process.communicate(timeout=10)
    assert time.monotonic() - told < 2 + 1  # and a second for a busy machine
    assert process.returncode == 0
    assert not any(map(is_running, workers))
    summary = msgspec.json.decode(output, type=SummaryLine)
    statuses = Store(tmp_path / "c").statuses().values()
    assert all(status.finished for status in statuses)
    assert summary.cases == sum(status.cases for status in statuses) > 0


@needs_atheris
def test_workers_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    process, workers = started(tmp_path / "c")
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.05)


def test_without_the_engine_there_is_one_clear_line(tmp_path: Path) -> None:
    program = f"import sys; sys.modules['atheris'] = None\n{CAMPAIGN}"
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c")],
        cwd=CHECKOUT,
        capture_output=True,
        check=False,
        text=True,
    )
    assert "MissingEngineError: atheris is not installed" in ended.stderr
    assert not (tmp_path / "c").exists()
