"""A campaign directory opened: what is a place for one, and who begins it."""

import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import pytest

from fuzz.directory.configuration import FORMAT
from fuzz.directory.opening import begin, create_store, open_store, place
from fuzz.directory.store import StoreError
from tests.command import Gff, campaign
from tests.test_store import NOON, configuration, finding


def _is_a_file(path: Path) -> None:
    path.write_text("a file")


def _is_a_strangers(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("")


def _has_a_lock_of_a_strangers(path: Path) -> None:
    path.mkdir()
    (path / ".lock").write_text("held by backup since May\n")


def _has_a_pipe_for_a_lock(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / ".lock")


def _is_damaged(path: Path) -> None:
    create_store(path, configuration())
    (path / "campaign.json").write_text('{"format": 1, "crea')


def _is_not_utf8(path: Path) -> None:
    path.mkdir()
    (path / "campaign.json").write_bytes(b'{"format": "\xff"}')


def _lacks_a_field(path: Path) -> None:
    path.mkdir()
    (path / "campaign.json").write_text('{"format": 1}')


def _is_of_another_format(path: Path) -> None:
    path.mkdir()
    (path / "campaign.json").write_text('{"format": 7, "kernel": "v9"}')


REFUSED: Final = [
    (_is_a_file, "{path}: a file, where a campaign directory was expected"),
    (_is_a_strangers, "{path}: not empty, and not a campaign: it has no campaign.json"),
    (
        _has_a_lock_of_a_strangers,
        "{path}: not empty, and not a campaign: it has no campaign.json",
    ),
    (_has_a_pipe_for_a_lock, "{path}: not empty, and not a campaign: it has no campaign.json"),
    (_is_damaged, "{path}/campaign.json: damaged: "),
    (_is_not_utf8, "{path}/campaign.json: damaged: "),
    (_lacks_a_field, "{path}/campaign.json: damaged: Object missing required field `created_at`"),
    (
        _is_of_another_format,
        f"{{path}}/campaign.json: format 7, but this version reads format {FORMAT}",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_no_campaign_is_refused_in_one_line(
    tmp_path: Path, make: object, message: str
) -> None:
    assert callable(make)
    path = tmp_path / "campaign"
    make(path)
    with pytest.raises(StoreError) as refusal:
        create_store(path, configuration())
    assert str(refusal.value).startswith(message.format(path=path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["campaign", "campaign.json/campaign"])
def test_only_a_campaign_can_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "campaign.json").write_text("{}")
    with pytest.raises(StoreError, match=r"campaign: not a campaign: it has no campaign\.json"):
        open_store(tmp_path / name)


def test_of_many_that_begin_at_once_one_begins(tmp_path: Path) -> None:
    ready = threading.Barrier(8, timeout=30)

    def try_it(kernel: str) -> str:
        ready.wait()
        store = place(tmp_path / "campaign")
        try:
            with store.claimed():
                assert begin(store, configuration(kernel)) is None
                ready.wait()  # the others have had their turn
        except StoreError as error:
            ready.wait()
            return str(error)
        return kernel

    with ThreadPoolExecutor(8) as threads:
        told = set(threads.map(try_it, [f"k{number}" for number in range(8)]))
    (first,) = open_store(tmp_path / "campaign").configuration().kernels
    assert told == {first, f"{tmp_path}/campaign: another campaign is at work there"}


NO_LOCK: Final[dict[str, Callable[[Path], None]]] = {
    "a symbolic link, not followed": lambda path: path.symlink_to("../thesis.tex"),
    "no plain file": os.mkfifo,
}


@pytest.mark.parametrize("reason", NO_LOCK)
def test_a_lock_that_is_no_plain_file_is_refused_and_left_alone(
    call: Gff, tmp_path: Path, reason: str
) -> None:
    (tmp_path / "thesis.tex").write_text("4711\n")
    NO_LOCK[reason](campaign(tmp_path / "c").root / ".lock")
    for words in (["fuzz", "--cases", "1", "--campaign", "c"], ["corpus", "prune", "c"]):
        ended = call(*words)
        assert (ended.status, ended.out, ended.err) == (2, "", f"gff: c/.lock: {reason}\n")
    told = "".join(call("status", "c").out.split())
    assert f"c/.lock:cannotberead:{reason}".replace(" ", "") in told
    assert (tmp_path / "thesis.tex").read_text() == "4711\n"


def _at_its_lock(path: Path) -> None:
    place(path)
    (path / ".lock").write_text("4711\n")


def _at_its_configuration(path: Path) -> None:
    place(path).configure(configuration())


def _at_its_folders(path: Path) -> None:
    _at_its_configuration(path)
    (path / "findings").mkdir()


@pytest.mark.parametrize("killed", [_at_its_lock, _at_its_configuration, _at_its_folders])
def test_who_is_killed_as_it_begins_is_no_hindrance(
    tmp_path: Path, killed: Callable[[Path], None]
) -> None:
    killed(tmp_path / "campaign")
    store = place(tmp_path / "campaign")
    with store.claimed():
        begin(store, configuration("clean"))
    assert store.has_folders()
    assert store.configuration().kernels == ("clean",)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    parent = Path("/proc/self") if os.geteuid() == 0 else tmp_path
    if parent == tmp_path:
        tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError) as refusal:
        create_store(parent / "campaign", configuration())
    assert str(refusal.value).startswith(f"{parent}/campaign: ")
    assert "\n" not in str(refusal.value)


def test_a_continued_campaign_keeps_its_birthday_and_findings(tmp_path: Path) -> None:
    store = create_store(tmp_path / "campaign", configuration())
    store.record(finding())
    later = msgspec.structs.replace(configuration("clean"), created_at=datetime.now(UTC))
    again = create_store(store.root, later)
    assert again.configuration().created_at == NOON
    assert again.configuration().kernels == ("clean",)
    assert again.findings() == [finding()]
