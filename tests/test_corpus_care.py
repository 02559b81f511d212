"""Corpora merged, pruned, and brought from and to other tools' directories."""

import json
import os
from pathlib import Path
from random import Random
from typing import Final

import pytest

from emu import text, wire
from fuzz.directory.shards import sha1
from fuzz.mutation.mutate import Mutator
from fuzz.search.reduction import Limit, most, reduced
from tests.command import LEAK, Gff, campaign, finding
from triage.corpora import Kind, kind_of, read
from triage.ending import Status

KERNELS: Final = ("v7.3",)
LEAKING: Final = wire.encode(text.load(LEAK))
QUIET: Final = wire.encode(text.load("guest read64 0x9000000\nrun\n"))
USELESS: Final = wire.encode(text.load("guest read64 0x9000000\nrun\nguest read64 0x9000000\n"))


def cases(count: int) -> list[bytes]:
    mutator, made = Mutator(Random(7)), [b""]  # noqa: S311 - nothing here is secret
    while len(made) <= count:
        made.append(mutator.mutate(made[-1]))
    return list(dict.fromkeys(made[1:]))


def put(folder: Path, *inputs: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / sha1(data)).write_bytes(data)
    return folder


def told(gff: Gff, *words: str) -> dict[str, object]:
    ended = gff("corpus", *words, "--json")
    assert ended.status is Status.CLEAN, ended.err
    made: dict[str, object] = json.loads(ended.out)
    return made


# WHAT IS KEPT


def test_the_fewest_do_not_depend_on_the_order_and_are_reduced_already() -> None:
    given = cases(200)
    once = reduced(given, KERNELS)
    kept = [given[place] for place in once.kept]
    assert 0 < len(kept) < len(given) / 2
    backward = given[::-1]
    assert {backward[place] for place in reduced(backward, KERNELS).kept} == set(kept)
    again = reduced(kept, KERNELS)
    assert (len(again.kept), again.features) == (len(kept), once.features)


def test_what_is_held_counts_and_is_no_candidate() -> None:
    assert reduced([QUIET, LEAKING], KERNELS).kept == (0, 1)
    assert reduced([QUIET, LEAKING], KERNELS, held=[QUIET]).kept == (1,)


def test_a_limit_leaves_what_reaches_most() -> None:
    # The first two together reach as much as the third, which is one case more.
    reached = (0b0000_0111, 0b0011_1000, 0b0001_1111, 0b0111_0000)
    assert most(reached, (1, 1, 1, 1), Limit(cases=1)) == [2]
    assert most(reached, (1, 1, 1, 1), Limit(cases=2)) == [2, 3]
    assert most(reached, (1, 1, 9, 1), Limit(size=3)) == [0, 1, 3]
    assert most(reached, (1, 1, 1, 1), Limit()) == [2, 3]


# MERGE AND PRUNE


def test_merging_adds_what_reaches_more_and_leaves_the_rest(call: Gff, tmp_path: Path) -> None:
    put(tmp_path / "one", QUIET)
    put(tmp_path / "two", QUIET, LEAKING, USELESS)
    made = told(call, "merge", "one", "two", "into")
    assert (made["files"], made["cases"], made["new"], made["useless"]) == (4, 3, 2, 1)
    assert {path.read_bytes() for path in (tmp_path / "into").iterdir()} == {QUIET, LEAKING}
    again = told(call, "merge", "one", "two", "into")
    assert (again["new"], again["features"]) == (0, made["features"])


def test_merging_into_a_campaign_goes_by_its_kernels(call: Gff, tmp_path: Path) -> None:
    store = campaign(tmp_path / "c", finding("C2-gmem_abort-natural", "v7.3", 1.0))
    put(tmp_path / "new", QUIET, LEAKING)
    assert told(call, "merge", "new", "c")["new"] == 1  # the finding's case is there already
    assert (store.corpus / sha1(QUIET)).read_bytes() == QUIET


