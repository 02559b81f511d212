"""Every file of a campaign, damaged in every way: one line says so, and the rest is shown."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec
import pytest

from fuzz.campaign.supervisor import run_campaign
from fuzz.directory import durable
from fuzz.directory.mending import mended
from fuzz.directory.opening import open_store
from fuzz.directory.series import samples
from fuzz.directory.shards import sha1
from fuzz.directory.store import Store, StoreError
from tests.campaigns import Past, lived
from tests.command import Gff, finding
from tests.test_campaign import needs_atheris, settings
from triage.campaigns import read_campaign
from triage.ending import Status
from triage.overview import ending, overview
from triage.status_line import StatusLine

LEAK: Final = "v7.3--C2-gmem_abort-natural"
OTHER: Final = "v7.3--C4-gmem_abort-natural"
PAST: Final = Past(seconds=10.0, workers=1)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00{]}\n")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _no_plain_file(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)  # for root too


def _of_another_version(path: Path) -> None:
    path.write_text(json.dumps({"format": 9, "state": "dreamt"}) + "\n")


DAMAGES: Final[dict[str, Callable[[Path], object]]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncated,
    "garbage": _garbage,
    "zeros": _zeros,
    "missing": Path.unlink,
    "no plain file": _no_plain_file,
    "unreadable": _unreadable,
    "of another version": _of_another_version,
}
# What is no more than what it is without: an empty course, a worker that was never there.
HARMLESS: Final = {
    "statistics.jsonl": {"empty", "truncated", "zeros", "missing"},  # no line is whole
    f"findings/{OTHER}.json": {"missing"},
    "workers/0.json": {"missing"},
    "workers/0.seen": {"missing"},
    "contract/0.json": {"missing"},
}
# Files of which no command but ``gff fuzz`` and ``gff run`` reads what is in them.
UNREAD: Final = [
    *(f"findings/{OTHER}.case", "workers/0.log", "workers/0.input", "report.html"),
    *("questions/q.case", "harness/died-x.txt", "harness/died-x.bytes", f"corpus/0/{sha1(b'a')}"),
    "findings/.lock",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A campaign that has one of each file; its course is of two lines, the second torn by half."""
    store = lived(
        tmp_path / "some",
        PAST,
        *(finding(each.split("--")[1], "v7.3", 5.0) for each in (LEAK, OTHER)),
    )
    store.set_seen(0, {LEAK: 7})
    for name in UNREAD:
        path = store.root / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text("a")
    path = store.root / "statistics.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[-1])
    return store.root


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_named_and_the_rest_is_shown(root: Path, damage: str) -> None:
    for name in (*HARMLESS, *UNREAD):
        path, held = root / name, root.parent / "held"
        shutil.copy(path, held)
        DAMAGES[damage](path)
        named = name in HARMLESS and damage not in HARMLESS[name]
        now = overview(str(root))
        assert [name in each for each in now.damaged] == [True] * named, name
        assert LEAK in {each.name for each in now.snapshot.findings}
        assert ending(now) is (Status.USAGE if named else Status.FINDINGS)
        assert read_campaign(str(root)).findings[0].name == LEAK
        path.unlink(missing_ok=True)
        held.rename(path)
    assert overview(str(root)).damaged == ()


@pytest.mark.parametrize("name", HARMLESS)
def test_every_command_tells_of_a_damaged_file_and_ends_with_status_2(
    call: Gff, root: Path, name: str
) -> None:
    _truncated(root / name)
    if name == "statistics.jsonl":  # a torn line is no damage
        (root / name).write_text("{}\n")
    ended = call("status", "some")
    assert (ended.status, ended.err) == (2, "")
    assert f"leftoutsome/{name}:" in "".join(ended.out.split())
    assert "cases 10,000, " in " ".join(ended.out.split())
    assert LEAK.split("--")[1] in ended.out
    told = msgspec.json.decode(call("status", "some", "--json").out, type=StatusLine)
    assert len(told.damaged) == 1
    ended = call("report", "some")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert ended.err.startswith(f"gff: some/{name}: ")
    assert "Damaged files" in (root / "report.html").read_text()
    ended = call("triage", "list", "some")
    listed = name.startswith("findings/") or name.endswith(".seen")
    assert LEAK.split("--")[1] in ended.out
    assert (ended.status, ended.err.count("\n")) == (2 if listed else 1, listed)


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_its_configuration_it_is_no_campaign_that_can_be_shown(
    call: Gff, root: Path, damage: str
) -> None:
    DAMAGES[damage](root / "campaign.json")
    command = ["status", "report", "triage list", "triage show C2"][len(damage) % 4]
    ended = call(*command.split(), "some")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith("gff: some")
    assert "campaign.json" in ended.err
    if damage in ("truncated", "garbage", "empty", "zeros"):
        assert ended.err.endswith("remove it, and what began it goes on\n")


