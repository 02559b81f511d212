"""The corpus: what is an input of ours is known by its name, and nothing else gets to an engine."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest

from fuzz.campaign.resume import FEW, Resume, difference
from fuzz.directory.finding import Standing
from fuzz.directory.opening import create_store
from fuzz.directory.shards import ASIDE, LARGEST, SKIPPED, content, sha1, survey
from fuzz.directory.store import Store
from fuzz.halting import Flag
from fuzz.mutation.mutate import Mutator
from fuzz.search import reduction
from fuzz.search.neighbours import AT_ONCE, Neighbours
from tests.test_store import configuration, finding


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "campaign", configuration())


def put(folder: Path, data: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / sha1(data)
    path.write_bytes(data)
    return path


def strangers(folder: Path) -> list[Path]:
    """One of each kind of what a worker would not put there."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README").write_text("mine")
    huge = put(folder, bytes(LARGEST + 1))
    linked = folder / sha1(b"linked")
    linked.symlink_to("/etc/passwd")
    pipe = folder / sha1(b"pipe")
    os.mkfifo(pipe)
    (folder / "folder").mkdir()
    return sorted([folder / "README", huge, linked, pipe, folder / "folder"])


def read(store: Store, *, aside: bool = False) -> object:
    found = survey(store.corpus, lambda _: None, aside=aside)
    return [sorted(entry.data for entry in found.entries), len(found.doubles), len(found.torn)]


def test_inputs_are_known_by_their_names(store: Store) -> None:
    put(store.shard(0), b"one")
    put(store.shard(0), b"two")
    put(store.shard(10), b"two")
    put(store.corpus, b"three")  # where libFuzzer used to put them
    put(store.corpus / ASIDE, b"four")
    put(store.shard(2), b"torn").write_bytes(b"to")
    assert read(store) == [[b"one", b"three", b"two"], 1, 1]
    assert read(store, aside=True) == [[b"four", b"one", b"three", b"two"], 1, 1]
    assert store.shards() == [store.shard(0), store.shard(2), store.shard(10)]


@pytest.mark.parametrize("place", ["0", "."])
def test_a_strangers_files_are_not_read(store: Store, place: str) -> None:
    put(store.shard(0), b"ours")
    wanted = strangers(store.corpus / place)
    found = survey(store.corpus, lambda _: None, aside=False)
    assert sorted(found.skipped) == wanted
    assert [entry.data for entry in found.entries] == [b"ours"]


def test_an_input_that_is_not_all_there_is_none(tmp_path: Path) -> None:
    path = put(tmp_path, b"whole")
    assert content(path) == b"whole"
    path.write_bytes(b"who")
    assert content(path) is None
    path.unlink()
    assert content(path) is None


# WHAT THE OTHERS FIND


def test_a_worker_gets_what_the_others_find_once(store: Store) -> None:
    put(store.shard(0), b"own")
    put(store.shard(1), b"at the start")
    neighbours = Neighbours(store, 0)
    assert neighbours.gifts() == []
    put(store.shard(1), b"new")
    put(store.shard(2), b"new")
    put(store.shard(0), b"own, too")
    assert neighbours.gifts() == [b"new"]
    assert neighbours.gifts() == []


def test_an_input_that_is_being_written_comes_later(store: Store) -> None:
    neighbours = Neighbours(store, 0)
    path = put(store.shard(1), b"slowly")
    path.write_bytes(b"slo")
    assert neighbours.gifts() == []
    path.write_bytes(b"slowly")
    put(store.shard(1), b"another")
    assert sorted(neighbours.gifts()) == [b"another", b"slowly"]


def test_gifts_come_in_bearable_numbers(store: Store) -> None:
    neighbours = Neighbours(store, 0)
    for number in range(AT_ONCE + 10):
        put(store.shard(1), str(number).encode())
    assert len(neighbours.gifts()) == AT_ONCE
    assert len(neighbours.gifts()) == 10


# GOING ON


class Noted(list[str]):
    """What a resume said."""

    def resume(self, store: Store, *, stopped: bool = False) -> Resume:
        return Resume(store, ("clean",), self.append, Flag(stopped))


