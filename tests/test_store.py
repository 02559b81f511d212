"""The campaign directory: nothing torn, nothing lost, nothing taken for what it is not."""

import multiprocessing
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu.access import Access
from fuzz.directory import durable
from fuzz.directory.configuration import FORMAT, Configuration, Versions
from fuzz.directory.finding import Backing, Finding, Machine, Size, State, merged
from fuzz.directory.opening import create_store, open_store
from fuzz.directory.records import RecordError
from fuzz.directory.store import (
    HARNESS_LIMIT,
    QUESTIONS_LIMIT,
    Oddities,
    Store,
    StoreError,
    WorkerStatus,
)

NOON: Final = datetime(2026, 5, 7, 12, 0, tzinfo=UTC)
TEXT: Final = "guest read64 slot0+0x0\nrun\n"


def configuration(*kernels: str) -> Configuration:
    return Configuration(
        format=FORMAT,
        created_at=NOON,
        kernels=kernels or ("v7.3",),
        reading="strict",
        coverage="counters",
        workers=2,
        seed=1,
        versions=Versions(gff="0.1", python="3.11", unicorn="2.1.4", atheris="3.0.0"),
    )


def finding(
    site: str = "gmem_abort",
    *,
    steps: int = 5,
    after: float = 1.0,
    text: str = TEXT,
    count: int = 1,
) -> Finding:
    return Finding(
        signature=f"C2-{site}-natural",
        clause="C2",
        title="the leak",
        site=site,
        natural=True,
        kernel="v7.3",
        machine=Machine.MODEL,
        state=State.CLAIM,
        errno="ENOMEM",
        exit_reason="MEMORY_FAULT",
        access=Access.READ64,
        backing=Backing.GUEST_MEMFD,
        outcome="-1 ENOMEM MEMORY_FAULT",
        reason="MEMORY_FAULT was filled under ENOMEM",
        found_after_s=after,
        found_at=NOON,
        count=count,
        size=Size(steps, 4, 0),
        first=text,
        smallest=text,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "campaign", configuration())


# FINDINGS


def test_a_finding_is_read_back_as_it_was_written(store: Store) -> None:
    store.record(finding())
    assert open_store(store.root).findings() == [finding()]
    case = store.root / "findings" / "v7.3--C2-gmem_abort-natural.case"
    assert case.read_text() == TEXT


def test_findings_come_in_the_order_of_their_discovery(store: Store) -> None:
    for site, after in (("b", 3.0), ("c", 1.0), ("a", 2.0)):
        store.record(finding(site, after=after))
    assert [found.site for found in store.findings()] == ["c", "a", "b"]


MERGES: Final = [
    # The earlier discovery and the smaller case are kept, whichever comes first; counts add up.
    (
        finding(steps=5, after=1.0, text="early", count=2),
        finding(steps=3, after=2.0, text="small", count=3),
        ("early", "small", 1.0, 3, 5),
    ),
    (
        finding(steps=3, after=2.0, text="small"),
        finding(steps=5, after=1.0, text="early"),
        ("early", "small", 1.0, 3, 2),
    ),
    # A later and larger one adds only to the count.
    (
        finding(steps=3, after=1.0, text="both"),
        finding(steps=4, after=2.0, text="neither", count=7),
        ("both", "both", 1.0, 3, 8),
    ),
]


@pytest.mark.parametrize(("known", "new", "expected"), MERGES)
def test_two_sightings_are_one_finding(
    known: Finding, new: Finding, expected: tuple[str, str, float, int, int]
) -> None:
    both = merged(known, new)
    got = (both.first, both.smallest, both.found_after_s, both.size.steps, both.count)
    assert got == expected


@pytest.mark.parametrize(
    ("known", "new", "shrunk"),
    [
        ((5, False), (5, True), True),  # the shrinker found nothing smaller
        ((5, True), (5, False), True),
        ((5, True), (4, False), False),
        ((5, False), (4, True), True),
        ((4, False), (5, True), False),
    ],
)
def test_a_finding_is_shrunk_where_its_smallest_case_is(
    known: tuple[int, bool], new: tuple[int, bool], shrunk: bool
) -> None:
    first, second = (
        msgspec.structs.replace(finding(steps=steps), shrunk=done) for steps, done in (known, new)
    )
    assert merged(first, second).shrunk is shrunk


def test_what_a_real_kernel_has_shown_is_never_a_mere_claim_again() -> None:
    observed = msgspec.structs.replace(finding(), state=State.OBSERVED)
    assert merged(observed, finding(steps=1)).state is State.OBSERVED
    assert merged(finding(), observed).state is State.OBSERVED


def _record_many(root: Path, worker: int) -> None:
    store = Store(root)
    for number in range(20):
        store.record(finding(f"site{number % 5}", steps=100 - worker - number, after=worker))