def test_pruning_removes_what_adds_nothing_and_only_says_so_when_dry(
    call: Gff, tmp_path: Path
) -> None:
    folder = put(tmp_path / "here", QUIET, LEAKING, USELESS)
    assert told(call, "prune", "here", "--dry-run")["gone"] == 1
    assert len(list(folder.iterdir())) == 3
    assert told(call, "prune", "here")["gone"] == 1
    assert {path.read_bytes() for path in folder.iterdir()} == {QUIET, LEAKING}
    assert told(call, "prune", "here", "--max-cases", "1")["stay"] == 1
    assert [path.read_bytes() for path in folder.iterdir()] == [LEAKING]


def test_a_case_file_that_expects_outcomes_is_never_pruned(call: Gff, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    expecting = f"{LEAK}---\nclaim clean\n  run 1: 0 MMIO doorbell\n"
    (tmp_path / "d" / "known.case").write_text(expecting)
    (tmp_path / "d" / "same.case").write_text(LEAK)
    made = told(call, "prune", "d", "--max-cases", "1")
    assert (made["gone"], made["expecting"]) == (1, 1)
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["known.case"]


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--json",)])
def test_a_directory_of_somebody_elses_files_is_not_pruned(
    call: Gff, tmp_path: Path, more: tuple[str, ...]
) -> None:
    folder = put(tmp_path / "docs", QUIET, USELESS)
    (folder / "guide.md").write_text("# How to\n")
    (folder / "guide2.md").write_text("# How to\n")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ended = call("corpus", "prune", "docs", *more)
    assert (ended.status, ended.out) == (Status.USAGE, "")
    assert ended.err == (
        "gff: docs: taken for kind libfuzzer, where every file is an input;"
        " docs/guide.md is none, so nothing is removed\n"
    )
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


# What may lie in a plain directory that is pruned, and what may not.
LYING_THERE: Final = [
    ("renamed", USELESS, True),
    (sha1(b"havoc"), b"havoc", True),
    (sha1(b""), b"", True),
    ("renamed", USELESS + b"torn", False),
    ("0" * 40, b"havoc", False),
    ("empty", b"", False),
    ("large", bytes(1 << 21), False),
]


@pytest.mark.parametrize(("name", "content", "pruned"), LYING_THERE)
def test_an_input_is_told_by_its_name_or_by_its_bytes(
    call: Gff, tmp_path: Path, name: str, content: bytes, pruned: bool
) -> None:
    folder = put(tmp_path / "here", QUIET, LEAKING)
    (folder / name).write_bytes(content)
    assert (call("corpus", "prune", "here").status is Status.CLEAN) == pruned
    # What is empty was no case, so it is not among those that may go.
    assert (folder / name).exists() == (not pruned or not content)


def test_what_no_worker_has_put_into_a_campaign_is_not_pruned(call: Gff, tmp_path: Path) -> None:
    shard = put(campaign(tmp_path / "c").shard(0), QUIET, LEAKING, USELESS)
    (shard / "notes").write_bytes(USELESS + b"mine")
    (shard / "own.case").write_text(LEAK)
    assert told(call, "prune", "c")["gone"] == 1
    stay = {"notes", "own.case", sha1(QUIET), sha1(LEAKING)}
    assert {path.name for path in shard.iterdir()} == stay


def test_merging_into_a_directory_leaves_all_that_is_there(call: Gff, tmp_path: Path) -> None:
    put(tmp_path / "new", QUIET, LEAKING)
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "guide.md").write_text("# How to\n")
    (docs / sha1(LEAKING)).symlink_to("gone")
    ended = call("corpus", "merge", "new", "docs")
    assert "another file of that name is there" in ended.out
    assert (docs / "guide.md").read_text() == "# How to\n"
    assert (docs / sha1(LEAKING)).readlink() == Path("gone")
    assert call("corpus", "import", "new", "docs").status is Status.USAGE
    assert len(list(docs.iterdir())) == 3


