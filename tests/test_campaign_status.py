"""How a campaign stands: read from its directory, shown, counted for programs, and its advice."""

import fcntl
import io
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import pytest
from rich.console import Console

from fuzz.directory import durable
from fuzz.directory.claim import claimed
from fuzz.directory.follower import Follower
from fuzz.directory.series import STATISTICS
from fuzz.directory.store import CONTRACT
from tests.campaigns import PID, TESTED, Past, lived, running, sample
from tests.command import Gff, finding
from triage.advice import advice, usual_gap
from triage.campaign_progress import Quiet
from triage.course import evenly, rates, spark
from triage.overview import Condition, Overview, overview
from triage.status_line import StatusLine, status_line
from triage.status_screen import screen

LEAK: Final = "C2-gmem_abort-natural"
CHECKOUT: Final = Path(__file__).parents[1]
HIDE, SHOW, ERASED = b"\x1b[?25l", b"\x1b[?25h", b"\x1b[1A\x1b[2K"
QUIET: Final = Past(last_new_s=1200.0)


def drawn(now: Overview, width: int) -> str:
    console = Console(width=width, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(screen(now, console))
    return capture.get()


def words_of(now: Overview) -> str:
    return words(drawn(now, 200))


def words(text: str) -> str:
    """Without what a table adds."""
    return " ".join(text.split())


# WHETHER IT GOES ON


@pytest.mark.parametrize("known", [True, False])
def test_the_lock_tells_at_once_whether_a_campaign_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    if not known:  # as in a sandbox, or on a file system, that has only the plain lock
        for request in ("F_OFD_SETLK", "F_OFD_GETLK"):
            monkeypatch.setattr(fcntl, request, 9999)
    some, silent = str(tmp_path / "some"), Past(spoke_s_ago=9999.0)
    with running(tmp_path / "some", silent):
        now = overview(some)
        assert (now.condition, now.pid) == (Condition.RUNNING, os.getpid())
        # To have looked is no claim.
        assert overview(some).condition is Condition.RUNNING
        with claimed(tmp_path / "some" / ".lock") as got_it:
            assert not got_it
    assert (overview(some).condition, overview(some).pid) == (Condition.ENDED, None)
    lived(tmp_path / "some", Past(killed=True))
    now = overview(some)
    assert (now.condition, now.pid) == (Condition.KILLED, PID)
    (tmp_path / "some" / ".lock").unlink()
    assert overview(some).condition is Condition.ENDED


def test_a_killed_supervisor_is_seen_at_once(tmp_path: Path) -> None:
    lived(tmp_path / "some", Past())
    program = (
        "import sys; from pathlib import Path; from fuzz.directory.store import Store\n"
        "with Store(Path(sys.argv[1])).claimed():\n    print('at work', flush=True); input()"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "some")]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=CHECKOUT, stdin=pipe, stdout=pipe) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        now = overview(str(tmp_path / "some"))
        assert (now.condition, now.pid) == (Condition.RUNNING, supervisor.pid)
        supervisor.kill()
        supervisor.wait()
        now = overview(str(tmp_path / "some"))
    assert (now.condition, now.pid) == (Condition.KILLED, supervisor.pid)
    assert f"killed (process {supervisor.pid}), no word for " in words_of(now)


def test_workers_of_earlier_runs_count_their_cases_and_are_not_shown(tmp_path: Path) -> None:
    store = lived(tmp_path / "some", Past(workers=3))
    store.configure(msgspec.structs.replace(store.configuration(), workers=1))
    now = overview(str(tmp_path / "some"))
    assert [index for index, _ in now.workers] == [0]
    assert now.snapshot.cases == 3 * 3_600_000


def test_what_all_workers_put_to_the_test_adds_up(tmp_path: Path) -> None:
    lived(tmp_path / "some", Past())
    now = overview(str(tmp_path / "some"))
    assert [each.runs for each in now.coverage.tested] == [2 * each.runs for each in TESTED]
    assert "C1" not in now.coverage.unasked
    assert "C3" in now.coverage.unasked