def test_workers_that_write_at_once_lose_no_sighting(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_record_many, args=(store.root, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = store.findings()
    assert len(found) == 5
    assert sum(one.count for one in found) == 60
    assert [one.size.steps for one in sorted(found, key=lambda one: one.site)] == [
        83,
        82,
        81,
        80,
        79,
    ]
    assert not [path for path in store.root.rglob("*") if durable.is_temporary(path)]


def test_sightings_are_counted_without_a_case(store: Store) -> None:
    store.record(finding())
    store.count("v7.3--C2-gmem_abort-natural", 41)
    (found,) = store.findings()
    assert found.count == 42


# KILLED WRITERS

KILLED_WRITER: Final = """
import os, sys
from pathlib import Path
from fuzz.directory import durable
real = os.fsync
def die(descriptor):
    real(descriptor)
    os.kill(os.getpid(), 9)
os.fsync = die
durable.write(Path(sys.argv[1]), b"new")
"""


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_is_swept(store: Store) -> None:
    path = store.root / "findings" / "x.json"
    path.write_bytes(b"old")
    arguments = [sys.executable, "-c", KILLED_WRITER, str(path)]
    assert subprocess.run(arguments, check=False).returncode == -9
    assert path.read_bytes() == b"old"
    assert [file for file in path.parent.iterdir() if durable.is_temporary(file)]
    path.unlink()
    with store.claimed():
        assert not [file for file in store.root.rglob("*") if durable.is_temporary(file)]


@pytest.mark.parametrize("left", [None, "an older case\n"])
def test_a_case_file_that_was_not_written_any_more_is_made_good(
    store: Store, left: str | None
) -> None:
    store.record(finding())
    case = store.root / "findings" / "v7.3--C2-gmem_abort-natural.case"
    case.unlink()
    if left is not None:
        case.write_text(left)
    with store.claimed():
        assert case.read_text() == TEXT


def test_a_finding_that_is_seen_has_its_case(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    flush = os.fsync

    def look(descriptor: int) -> None:
        seen.append({path.name for path in (store.root / "findings").glob("[!.]*")})
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    store.record(finding())
    name = finding().name
    assert seen[-1] == {f"{name}.json", f"{name}.case"}
    assert all(f"{name}.case" in names for names in seen)


def test_a_case_whose_finding_was_not_written_any_more_is_set_aside(store: Store) -> None:
    folder = store.root / "findings"
    store.record(finding())
    for name in ("alone", "damaged"):
        (folder / f"{name}.case").write_text(TEXT)
    (folder / "damaged.json.damaged").write_text("{")
    with store.claimed():
        pass
    assert {path.name for path in folder.glob("*.case*")} == {
        f"{finding().name}.case",
        "alone.case.damaged",
        "damaged.case",
    }


def test_a_lock_goes_with_its_holder(store: Store) -> None:
    holder = f"""
import os
from pathlib import Path
from fuzz.directory.store import Store
with Store(Path({str(store.root)!r})).claimed():
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", holder], check=False).returncode == -9
    with store.claimed():
        pass


def test_two_campaigns_do_not_share_a_directory(store: Store) -> None:
    with (
        store.claimed(),
        pytest.raises(StoreError, match="another campaign is at work there"),
        Store(store.root).claimed(),
    ):
        pass


# DAMAGE


def test_a_damaged_finding_is_named(store: Store) -> None:
    store.record(finding())
    path = store.root / "findings" / "v7.3--C2-gmem_abort-natural.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=f"{path}: damaged: "):
        store.findings()


# WORKERS AND OUR OWN MISTAKES


def test_the_status_of_every_worker_is_there(store: Store) -> None:
    status = WorkerStatus(
        pid=1,
        cases=2,
        seconds=3.0,
        process_cases=4,
        process_seconds=5.0,
        arms=6,
        arms_known=7,
        harness_crashes=8,
        mutator_incidents=9,
        rss_mib=10,
        finished=False,
    )
    store.set_status(11, status)
    assert store.status(0) is None
    assert store.status(11) == status
    assert store.statuses() == {11: status}


def test_a_status_that_is_damaged_is_named_and_the_others_are_there(store: Store) -> None:
    path = store.root / "workers" / "7.json"
    path.write_text("{")
    with pytest.raises(StoreError, match=f"{path}: damaged: "):
        store.statuses()
    bad: list[RecordError] = []
    assert store.statuses(bad) == {}
    assert [each.path for each in bad] == [path]


def test_questions_are_kept_up_to_a_limit_and_what_is_half_written_is_none(store: Store) -> None:
    for number in range(5):
        (store.questions / f"{durable.TEMPORARY}1-{number}.case").touch()
    kept = [store.record_question(f"clean--{n}", "") for n in range(QUESTIONS_LIMIT + 5)]
    assert sum(kept) == QUESTIONS_LIMIT


def test_an_input_on_which_we_went_wrong_is_kept_once_for_each_place(store: Store) -> None:
    assert store.record_harness_crash("KeyError-run-7", b"one", "Traceback 1")
    assert not store.record_harness_crash("KeyError-run-7", b"two", "Traceback 2")
    assert (store.harness / "KeyError-run-7.bytes").read_bytes() == b"one"
    assert (store.harness / "KeyError-run-7.txt").read_text() == "Traceback 1"
    assert store.findings() == []


def test_what_is_kept_is_counted_by_kind(store: Store) -> None:
    for name in ("differed-0", "KeyError-run-7"):
        store.record_harness_crash(name, b"", "")
    for name in ("hung-1", "SIGSEGV-2", "silent-3"):
        store.record_death(name, b"", "")
    store.record_question("clean--why", "")
    for folder in (store.questions, store.harness):
        for suffix in (".case", ".bytes"):
            (folder / f"{durable.TEMPORARY}1-x{suffix}").touch()
    assert store.oddities() == Oddities(questions=1, crashes=1, denied=3)


def test_there_is_an_end_to_keeping_our_mistakes(store: Store) -> None:
    kept = [store.record_harness_crash(f"E-{n}", b"", "") for n in range(HARNESS_LIMIT + 5)]
    assert sum(kept) == HARNESS_LIMIT
