"""A disk that is full, read-only or slow, and a clock that jumps: one clear line, nothing lost."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final

import msgspec
import pytest

from fuzz.campaign import recorder
from fuzz.campaign.status import Snapshot, SummaryLine
from fuzz.campaign.supervisor import run_campaign
from fuzz.directory import durable
from fuzz.directory.opening import create_store, place
from fuzz.directory.series import samples
from fuzz.directory.store import Store, StoreError
from tests.test_campaign import needs_atheris, settings
from tests.test_crew import MISBEHAVIOUR
from tests.test_store import configuration, finding

CHECKOUT: Final = Path(__file__).parent.parent
GFF: Final = "from triage.cli import main; main()"


def fuzz(tmp_path: Path, *words: str) -> "subprocess.Popen[str]":
    """A campaign on a disk of which ``tmp_path/disk`` says what is wrong with it."""
    return subprocess.Popen(
        [sys.executable, "-c", GFF, "fuzz", "--campaign", str(tmp_path / "c"), *words],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "PYTHONPATH": str(MISBEHAVIOUR),
            "GFF_TEST_DISK": str(tmp_path / "disk"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@needs_atheris
def test_a_full_disk_ends_a_campaign_in_one_line_with_all_that_was_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "c")
    process = fuzz(tmp_path, "--workers", "1", "--seed", "1")
    wait_for(lambda: (store.root / "findings").exists() and store.findings())
    before = {found.name for found in store.findings()}
    (tmp_path / "disk").write_text("full")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    last = said.splitlines()[-1]
    assert last.startswith(f"gff: {store.root}")
    assert last.endswith(": No space left on device")
    (tmp_path / "disk").unlink()
    with store.claimed():
        assert before <= {found.name for found in store.findings()}
    assert not [path for path in store.root.rglob("*") if durable.is_temporary(path)]
    samples(store.root)


@needs_atheris
def test_a_campaign_in_a_read_only_directory_does_not_begin(tmp_path: Path) -> None:
    create_store(tmp_path / "c", configuration())
    (tmp_path / "disk").write_text("readonly")
    process = fuzz(tmp_path, "--cases", "10")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert line.startswith(f"gff: {tmp_path / 'c'}")
    assert line.endswith(": Read-only file system")


@needs_atheris
def test_a_slow_disk_delays_findings_and_loses_none(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("slow")
    process = fuzz(tmp_path, "--workers", "1", "--seed", "1", "--cases", "2000", "--json")
    told, _ = process.communicate(timeout=120)
    summary = msgspec.json.decode(told.splitlines()[-1], type=SummaryLine)
    stored = {found.signature for found in Store(tmp_path / "c").findings()}
    assert {found.signature for found in summary.findings} == stored != set()


def test_half_a_file_does_not_stay_on_a_full_disk(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from fuzz.directory import durable
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    durable.write(Path(sys.argv[1]) / "finding.json", bytes(5000))
except OSError as error:
    print(error.strerror)
"""
    words = [sys.executable, "-c", program, str(tmp_path)]
    told = subprocess.run(words, cwd=CHECKOUT, capture_output=True, check=True, text=True)
    assert told.stdout == "File too large\n"
    assert list(tmp_path.iterdir()) == []


class Jumping(datetime):
    """A clock that is set back by a day at each look."""

    looks = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # no such clock
        cls.looks += 1
        return datetime.now(tz) - timedelta(days=cls.looks)


@needs_atheris
def test_a_clock_that_jumps_changes_nothing_but_the_dates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "datetime", Jumping)
    monkeypatch.setattr(recorder, "EVERY", 0.1)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(recorder, "SOON", 0.0)
    started = time.monotonic()
    summary = run_campaign(replace(settings(tmp_path / "c"), cases=3000), lambda _: None)
    assert 0.1 < summary.snapshot.seconds < time.monotonic() - started
    course = samples(tmp_path / "c")
    assert len(course) > 3
    ages = [sample.seconds for sample in course]
    assert ages == sorted(ages)
    assert course[0].at > course[-1].at


# WHOSE DIRECTORY IT IS


def test_an_exhaustive_search_is_not_taken_for_a_campaign(tmp_path: Path) -> None:
    other = msgspec.structs.replace(configuration(), coverage="exhaust")
    create_store(tmp_path / "c", other)
    with pytest.raises(StoreError, match="c: an exhaustive search, not a campaign"):
        run_campaign(settings(tmp_path / "c"), lambda _: None)
    assert Store(tmp_path / "c").configuration() == other
    (tmp_path / "c" / "plan.json").write_text("{}")
    (tmp_path / "c" / "campaign.json").unlink()
    with pytest.raises(StoreError, match="c: an exhaustive search, not a campaign"):
        run_campaign(settings(tmp_path / "c"), lambda _: None)


@needs_atheris
def test_a_campaign_that_is_at_work_keeps_its_configuration(tmp_path: Path) -> None:
    store = create_store(tmp_path / "c", configuration())
    store.record(finding())
    before = store.configuration()
    with store.claimed(), pytest.raises(StoreError, match="another campaign is at work there"):
        run_campaign(replace(settings(tmp_path / "c"), kernels=("clean",)), lambda _: None)
    assert store.configuration() == before


@needs_atheris
def test_who_comes_second_to_a_new_directory_changes_nothing_there(tmp_path: Path) -> None:
    first = place(tmp_path / "c")
    with first.claimed(), pytest.raises(StoreError, match="another campaign is at work there"):
        run_campaign(settings(tmp_path / "c"), lambda _: None)
    assert not first.is_begun()


@needs_atheris
def test_a_campaign_is_known_by_what_ran_it(tmp_path: Path) -> None:
    noted: list[str] = []
    old = create_store(tmp_path / "c", configuration())
    old.record(finding())

    def quiet(_now: Snapshot) -> None:
        pass

    run_campaign(replace(settings(tmp_path / "c"), cases=10), quiet, noted.append)
    now = old.configuration()
    assert now.code is not None
    assert (now.engine, now.versions.unicorn != "", now.format) == ("atheris", True, 2)
    # The case of the finding that was made up here shows nothing.
    assert noted == ["findings judged again: 0 still there; gone: v7.3--C2-gmem_abort-natural"]
    noted.clear()
    run_campaign(replace(settings(tmp_path / "c"), cases=10), quiet, noted.append)
    assert noted == []
