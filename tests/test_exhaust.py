"""An exhaustive search says "all" when it is all: through stops, deaths and second thoughts."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu.kernels import KERNELS
from emu.kernels.releases import V73
from emu.kvm.state import Vcpu
from fuzz.directory.fingerprint import Fingerprints, fingerprints, judging
from fuzz.directory.opening import create_store, place
from fuzz.directory.store import Store, StoreError
from fuzz.exhaustive import exhaust
from fuzz.exhaustive.examiner import Examiner, Orders
from fuzz.exhaustive.examiners import ExaminerError, Examiners
from fuzz.exhaustive.exhaust import Settings, Tally, extents, run_exhaust
from fuzz.exhaustive.ledger import CHUNK, COVERAGE, Chunk, Extent, Ledger, Plan, chunks
from fuzz.exhaustive.scope import DEFAULT_STEPS
from fuzz.oracle.contract import Reading
from tests.command import Gff
from tests.test_store import configuration
from triage.exhaustion import ExhaustLine, SizeLine, status_line, verdict

CHECKOUT: Final = Path(__file__).parent.parent
STEPS: Final = 3
SIZE: Final = sum(extent.cases for extent in extents(STEPS))
LEAK: Final = "v7.3--C2-gmem_abort-natural"


def settings(
    root: Path,
    *,
    kernels: tuple[str, ...] = ("clean",),
    reading: Reading = Reading.STRICT,
    steps: int = STEPS,
) -> Settings:
    return Settings(root / "all", kernels, reading, steps, workers=2)


def plan(steps: int = STEPS) -> Plan:
    return Plan(
        kernels=("clean",),
        reading=Reading.STRICT,
        steps=steps,
        extents=extents(steps),
        fingerprints=fingerprints(),
    )


def begun(root: Path) -> Store:
    """A search by ``settings(root)`` that was interrupted before its first chunk."""
    store = create_store(root / "all", msgspec.structs.replace(configuration(), coverage=COVERAGE))
    Ledger(store.root).begin(plan())
    return store


def search(wanted: Settings) -> Tally:
    return run_exhaust(wanted, lambda _: None)


def started(root: Path, steps: int) -> subprocess.Popen[bytes]:
    """``gff exhaust`` in a process of its own; with 5 steps it has to do for a minute."""
    program = "from triage.cli import main; main()"
    words = ["exhaust", "--steps", str(steps), "--workers", "2", "--campaign", str(root)]
    return subprocess.Popen(
        [sys.executable, "-P", "-c", program, *words],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def until_chunks(root: Path, number: int) -> None:
    deadline = time.monotonic() + 60
    while len(list((root / "chunks").glob("[0-9]*.json"))) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


# ALL OF IT


def test_every_case_is_run_once_and_the_end_says_all(tmp_path: Path) -> None:
    tally = search(settings(tmp_path))
    assert (tally.finished, tally.done, tally.findings) == (True, SIZE, ())
    said = f"all {SIZE:,} cases of the scope of 3 steps on clean: no finding"
    assert verdict(tally).plain == said


def test_findings_are_kept_like_those_of_a_campaign_shrunk_and_counted(
    tmp_path: Path, call: Gff
) -> None:
    wanted = settings(tmp_path, kernels=("clean", "v7.3"))
    tally = search(wanted)
    assert {finding.kernel for finding in tally.findings} == {"v7.3"}
    leak = next(finding for finding in tally.findings if finding.name == LEAK)
    assert leak.size.steps == 5
    assert leak.count > 10
    listed = call("triage", "list", str(wanted.campaign))
    assert "C2-gmem_abort-natural" in listed.out


def test_a_finished_search_says_so_at_once(tmp_path: Path) -> None:
    wanted = settings(tmp_path, kernels=("v7.3",))
    first = search(wanted)
    logs = set((wanted.campaign / "workers").iterdir())
    for log in logs:
        log.unlink()
    again = search(wanted)
    assert not set((wanted.campaign / "workers").iterdir())
    assert again.findings == first.findings
    assert (again.finished, again.done) == (True, SIZE)


def test_the_size_is_that_of_the_documentation() -> None:
    page = (CHECKOUT / "docs" / "exhaust.md").read_text(encoding="utf-8")
    sizes = extents(DEFAULT_STEPS)
    for extent in sizes:
        assert f"| {extent.layout} | {extent.cases:,} |" in page
    assert f"{sum(extent.cases for extent in sizes):,} cases" in page


# INTERRUPTED


def test_told_to_stop_it_does_within_two_seconds_and_goes_on_where_it_was(tmp_path: Path) -> None:
    root = tmp_path / "all"
    process = started(root, 5)
    until_chunks(root, 2)
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert time.monotonic() - before < 2
    assert process.returncode == 130
    assert b" so far: no finding" in out
    done = sum(result.cases for result in Ledger(root).results())
    assert f"{done:,} of".encode() in out
    again = started(root, 5)
    until_chunks(root, len(Ledger(root).results()) + 1)
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=20)
    assert sum(result.cases for result in Ledger(root).results()) > done


def test_killed_the_supervisor_takes_its_workers_along_and_only_chunks_in_hand_are_lost(
    tmp_path: Path,
) -> None:
    root = tmp_path / "all"
    process = started(root, 4)
    until_chunks(root, 2)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while not all(map(is_gone, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(workers) == 2
    done = sum(result.cases for result in Ledger(root).results())
    tally = search(settings(tmp_path, steps=4))
    assert (tally.finished, tally.done) == (True, tally.plan.cases)
    assert 0 < done < tally.done


def test_a_worker_that_is_killed_is_replaced_and_no_case_is_lost(tmp_path: Path) -> None:
    killed: list[int] = []
    others = set(children(os.getpid()))  # of an earlier test: multiprocessing keeps one

    def kill_one(_: Tally) -> None:
        if not killed:
            killed.append(next(pid for pid in children(os.getpid()) if pid not in others))
            os.kill(killed[0], signal.SIGKILL)

    tally = run_exhaust(settings(tmp_path), kill_one)
    assert killed
    assert (tally.finished, tally.done, tally.restarts) == (True, SIZE, 1)


def test_two_searches_in_one_directory_are_refused(tmp_path: Path) -> None:
    with begun(tmp_path).claimed(), pytest.raises(StoreError, match="at work there"):
        search(settings(tmp_path))


def test_who_comes_second_to_a_new_directory_changes_nothing_there(tmp_path: Path) -> None:
    first = place(tmp_path / "all")
    with first.claimed(), pytest.raises(StoreError, match="at work there"):
        search(settings(tmp_path))
    assert not first.is_begun()


def test_chunks_that_are_lost_are_counted_once_when_they_are_done_again(tmp_path: Path) -> None:
    wanted = settings(tmp_path, kernels=("v7.3",))
    first = search(wanted)
    (wanted.campaign / "chunks" / "0-0.json").unlink()
    again = search(wanted)
    counts = [{each.name: each.count for each in tally.findings} for tally in (first, again)]
    assert counts[0] == counts[1]
    assert again.done == SIZE


# SECOND THOUGHTS


@pytest.mark.parametrize(
    ("ask", "begun_with"),
    [
        (lambda root: settings(root, kernels=("clean", "v7.3")), "--kernel clean:"),
        (lambda root: settings(root, reading=Reading.PARANOID), "--reading strict:"),
        (lambda root: settings(root, steps=2), "--steps 3:"),
    ],
)
def test_another_question_is_not_mixed_in(
    tmp_path: Path, ask: Callable[[Path], Settings], begun_with: str
) -> None:
    begun(tmp_path)
    with pytest.raises(StoreError, match=f"begun with {begun_with}"):
        search(ask(tmp_path))


@pytest.mark.parametrize("part", ["scope", "judge", "model"])
def test_answers_of_another_version_are_not_mixed_in(
    tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(tmp_path)
    other = msgspec.structs.replace(fingerprints(), **{part: "another"})
    monkeypatch.setattr(exhaust, "fingerprints", lambda: other)
    with pytest.raises(StoreError, match=f"begun with another {part}, whose"):
        search(settings(tmp_path))


def test_code_that_changes_under_a_search_ends_it(tmp_path: Path) -> None:
    store = begun(tmp_path)
    other = msgspec.structs.replace(plan(), fingerprints=Fingerprints("a", "b", "c"))
    (store.root / "plan.json").write_bytes(msgspec.json.encode(other))
    examiners = Examiners(store, chunks(other), 1, 0.0)
    examiners.start()
    with pytest.raises(ExaminerError, match="scope and judge and model changed under the search"):
        list(examiners.results(60))
    examiners.stop(1)


def test_a_search_that_lost_its_configuration_goes_on_by_its_own_plan_only(tmp_path: Path) -> None:
    (begun(tmp_path).root / "campaign.json").unlink()
    with pytest.raises(StoreError, match="begun with --kernel clean: take another directory"):
        search(settings(tmp_path, kernels=("v7.3",)))


def test_a_campaign_of_random_cases_is_left_alone(tmp_path: Path) -> None:
    create_store(tmp_path / "all", configuration())
    with pytest.raises(StoreError, match="a campaign of random cases"):
        search(settings(tmp_path))


def test_fingerprints_name_the_parts_that_changed() -> None:
    assert fingerprints().changed(fingerprints()) == []
    assert Fingerprints("a", "b", "c").changed(Fingerprints("a", "x", "y")) == ["judge", "model"]


def test_the_judge_is_all_that_it_imports_and_nothing_else() -> None:
    modules = judging()
    assert {
        "fuzz.oracle.judge",
        "fuzz.oracle.clauses",
        "fuzz.oracle.scene",
        "fuzz.oracle.signature",
    } < modules
    assert {"fuzz.search.together", "fuzz.search.hunk"} < modules
    assert modules.isdisjoint(
        {"fuzz.campaign.status", "fuzz.directory.store", "fuzz.exhaustive.enumeration"}
    )


# OUR OWN MISTAKES


class Stumbling(V73):
    """A model with a mistake of ours in it."""

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        raise ZeroDivisionError(f"ours, after exit_reason {vcpu.run.exit_reason}")


def test_a_case_on_which_we_crash_is_kept_and_not_counted_as_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KERNELS, "clean", Stumbling())
    store = begun(tmp_path)
    examiner = Examiner(Orders(store.root, os.getppid(), 0.0), store, plan())
    result = examiner.run(Chunk(0, 0, 100))
    assert result is not None
    assert result.crashes == result.cases == 100
    assert len(list(store.harness.glob("ZeroDivisionError-*.bytes"))) == 1


def tally(*, done: int = 2000, crashes: int = 0) -> Tally:
    sized = msgspec.structs.replace(plan(), extents=(Extent("one", 2000),))
    return Tally(sized, done, crashes, 61.0, 10.0, 2, 0, ())


def test_all_is_not_said_of_what_was_not_known_or_not_run() -> None:
    assert verdict(tally(crashes=3)).plain.startswith("all but 3 of 2,000 cases")
    assert verdict(tally(done=1999)).plain.startswith("1,999 of 2,000 cases")
    assert verdict(tally()).plain == "all 2,000 cases of the scope of 3 steps on clean: no finding"


def test_a_hundred_per_cent_is_said_of_nothing_less() -> None:
    assert "1,999 of 2,000 cases (99.9 %)" in status_line(tally(done=1999))
    assert "(100.0 %)" in status_line(tally())


def test_chunks_are_all_of_the_scope() -> None:
    sized = msgspec.structs.replace(
        plan(), extents=(Extent("one", CHUNK + 1), Extent("two", 3), Extent("none", 0))
    )
    assert chunks(sized) == [Chunk(0, 0, CHUNK), Chunk(0, CHUNK, CHUNK + 1), Chunk(1, 0, 3)]


# THE COMMAND


def test_the_count_is_exact_and_runs_nothing(call: Gff, tmp_path: Path) -> None:
    ended = call("exhaust", "--count", "--steps", "3", "--json")
    sizes = msgspec.json.decode(ended.out, type=SizeLine)
    assert (ended.status, sizes.steps, sizes.cases) == (0, 3, SIZE)
    assert sizes.layouts == extents(3)
    assert f"{SIZE:,}" in call("exhaust", "--count", "--steps", "3").out
    assert not list(tmp_path.iterdir())


def test_the_last_line_is_for_programs_where_asked(call: Gff) -> None:
    ended = call("exhaust", "--steps", "2", "-k", "v7.3", "-j", "1", "--json")
    line = msgspec.json.decode(ended.out, type=ExhaustLine)
    assert json.loads(ended.out)["finished"]
    assert (line.cases, line.kernels, line.reading) == (line.done, ("v7.3",), "strict")
    assert ended.status == (1 if line.findings else 0)


def test_clean_is_the_kernel_where_none_is_named(call: Gff) -> None:
    ended = call("exhaust", "--steps", "2", "-j", "1")
    assert ended.status == 0
    assert ended.out.strip().endswith("on clean: no finding")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--steps", "0"), "--steps 0: at least 1"),
        (("--steps", "9"), "--steps 9: at most 8"),
        (("--kernel", "clear"), "unknown kernel 'clear', did you mean clean?"),
        (("--campaign", ""), "campaign ''"),
    ],
)
def test_bad_usage_is_one_line(call: Gff, arguments: tuple[str, ...], reason: str) -> None:
    ended = call("exhaust", *arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert reason in ended.err
    assert ended.err.count("\n") == 1


def test_a_directory_that_cannot_be_used_is_one_line(call: Gff, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = call("exhaust", "--steps", "1", "--campaign", "file")
    assert (ended.status, ended.err) == (
        2,
        "gff: file: a file, where a campaign directory was expected\n",
    )


def test_a_damaged_plan_is_one_line(call: Gff) -> None:
    call("exhaust", "--steps", "1", "-j", "1", "--campaign", "all")
    Path("all/plan.json").write_text("{")
    ended = call("exhaust", "--steps", "1", "--campaign", "all")
    assert ended.status == 2
    assert ended.err.startswith("gff: all/plan.json: damaged: ")
    assert ended.err.count("\n") == 1