@pytest.mark.parametrize("folder", ["findings", "contract", "workers", "harness", "questions"])
def test_a_folder_that_is_gone_is_named_where_it_matters(
    call: Gff, root: Path, folder: str
) -> None:
    shutil.rmtree(root / folder)
    ended = call("status", "some")
    named = folder in ("findings", "contract", "workers")
    assert ended.status == (2 if named else 1)
    assert (f"some/{folder}: cannot be read: No such file or directory" in ended.out) == named
    assert "strict reading, ended" in ended.out


def test_a_finding_under_another_name_is_none(root: Path) -> None:
    shutil.copy(root / f"findings/{LEAK}.json", root / "findings/copy.json")
    with pytest.raises(StoreError, match=f"copy.json: damaged: holds {LEAK}"):
        open_store(root).findings()


# A CAMPAIGN THAT GOES ON


def test_what_is_damaged_is_set_aside_before_a_campaign_goes_on(root: Path) -> None:
    before = {}
    for name in HARMLESS:
        path = root / name
        path.write_bytes(b"[]\n" + path.read_bytes())
        before[name] = path.read_bytes()
    told = mended(Store(root))
    assert len(told) == 5
    for name, content in before.items():
        assert (root / f"{name}.damaged").read_bytes() == content
        assert any(name in line for line in told)
    assert len(samples(root)) == 1
    assert [each.name for each in Store(root).findings()] == [LEAK]
    assert mended(Store(root)) == []


def test_samples_that_are_whole_are_never_away(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = root / "statistics.jsonl", durable.write
    path.write_bytes(b"[]\n" + path.read_bytes())
    before = path.read_bytes()

    def killed_before(written: Path, content: bytes) -> None:
        if written == path:
            raise KeyboardInterrupt
        write(written, content)

    monkeypatch.setattr(durable, "write", killed_before)
    with pytest.raises(KeyboardInterrupt):
        mended(Store(root))
    assert path.read_bytes() == before


def test_many_damaged_samples_are_told_in_few_lines(root: Path) -> None:
    (root / "statistics.jsonl").write_bytes(b"[]\n" * 1000)
    told = mended(Store(root))
    assert len(told) == 6
    assert told[-1].endswith("statistics.jsonl: 995 more")


def test_a_finding_that_is_damaged_meanwhile_is_set_aside_and_found_again(root: Path) -> None:
    path = root / f"findings/{LEAK}.json"
    path.write_bytes(b"{")
    store = Store(root)
    store.count(LEAK, 3)  # of what cannot be read there is no count
    store.record(finding(LEAK.split("--")[1], "v7.3", 7.0))
    assert path.with_name(f"{path.name}.damaged").read_bytes() == b"{"
    assert {each.name for each in store.findings()} == {LEAK, OTHER}


@needs_atheris
def test_a_campaign_goes_on_with_everything_damaged(root: Path) -> None:
    for name in (*HARMLESS, *UNREAD):
        _no_plain_file(root / name)
    (root / "campaign.json").unlink()
    notes: list[str] = []
    wanted = replace(settings(root), cases=300)
    summary = run_campaign(wanted, lambda _: None, notes.append)
    assert summary.snapshot.cases == 300
    assert sum(OTHER in line for line in notes) == 1
    assert LEAK in {each.name for each in summary.snapshot.findings}


def test_only_what_is_all_of_a_campaign_goes_on_without_its_configuration(
    call: Gff, root: Path
) -> None:
    (root / "campaign.json").unlink()
    shutil.rmtree(root / "corpus")
    ended = call("fuzz", "--campaign", "some", "--cases", "1", "--engine", "plain")
    assert ended.status == 2
    assert ended.err == "gff: some: not empty, and not a campaign: it has no campaign.json\n"