def test_a_campaign_at_work_is_left_alone(call: Gff, tmp_path: Path) -> None:
    with campaign(tmp_path / "c").claimed():
        ended = call("corpus", "prune", "c")
    assert ended.status is Status.USAGE
    assert "another campaign is at work there" in ended.err


# OTHER TOOLS


def test_a_campaign_goes_to_afl_and_back_as_case_files(call: Gff, tmp_path: Path) -> None:
    put(campaign(tmp_path / "c").shard(0), QUIET, LEAKING)
    assert told(call, "export", "c", "afl", "--as", "afl")["new"] == 2
    names = sorted(path.name[:9] for path in (tmp_path / "afl" / "queue").iterdir())
    assert names == ["id:000000", "id:000001"]
    assert kind_of(tmp_path / "afl") is Kind.AFL
    assert told(call, "import", "afl", "cases")["kind"] == "case"
    back = read(tmp_path / "cases").entries
    assert {entry.data for entry in back} == {QUIET, LEAKING}
    assert told(call, "export", "cases", "plain")["new"] == 2
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {sha1(QUIET), sha1(LEAKING)}


def test_an_input_of_afls_own_making_is_read_as_far_as_it_goes(call: Gff, tmp_path: Path) -> None:
    queue = tmp_path / "out" / "main" / "queue"
    queue.mkdir(parents=True)
    (queue / "id:000007,src:000001,op:havoc").write_bytes(LEAKING + b"torn")
    (queue.parent / "fuzzer_stats").write_text("execs_done : 1\n")
    made = told(call, "import", "out", "cases")
    assert (made["files"], made["new"], made["reshaped"]) == (1, 1, 1)
    (entry,) = read(tmp_path / "cases").entries
    assert entry.data == LEAKING


def test_what_afl_has_found_is_never_pruned(call: Gff, tmp_path: Path) -> None:
    for folder in ("queue", "crashes", "hangs"):
        (tmp_path / "out" / "main" / folder).mkdir(parents=True)
        for number, data in enumerate((QUIET, USELESS)):
            (tmp_path / "out" / "main" / folder / f"id:{number:06}").write_bytes(data)
    done = told(call, "prune", "out")
    assert (done["kind"], done["stay"], done["gone"], done["found"]) == ("afl", 1, 1, 4)
    left = sorted(f"{path.parent.name} {path.name[-1]}" for path in tmp_path.rglob("id:*"))
    # Nor is an input useless because a crash reaches as much.
    assert left == ["crashes 0", "crashes 1", "hangs 0", "hangs 1", "queue 0"]
    assert told(call, "prune", "out/main/crashes")["gone"] == 0
    assert "4 files in crashes/ and hangs/ stay for that" in call("corpus", "prune", "out").out


def test_bad_files_are_counted_and_named_and_the_others_taken(call: Gff, tmp_path: Path) -> None:
    folder = put(tmp_path / "stranger", LEAKING)
    (folder / "empty").touch()
    (folder / "huge").write_bytes(bytes(1 << 21))
    (folder / "link").symlink_to(sha1(LEAKING))
    os.mkfifo(folder / "pipe")
    ended = call("corpus", "export", "stranger", "plain")
    assert ended.status is Status.USAGE
    assert ended.out.splitlines() == [
        "5 files, 1 case: 1 new",
        "not taken: stranger/empty: empty",
        "not taken: stranger/huge: larger than 1 MiB, which no case is",
        "not taken: stranger/link: a link",
        "not taken: stranger/pipe: no plain file",
    ]


def test_an_input_of_which_a_worker_died_is_not_run_again(call: Gff, tmp_path: Path) -> None:
    store = campaign(tmp_path / "c")
    put(store.shard(0), QUIET, LEAKING)
    store.record_death("somehow", LEAKING, "died by signal 9")
    ended = call("corpus", "merge", "c", "plain")
    assert ended.out.splitlines()[0] == "2 files, 1 case: 1 new"
    assert ended.out.splitlines()[-1].endswith(f"{sha1(LEAKING)}: a worker died of it")