def inputs(number: int) -> list[bytes]:
    mutator = Mutator(Random(1))  # noqa: S311 - nothing here is secret
    return list({mutator.mutate(b""): None for _ in range(number)})


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_small_corpus_is_tidied_and_left_as_it_is(store: Store) -> None:
    ours, torn = put(store.shard(0), b"ours"), put(store.shard(1), b"torn")
    torn.write_bytes(b"to")
    double, loose = put(store.shard(1), b"ours"), put(store.corpus, b"loose")
    strangers(store.shard(0))
    strangers(store.corpus)
    noted = Noted()
    noted.resume(store).tidy_corpus(anew=False)
    assert names(store.shard(0)) == {ours.name, loose.name}
    assert not torn.exists()
    assert not double.exists()
    assert len(names(store.corpus / SKIPPED)) == 5
    assert (store.corpus / "README").exists()
    assert noted == [
        "corpus: 1 torn by killed workers, dropped",
        "corpus: 10 not inputs of ours, skipped",
    ]


def test_a_corpus_is_reduced_and_nothing_is_lost(store: Store) -> None:
    given = inputs(2 * FEW)
    for number, data in enumerate(given):
        put(store.shard(number % 3), data)
    noted = Noted()
    noted.resume(store).tidy_corpus(anew=False)
    stay = set().union(*(names(store.shard(number)) for number in range(3)))
    aside = names(store.corpus / ASIDE)
    assert 10 < len(stay) < len(given) / 2
    assert stay.isdisjoint(aside)
    assert stay | aside == set(map(sha1, given))
    assert noted == [f"corpus: {len(stay)} of {len(given)} inputs reach all that all do"]
    # What was set aside for one kernel may be of use for another.
    noted.resume(store).tidy_corpus(anew=True)
    again = set().union(*(names(store.shard(number)) for number in range(3)))
    assert again == stay
    assert names(store.corpus / ASIDE) == aside


def test_a_resume_that_is_stopped_leaves_the_corpus_alone(store: Store) -> None:
    for data in inputs(2 * FEW):
        put(store.shard(0), data)
    before = names(store.shard(0))
    Noted().resume(store, stopped=True).tidy_corpus(anew=False)
    assert names(store.shard(0)) == before


def test_a_corpus_that_cannot_be_reduced_is_taken_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduction, "PATIENCE", 0.0)
    monkeypatch.setattr(reduction, "LOOK_EVERY", 0.0)
    for data in inputs(2 * FEW):
        put(store.shard(0), data)
    before = names(store.shard(0))
    noted = Noted()
    noted.resume(store).tidy_corpus(anew=False)
    assert names(store.shard(0)) == before
    assert noted == ["corpus not reduced: no answer for 0 s: a case may hang the model"]


LEAK = """create gmem0 size=0x1000 flags=mmap
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
memory-limit on
guest read64 slot0+0x0
run
"""


def test_findings_are_judged_again(store: Store) -> None:
    there = finding(text=LEAK)
    gone = finding(text="run\n", site="once")
    moved = finding(text=LEAK, site="elsewhere")
    unknown = msgspec.structs.replace(finding(text=LEAK), kernel="no-longer-modelled")
    foreign = finding(text="a word of another version\n", site="foreign")
    for each in (foreign, there, gone, moved, unknown):
        store.record(each)
    noted = Noted()
    noted.resume(store).judge_again()
    assert {each.name: each.standing for each in store.findings()} == {
        there.name: Standing.THERE,
        gone.name: Standing.GONE,
        foreign.name: Standing.GONE,
        moved.name: Standing.MOVED,
        unknown.name: Standing.THERE,
    }
    (told,) = noted
    assert told == (
        "findings judged again: 2 still there; "
        "gone: v7.3--C2-foreign-natural, v7.3--C2-once-natural; "
        "v7.3--C2-elsewhere-natural is now C2-gmem_abort-natural"
    )


def test_nothing_is_judged_again_for_a_supervisor_that_is_gone(store: Store) -> None:
    words = [sys.executable, "-m", "fuzz.campaign.rejudging", str(store.root), "1"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "the supervisor is gone\n")


def test_a_finding_that_is_seen_again_is_there_with_the_case_that_shows_it(store: Store) -> None:
    gone = msgspec.structs.replace(finding(steps=3, text="small"), standing=Standing.GONE)
    store.record(gone)
    again = store.record(finding(steps=8, text="larger", after=2.0))
    assert (again.standing, again.smallest, again.found_after_s) == (Standing.THERE, "larger", 1.0)
    assert difference([again]) == "findings judged again: 1 still there"
