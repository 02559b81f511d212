"""Several campaigns are a line each, and one that cannot be read hides none of the others."""

import os
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.campaigns import PID, Past, lived, running
from tests.command import Gff, finding
from triage.campaign_list import StatusLines, several

LEAK: Final = finding("C2-gmem_abort-natural", "v7.3", 30.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a campaign that ended, one that was killed, and what is none."""
    lived(tmp_path / "all" / "one", Past(), LEAK)
    lived(tmp_path / "all" / "two", Past(seconds=60.0, killed=True))
    (tmp_path / "all" / "notes").mkdir()
    store = lived(tmp_path / "all" / "x", Past(seconds=10.0))
    store.configure(msgspec.structs.replace(store.configuration(), coverage="exhaust"))
    return tmp_path / "all"


def test_a_folder_of_campaigns_is_a_line_each(call: Gff, folder: Path) -> None:
    with running(folder / "three", Past(seconds=10.0)):
        ended = call("status", "all")
    head, *lines = [line.split() for line in ended.out.splitlines()]
    assert (ended.status, ended.err) == (1, "")
    assert head[:4] == ["campaign", "state", "time", "cases"]
    assert [" ".join(line) for line in lines] == [
        "all/one ended 1:00:00 7,200,000 - 600 1 1 10.0 s",
        f"all/three running {os.getpid()} 10.0 s 20,000 2,000 600 0 0 10.0 s",
        f"all/two killed {PID} 1:00 120,000 - 600 0 0 0.0 s",
    ]


def test_several_that_are_named_are_one_object_for_programs(call: Gff, folder: Path) -> None:
    ended = call("status", "all/one", "all/two", "all/one", "--json")
    told = msgspec.json.decode(ended.out, type=StatusLines)
    assert [(each.campaign, each.condition) for each in told.campaigns] == [
        ("all/one", "ended"),
        ("all/two", "killed"),
    ]
    assert told.unreadable == ()


def test_what_cannot_be_read_is_named_after_the_others(call: Gff, folder: Path) -> None:
    (folder / "two" / "campaign.json").write_text("{")
    (folder / "one" / "workers" / "1.json").write_text("{")
    ended = call("status", "all")
    assert ended.status == 2
    assert ended.out.splitlines()[1].startswith("all/one")
    unreadable, damaged = ended.err.splitlines()
    assert unreadable.startswith("gff: all/two/campaign.json: damaged: ")
    assert damaged.startswith("gff: all/one/workers/1.json: damaged: ")
    assert damaged.endswith("; left out")


@pytest.mark.parametrize("option", [("--watch",), ("--metrics", "0")])
def test_only_one_is_watched(call: Gff, folder: Path, option: tuple[str, ...]) -> None:
    ended = call("status", "all", *option)
    told = f"gff: {option[0]}: expected one campaign, not a list of them (all/one, all/two)\n"
    assert (ended.status, ended.out, ended.err) == (2, "", told)


MEANT: Final = [
    (["all/one"], None),
    (["all"], ["all/one", "all/two"]),
    (["all/one", "all/two"], ["all/one", "all/two"]),
    (["all", "all/x"], ["all/one", "all/two", "all/x"]),
    # Nothing is in there: what is said of one that is no campaign says it all.
    (["all/notes"], None),
    (["absent"], None),
]


@pytest.mark.parametrize(("named", "meant"), MEANT)
def test_which_campaigns_are_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, named: list[str], meant: list[str] | None
) -> None:
    monkeypatch.chdir(folder.parent)
    assert several(named) == meant