def test_files_of_another_kind_are_left_aside_and_counted(call: Gff, tmp_path: Path) -> None:
    folder = put(tmp_path / "dirty", QUIET, LEAKING)
    (folder / "one.case").write_text(LEAK)
    ended = call("corpus", "import", "dirty", "new")
    assert ended.out.splitlines() == [
        "1 file, 1 case: 1 new",
        "dirty: taken for kind case, 2 other files left aside",
    ]
    aside = [{"folder": "dirty", "kind": "case", "files": 2}]
    assert told(call, "export", "dirty", "plain")["aside"] == aside


@pytest.mark.parametrize("words", [("import", "dirty", "new"), ("merge", "dirty", "new")])
def test_nothing_taken_but_files_left_aside_is_no_success(
    call: Gff, tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = put(tmp_path / "dirty", QUIET, LEAKING)
    (folder / "wrong.case").write_text("nonsense\n")
    ended = call("corpus", *words)
    assert ended.status is Status.USAGE
    assert ended.err.startswith("gff: dirty: taken for kind case, without a case (dirty/wrong.case")
    assert ended.err.endswith("; 2 other files left aside\n")
    assert not (tmp_path / "new").exists()


def test_a_case_without_room_in_bytes_is_told_in_its_own_words(call: Gff, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    step = "memslot 0 gpa=0x40000000 size=0x1000 mem0+0x7000000000 gmem0+0x0 flags=guest-memfd"
    (tmp_path / "d" / "wide.case").write_text(f"run\n{step}\n")
    (bad,) = read(tmp_path / "d").bad
    assert bad.reason == f"no room in bytes for step 2: {step}"


def test_a_case_file_that_is_wrong_is_named_with_its_line(call: Gff, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "wrong.case").write_text("run\nnonsense\n")
    (tmp_path / "d" / "right.case").write_text(LEAK)
    ended = call("corpus", "export", "d", "plain")
    assert "2 files, 1 case: 1 new" in ended.out
    assert "not taken: d/wrong.case: 2:" in ended.out


def test_a_case_too_long_for_a_worker_does_not_go_into_a_campaign(
    call: Gff, tmp_path: Path
) -> None:
    campaign(tmp_path / "c")
    put(tmp_path / "long", wire.encode(text.load("run\n" * 250)), QUIET)
    ended = call("corpus", "import", "long", "c")
    assert "2 files, 2 cases: 1 new" in ended.out
    assert "longer than a campaign's cases" in ended.out


def test_nothing_is_overwritten_and_that_is_said(call: Gff, tmp_path: Path) -> None:
    for name, content in (("from", LEAK), ("into", "run\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.case").write_text(content)
    ended = call("corpus", "import", "from", "into")
    assert ended.out == "1 file, 1 case: 1 new, 1 of them renamed, the name was taken\n"
    assert (tmp_path / "into" / "a.case").read_text() == "run\n"
    (other,) = (tmp_path / "into").glob("a-*.case")
    assert other.read_text() == LEAK
    other.write_text("run\nrun\n")
    ended = call("corpus", "import", "from", "into")
    assert "not taken: into/a.case: another file of that name is there" in ended.out
    assert other.read_text() == "run\nrun\n"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("merge", "one"), "expected one or more directories of cases, and the one to write to"),
        (("merge", "absent", "into"), "absent: expected a directory of cases"),
        (("prune", "absent"), "absent: expected a directory of cases"),
        (("merge", "one", "into", "--as", "casse"), "unknown kind 'casse', did you mean case?"),
        (("export", "one", "into", "--as", "foo"), "'foo' (known: case, libfuzzer, afl)"),
        (("merge", "one", "into", "--as", "campaign"), "into: no campaign there"),
        (("export", "one", "one", "--as", "afl"), "one: is libfuzzer, not afl"),
        (("import", "one", "one"), "one: holds files of bytes"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(
    call: Gff, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    put(tmp_path / "one", QUIET)
    ended = call("corpus", *words)
    assert ended.status is Status.USAGE
    assert reason in ended.err
    assert ended.err.count("\n") == 1
