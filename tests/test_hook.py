"""A command is run for each new finding, and whatever it does, the campaign goes on."""

import json
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fuzz.campaign import hook
from fuzz.campaign.hook import LOG, Hook
from fuzz.campaign.status import Snapshot
from fuzz.campaign.supervisor import run_campaign
from fuzz.directory import logs
from fuzz.directory.finding import Finding
from fuzz.directory.opening import open_store
from fuzz.directory.store import Store
from fuzz.halting import Flag
from tests.command import Gff, campaign, finding
from tests.test_campaign import needs_atheris, settings
from tests.test_stopping import is_running
from triage.inputs import command

KNOWN: Final = finding("C2-gmem_abort-natural", "v7.3", 1.0)
NEW: Final = [finding(f"C{n}-gmem_abort-natural", "v7.3", 2.0) for n in (4, 10)]
# Notes its arguments and what it is told in its environment.
NOTES: Final = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("GFF_")}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps([sys.argv[2:], told]) + "\\n")
"""


def called(store: Store, tell: list[str], *words: str, stop: bool = False) -> list[Finding]:
    """A campaign's hook from its beginning to its end, with news in between."""
    some = Hook(words, store, tell.append)
    found = [KNOWN, *NEW]
    some.news(found)
    some.news(found)
    some.tend(time.monotonic())
    some.end(Flag(raised=stop))
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return campaign(tmp_path / "some", KNOWN)


def test_each_new_finding_is_told_once_in_words_and_environment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tell: list[str] = []
    words = (sys.executable, "-c", NOTES, "notes", "{id}", "a b; {case}", "$(x)", "{finding}")
    called(Store(Path("some")), tell, *words)
    assert tell == []
    folder = tmp_path / "some" / "findings"
    for line, each in zip(Path("notes").read_text().splitlines(), NEW, strict=True):
        arguments, told = json.loads(line)
        path, case = str(folder / f"{each.name}.json"), str(folder / f"{each.name}.case")
        assert arguments == [each.name, f"a b; {case}", "$(x)", path]
        assert told == {
            "GFF_ID": each.name,
            "GFF_SIGNATURE": each.signature,
            "GFF_KERNEL": "v7.3",
            "GFF_FINDING": path,
            "GFF_CASE": case,
        }


FAILS: Final = [
    (("false",), "--on-finding false: status 1, for {}; see on-finding.log"),
    (("/nonexistent",), "--on-finding /nonexistent: No such file or directory, for {}; see"),
]


@pytest.mark.parametrize(("words", "told"), FAILS)
def test_what_goes_wrong_is_told_and_the_next_is_called(
    store: Store, words: tuple[str, ...], told: str
) -> None:
    tell: list[str] = []
    called(store, tell, *words)
    assert len(tell) == 2
    for line, each in zip(tell, NEW, strict=True):
        assert line.startswith(told.format(each.name))


def test_what_takes_too_long_is_killed_with_all_that_it_has_started(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "LONGEST", 0.5)
    tell: list[str] = []
    some = Hook(("sh", "-c", f"sleep 100 & echo $! > {tmp_path}/pid; wait"), store, tell.append)
    some.news(NEW[:1])
    while not tell:
        some.tend(time.monotonic())
        time.sleep(0.01)
    assert tell == [f"--on-finding sh: killed after 0 s, for {NEW[0].name}; see {LOG}"]
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_campaign_that_is_told_to_stop_waits_for_none(store: Store) -> None:
    tell: list[str] = []
    before = time.monotonic()
    called(store, tell, "sleep", "100", stop=True)
    assert time.monotonic() - before < 1.0
    assert tell == [
        f"--on-finding sleep: killed at the end of the campaign, for {NEW[0].name}; see {LOG}",
        f"--on-finding: not called for {NEW[1].name}",
    ]


def test_what_it_prints_is_kept(store: Store) -> None:
    called(store, [], "sh", "-c", "echo out; echo err >&2")
    assert (store.root / LOG).read_text() == "out\nerr\n" * 2


FLOODS: Final = [
    ("yes hello | head -c 5000000", False),  # comes to its end
    ("yes hello", True),  # is killed
]


@pytest.mark.parametrize(("text", "stop"), FLOODS)
def test_what_it_prints_is_cut_at_its_end(store: Store, text: str, stop: bool) -> None:
    called(store, [], "sh", "-c", text, stop=stop)
    assert (store.root / LOG).stat().st_size <= logs.MOST
    assert logs.earlier(store.root / LOG).stat().st_size == logs.MOST


def test_what_it_prints_is_cut_while_it_runs(store: Store) -> None:
    some = Hook(("sh", "-c", "yes hello | head -c 5000000; sleep 100"), store, lambda _: None)
    some.news(NEW[:1])
    until = time.monotonic() + 20.0
    while not logs.earlier(store.root / LOG).exists():
        assert time.monotonic() < until
        some.tend(time.monotonic())
        time.sleep(0.01)
    some.end(Flag(raised=True))


@needs_atheris
def test_a_campaign_calls_it_for_what_it_finds(tmp_path: Path) -> None:
    notes: list[str] = []
    words = (sys.executable, "-c", NOTES, str(tmp_path / "notes"))
    wanted = replace(settings(tmp_path / "c"), cases=4000, on_finding=words)
    run_campaign(wanted, lambda _: None, notes.append)
    told = [json.loads(line)[1] for line in (tmp_path / "notes").read_text().splitlines()]
    assert notes == []
    names = [each.name for each in open_store(tmp_path / "c").findings()]
    assert sorted(each["GFF_ID"] for each in told) == sorted(names)
    assert all(Path(each["GFF_FINDING"]).is_file() for each in told)


@needs_atheris
def test_a_campaign_that_breaks_off_leaves_none_behind(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def nobody_listens(_now: Snapshot) -> None:
        if pid.exists() and pid.read_text():
            raise BrokenPipeError

    words = ("sh", "-c", f"echo $$ > {pid}; exec sleep 100")
    with pytest.raises(BrokenPipeError):
        run_campaign(replace(settings(tmp_path / "c"), on_finding=words), nobody_listens)
    assert not is_running(int(pid.read_text()))


KNOWN_ARE: Final = "(known: {id}, {finding}, {case})"
REFUSED: Final = [
    ("", "--on-finding '': expected a command"),
    ("mail 'me", '--on-finding "mail \'me": no closing quotation'),
    (
        "no-such-program {id}",
        "--on-finding 'no-such-program {id}': no such program: no-such-program",
    ),
    (
        "echo {foo} {id",
        f"--on-finding 'echo {{foo}} {{id': unknown placeholder '{{foo}}' {KNOWN_ARE}",
    ),
    (
        "echo {case} x{id",
        f"--on-finding 'echo {{case}} x{{id': unknown placeholder '{{id' {KNOWN_ARE}",
    ),
    ("echo {ID}", f"--on-finding 'echo {{ID}}': unknown placeholder '{{ID}}' {KNOWN_ARE}"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_what_is_no_command_is_one_line(call: Gff, text: str, told: str) -> None:
    ended = call("fuzz", "--on-finding", text, "--cases", "1")
    assert (ended.status, ended.err) == (2, f"gff: {told}\n")
    assert not Path("campaign").exists()


OWN: Final = [
    "{}",
    "{id}/{case}",
    "${HOME}",
    "{{.Names}}",
    "{{foo}}",
    "{ print }",
    "{a,b}",
    "{id: 1}",
]


@pytest.mark.parametrize("word", OWN)
def test_other_braces_are_the_commands_own(word: str) -> None:
    assert command("--on-finding", shlex.join(["echo", word])) == ("echo", word)
