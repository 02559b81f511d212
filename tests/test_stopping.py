"""A campaign that is told to stop, or whose supervisor is killed."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import pytest

from fuzz.campaign.status import SummaryLine
from fuzz.campaign.supervisor import run_campaign
from fuzz.directory.store import Store
from fuzz.halting import told_to_stop
from tests.test_campaign import CHECKOUT, ignore, needs_atheris, settings

CAMPAIGN: Final = """
import signal, sys
from pathlib import Path
from fuzz.campaign.supervisor import Settings, run_campaign
from fuzz.oracle.contract import Reading
from fuzz.guidance.coverage import Mode
from fuzz.campaign.status import as_json
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may have been started by nohup
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
    while len(store.statuses([])) < 2:
        assert time.monotonic() < deadline, "no worker spoke"
        time.sleep(0.05)
    return process, [status.pid for status in store.statuses([]).values()]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@needs_atheris
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_campaign_cleanly_within_two_seconds(
    tmp_path: Path, number: signal.Signals
) -> None:
    process, workers = started(tmp_path / "c")
    time.sleep(0.5)
    process.send_signal(number)
    told = time.monotonic()
    output, _ = process.communicate(timeout=10)
    assert time.monotonic() - told < 2
    assert process.returncode == 0
    assert not any(map(is_running, workers))
    summary = msgspec.json.decode(output, type=SummaryLine)
    statuses = Store(tmp_path / "c").statuses().values()
    assert all(status.finished for status in statuses)
    assert summary.cases == sum(status.cases for status in statuses) > 0


@needs_atheris
@pytest.mark.parametrize("stopped", [True, False])
def test_a_campaign_says_whether_it_was_told_to_stop(tmp_path: Path, stopped: bool) -> None:
    def on_start() -> None:
        if stopped:
            signal.raise_signal(signal.SIGTERM)

    wanted = replace(settings(tmp_path / "c"), seconds=0.1)
    assert run_campaign(wanted, ignore, lambda _: None, on_start).stopped == stopped


def test_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup starts a process
    try:
        with told_to_stop() as stop:
            signal.raise_signal(signal.SIGHUP)
            hung_up = stop.raised
            signal.raise_signal(signal.SIGTERM)
            assert (hung_up, stop.raised) == (False, True)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


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