def test_a_clause_that_was_broken_was_put_to_the_test_sampled_or_not(tmp_path: Path) -> None:
    lived(tmp_path / "some", Past(), finding("C3-gmem_abort-natural", "v7.3", 30.0))
    now = overview(str(tmp_path / "some"))
    assert "C3" in now.coverage.unasked
    assert "C3" not in now.unasked
    assert "contract 3 of 18 clauses put to the test" in words(drawn(now, 120))
    assert status_line(now).clauses_tested == ("C1", "C2", "C3")
    assert status_line(now).clauses_never == now.unasked != ()


def test_without_a_sample_nothing_is_said_of_what_was_never_put_to_the_test(tmp_path: Path) -> None:
    store = lived(tmp_path / "some", Past(workers=1), finding(LEAK, "v7.3", 30.0))
    (store.root / CONTRACT / "0.json").unlink()  # as in the first 30 s
    line = status_line(overview(str(tmp_path / "some")))
    assert (line.clauses_tested, line.clauses_never) == (("C2",), None)


@pytest.mark.parametrize("name", ["", "absent", "file"])
def test_what_is_no_campaign_is_one_line(call: Gff, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    for command in ("status", "report"):
        ended = call(command, name)
        assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
        assert ended.err.startswith(f"gff: {name or 'campaign'}")


def test_a_course_that_is_followed_grows_is_thinned_and_may_be_torn(tmp_path: Path) -> None:
    lived(tmp_path / "some", Past(seconds=10.0))
    path = tmp_path / "some" / STATISTICS
    follower, lines = Follower(path.parent), path.read_bytes().splitlines(keepends=True)
    assert [each.seconds for each in follower.samples()] == [0.0, 5.0, 10.0]
    with path.open("ab") as file:
        file.write(lines[1] + lines[2][:20])
    assert [each.seconds for each in follower.samples()] == [0.0, 5.0, 10.0, 5.0]
    with path.open("ab") as file:
        file.write(lines[2][20:])
    assert [each.seconds for each in follower.samples()] == [0.0, 5.0, 10.0, 5.0, 10.0]
    durable.replace(path, lines[0] + lines[2])
    assert [each.seconds for each in follower.samples()] == [0.0, 10.0]
    held = path.rename(tmp_path / "held")
    assert follower.samples() == []
    held.rename(path)
    assert [each.seconds for each in follower.samples()] == [0.0, 10.0]


# THE SCREEN


@pytest.mark.parametrize("width", [80, 120])
def test_the_screen_fits_and_says_what_matters(tmp_path: Path, width: int) -> None:
    past = Past(restarts=2, waiting=1, differed=3)
    with running(tmp_path / "some", past, finding(LEAK, "v7.3", 30.0)) as store:
        store.record_death("hung-0", b"", "hung")
        shown = drawn(replace(overview(str(tmp_path / "some")), directory=Path("some")), width)
    assert max(map(len, shown.splitlines())) <= width
    for each in [
        f"some: v7.3, strict reading, running (process {os.getpid()}), 1:00:00 in all",
        "cases 7,200,000, 1,000/s each of 2 workers",
        "branches 600 of 700, last new path 10.0 s ago",
        "corpus 1,200 inputs",
        "findings 1, 1 natural",
        "run again 3,600 on a fresh machine, 3 differed (0.08%)",
        "contract 2 of 18 clauses put to the test, in 2 ways; not C3, C4",
        "trouble 2 restarts of workers, see workers/ 1 worker dying again and again, see workers/",
        "1 input that no worker is to run again, see harness/",
        "1 3,600,000 1,000 599 91 MiB v7.3",
        f"59:30 ago {LEAK} on v7.3 -1 ENOMEM",
    ]:
        assert each in words(shown), each
    assert "crashed" not in shown
    # Once it has ended, nobody waits any more.
    assert overview(str(tmp_path / "some")).snapshot.waiting == 0


def test_a_terminal_without_unicode_has_no_bars(tmp_path: Path) -> None:
    lived(tmp_path / "some", Past(), finding(LEAK, "v7.3", 30.0))
    held = io.BytesIO()
    console = Console(file=io.TextIOWrapper(held, encoding="ascii", write_through=True), width=60)
    console.print(screen(overview(str(tmp_path / "some")), console))
    assert b"cases" in held.getvalue()
    assert b"C2-gmem_abort-natural on v7.3" in held.getvalue()


def test_what_a_terminal_would_act_upon_is_escaped(tmp_path: Path) -> None:
    leak = msgspec.structs.replace(finding(LEAK, "v7.3", 30.0), outcome="a\x1b[2Jb")
    store = lived(tmp_path / "some", Past(), leak)
    store.configure(msgspec.structs.replace(store.configuration(), kernels=("v7.3\x1b[2J",)))
    assert "\x1b[2J" not in drawn(overview(str(tmp_path / "some")), 120)


def test_a_campaign_without_samples_has_a_screen(tmp_path: Path) -> None:
    lived(tmp_path / "some", Past(seconds=3.0))
    (tmp_path / "some" / STATISTICS).unlink()
    shown = words(drawn(overview(str(tmp_path / "some")), 80))
    assert "cases 6,000" in shown
    assert "findings none" in shown
    assert "corpus" not in shown


def test_status_says_the_same_of_a_campaign_elsewhere(call: Gff, tmp_path: Path) -> None:
    lived(tmp_path / "some", Past(), finding(LEAK, "v7.3", 30.0))
    ended = call("status", "some", "--watch")
    assert (ended.status, ended.err) == (1, "")
    assert ended.out.startswith("some: v7.3, strict reading, ended, 1:00:00 in all\n")


def test_a_campaign_tells_whether_its_workers_are_compiled(call: Gff, tmp_path: Path) -> None:
    store = lived(tmp_path / "some", Past())
    store.configure(msgspec.structs.replace(store.configuration(), compiled=True))
    assert call("status", "some").out.startswith("some: v7.3, strict reading, compiled, ended, ")
    assert status_line(overview(str(tmp_path / "some"))).compiled
    assert call("report", "some").status == 0
    page = (tmp_path / "some" / "report.html").read_text()
    assert "2, each with all kernels, compiled" in page


def test_status_of_a_campaign_without_findings_is_clean(call: Gff, tmp_path: Path) -> None:
    lived(tmp_path / "some", Past())
    assert call("status", "some").status == 0


def test_status_for_programs_is_one_object(call: Gff, tmp_path: Path) -> None:
    with running(tmp_path / "some", Past(), finding(LEAK, "v7.3", 30.0)):
        ended = call("status", "some", "--json")
    told = msgspec.json.decode(ended.out, type=StatusLine)
    assert (told.campaign, told.condition, told.cases) == ("some", "running", 7_200_000)
    assert told.pid == os.getpid()
    assert (told.quiet_s, told.rerun, told.differed) == (10.0, 3600, 0)
    assert told.clauses_tested == ("C1", "C2")
    assert [each.signature for each in told.findings] == [LEAK]
    assert told.widening == ()


def test_watching_a_campaign_that_has_ended_tells_it_once(call: Gff, tmp_path: Path) -> None:
    lived(tmp_path / "some", Past())
    ended = call("status", "some", "--watch", "--json")
    assert msgspec.json.decode(ended.out, type=StatusLine).condition == "ended"


def test_watching_until_the_end_tells_each_state_once(
    call: Gff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.commands.status.EVERY", 0.0)
    with ExitStack() as campaign:
        campaign.enter_context(running(tmp_path / "some", Past()))
        monkeypatch.setattr("triage.commands.status.time.sleep", lambda _: campaign.close())
        told = call("status", "some", "--watch", "--json").out.splitlines()
    found = [msgspec.json.decode(line, type=StatusLine).condition for line in told]
    assert found == ["running", "ended"]


def test_a_screen_on_a_terminal_is_drawn_in_place_and_taken_away(tmp_path: Path) -> None:
    campaign = ExitStack()
    campaign.enter_context(running(tmp_path / "some", Past()))
    ours, theirs = os.openpty()
    program = "from triage.cli import main; main()"
    started = subprocess.Popen(
        [sys.executable, "-c", program, "status", "some", "--watch"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": "80"},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    told = b""
    while b"3,600,000" not in told:
        told += os.read(ours, 4096)
    started.send_signal(signal.SIGINT)
    with suppress(OSError):  # nobody is left to write there
        while more := os.read(ours, 4096):
            told += more
    out, _ = started.communicate(timeout=20)
    os.close(ours)
    campaign.close()
    assert started.returncode == 0
    assert HIDE in told
    assert told.rindex(SHOW) > told.rindex(b"3,600,000")
    assert told.endswith(ERASED)
    assert out.startswith(b"some: v7.3, strict reading, running")


# THE ADVICE


def test_a_campaign_that_still_finds_something_gets_no_advice(tmp_path: Path) -> None:
    lived(tmp_path / "some", Past())
    assert advice(overview(str(tmp_path / "some"))) == ()


def test_a_quiet_campaign_is_told_what_it_did_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: "installed")
    store = lived(tmp_path / "some", QUIET)
    told = "\n".join(advice(overview(str(tmp_path / "some"))))
    for each in ("--kernel v7.2", "--reading paranoid", "--coverage atheris", "gff exhaust"):
        assert each in told
    every = msgspec.structs.replace(
        store.configuration(), reading="paranoid", coverage="atheris", workers=1024
    )
    store.configure(every)
    told = "\n".join(advice(overview(str(tmp_path / "some"))))
    for each in ("--reading", "--coverage", "--workers"):
        assert each not in told
    assert "nothing new for 40:00" in words(drawn(overview(str(tmp_path / "some")), 80))


def test_what_is_not_installed_is_not_advised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    lived(tmp_path / "some", QUIET)
    assert "atheris" not in "\n".join(advice(overview(str(tmp_path / "some"))))


def test_a_campaign_that_was_always_slow_is_given_time(tmp_path: Path) -> None:
    lived(tmp_path / "some", QUIET)
    now = overview(str(tmp_path / "some"))
    rare = [
        msgspec.structs.replace(each, last_new_s=each.last_new_s // 600 * 600)
        for each in now.samples
    ]
    assert usual_gap(now.samples) == 60.0
    assert usual_gap(rare) == 600.0
    assert advice(replace(now, samples=tuple(rare))) == ()


def test_where_there_is_no_terminal_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.campaign_progress.LISTEN", 0.0)
    lived(tmp_path / "some", QUIET)
    told = Quiet(str(tmp_path / "some"))
    assert told.news()[0] == "nothing new for 40:00; what would widen the search"
    assert told.news() == []
    lived(tmp_path / "some", Past())
    assert told.news() == []
    lived(tmp_path / "some", QUIET)
    assert told.news() != []


# ITS COURSE


def test_evenly_spaced_samples_keep_the_first_and_the_last() -> None:
    past = Past()
    dense = [sample(past, float(second)) for second in (0, 1, 2, 3, 1300, 2500, 3600)]
    chosen = [each.seconds for each in evenly(dense, 4)]
    assert (chosen[0], chosen[-1], len(chosen)) == (0.0, 3600.0, 4)
    assert evenly(dense, 100) == dense


def test_rates_are_between_samples() -> None:
    assert rates([sample(Past(), at) for at in (0.0, 5.0, 5.0, 10.0)]) == [2000.0, 2000.0]


SPARKS: Final = [
    ([], 0.0, ""),
    ([0.0, 0.0], 0.0, "▁▁"),
    ([0.0, 7.0, 14.0], 0.0, "▁▅█"),
    ([90.0, 95.0, 100.0], 90.0, "▁▅█"),
]


@pytest.mark.parametrize(("values", "floor", "bars"), SPARKS, ids=str)
def test_a_spark_line_goes_from_its_floor_to_its_largest(
    values: list[float], floor: float, bars: str
) -> None:
    assert spark(values, floor=floor) == bars
