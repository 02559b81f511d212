"""The corpus against the model, and the two commands that compare and rewrite expectations."""

from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu import casefile
from emu.kernels import CATALOGUE, KERNELS, Kind
from emu.model import Model
from tests.command import LEAK, Gff
from triage.case_input import read_case_file
from triage.corpus import bless, check
from triage.corpus_files import case_files, corpus_dir
from triage.replay import replay

CORPUS: Final = case_files(corpus_dir())

SEEN: Final = "-1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0"
TRUE: Final = f"---\nobserved v7.3\n  run 1: {SEEN}  ! C2\n"


ALWAYS_NAMED: Final = {
    name for name, entry in CATALOGUE.items() if entry.kind not in (Kind.KNOWN_BAD, Kind.TWIN)
}


def _named(file: casefile.CaseFile) -> set[str]:
    return {kernel for group in file.expectations for kernel in group.kernels}


@pytest.fixture(scope="module")
def model() -> Model:
    """One machine for all files."""
    return Model()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: str(path.relative_to(corpus_dir())))
def test_the_model_does_what_the_corpus_expects_of_every_kernel(path: Path, model: Model) -> None:
    file = read_case_file(str(path))
    assert _named(file) >= ALWAYS_NAMED
    assert check(path.name, file, list(KERNELS), lambda *each: replay(model, *each)) == []


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: str(path.relative_to(corpus_dir())))
def test_blessing_the_corpus_changes_nothing(path: Path, model: Model) -> None:
    file = read_case_file(str(path))
    blessing, new = bless(path.name, file, lambda *each: replay(model, *each))
    assert blessing.refused == ()
    assert casefile.dump(new) == path.read_text()


def test_blessing_what_is_blessed_writes_nothing(call: Gff) -> None:
    path = CORPUS[0]
    copy = Path(path.name)
    copy.write_bytes(path.read_bytes())
    assert call("corpus", "bless", path.name) == (0, f"{path.name}: unchanged\n", "")
    assert copy.read_bytes() == path.read_bytes()


def test_the_whole_corpus_is_checked_where_nothing_is_named(call: Gff) -> None:
    ended = call("corpus", "check", "--json")
    made = msgspec.json.decode(ended.out, type=dict[str, object])
    assert ended.status == 0
    assert (made["files"], made["mismatches"], made["silent"]) == (len(CORPUS), [], [])
    assert made["replays"] == sum(len(_named(read_case_file(str(path)))) for path in CORPUS)


def test_a_mismatch_is_shown_as_a_difference(call: Gff, leak: Path) -> None:
    leak.write_text(LEAK + TRUE.replace("ENOMEM", "EIO"))
    ended = call("corpus", "check", "leak.case")
    assert ended.status == 1
    assert ended.out.splitlines() == [
        "leak.case on v7.3 (observed)",
        f"- run 1: {SEEN.replace('ENOMEM', 'EIO')}  ! C2",
        f"+ run 1: {SEEN}  ! C2",
        "1 file, 1 replay: 1 not as expected",
    ]


def test_a_refusal_that_nobody_expected_is_a_mismatch(call: Gff, leak: Path) -> None:
    leak.write_text("memslot 0 gpa=0x1 size=0x1000\n---\nclaim clean\n")
    ended = call("corpus", "check", "leak.case")
    assert ended.status == 1
    assert "+ step 1: EINVAL" in ended.out


def test_kernels_that_are_not_asked_for_are_not_replayed(call: Gff, leak: Path) -> None:
    leak.write_text(LEAK + TRUE.replace("ENOMEM", "EIO"))
    Path("other.case").write_text(f"{LEAK}---\nclaim clean\n  run 1: 0 MMIO doorbell\n")
    ended = call("corpus", "check", "leak.case", "other.case", "--kernel", "clean")
    assert "leak.case on" not in ended.out
    assert "leak.case: expects nothing of these kernels" in ended.out
    assert "2 files, 1 replay: 1 not as expected" in ended.out


def test_run_compares_with_what_the_file_expects(call: Gff, leak: Path) -> None:
    leak.write_text(LEAK + TRUE)
    ended = call("run", "leak.case", "--reading", "documented")
    assert ended.status == 0
    assert "observed; record fresh" in ended.out
    assert ended.out.endswith("As the file expects.\n")

    leak.write_text(LEAK + TRUE.replace("ENOMEM", "EIO"))
    ended = call("run", "leak.case", "--reading", "documented")
    assert ended.status == 1
    assert "claim (model); record fresh" in ended.out
    assert f"- run 1: {SEEN.replace('ENOMEM', 'EIO')}  ! C2\n+ run 1: {SEEN}  ! C2\n" in ended.out


def test_blessing_adds_every_kernel_as_a_claim(call: Gff, leak: Path) -> None:
    leak.write_text("# a comment\n\n" + LEAK)
    ended = call("corpus", "bless", "leak.case")
    file = casefile.load(leak.read_text())
    assert (ended.status, ended.out) == (0, f"leak.case: {len(_named(file))} kernels added\n")
    assert {group.basis for group in file.expectations} == {casefile.Basis.CLAIM}
    assert _named(file) >= ALWAYS_NAMED
    assert leak.read_text().startswith("# a comment\n\n" + LEAK + "---\n")
    assert call("corpus", "check", "leak.case").status == 0
    assert call("corpus", "bless", "leak.case").out == "leak.case: unchanged\n"


def test_a_known_bad_kernel_or_a_twin_is_named_where_it_differs_from_clean(
    call: Gff, leak: Path, model: Model
) -> None:
    call("corpus", "bless", "leak.case")
    file = casefile.load(leak.read_text())
    clean = replay(model, file.case, "clean")
    for kernel in set(KERNELS) - ALWAYS_NAMED:
        assert (kernel in _named(file)) == (replay(model, file.case, kernel) != clean)
    assert "bad-raw-errno" in _named(file)
    assert "bad-walk-mmio" not in _named(file)


def test_blessing_keeps_what_was_observed_where_the_model_agrees(call: Gff, leak: Path) -> None:
    leak.write_text(LEAK + TRUE)
    ended = call("corpus", "bless", "leak.case")
    added = len(_named(casefile.load(leak.read_text()))) - 1
    assert ended.out == f"leak.case: {added} kernels added\n"
    assert leak.read_text().startswith(LEAK + TRUE)


def test_blessing_never_changes_what_was_observed(call: Gff, leak: Path) -> None:
    observed = LEAK + TRUE.replace("ENOMEM", "EIO")
    leak.write_text(observed)
    ended = call("corpus", "bless", "leak.case")
    assert ended.status == 1
    assert f"- run 1: {SEEN.replace('ENOMEM', 'EIO')}" in ended.out
    assert f"+ run 1: {SEEN}" in ended.out
    assert "left as it is" in ended.out
    assert leak.read_text() == observed


def test_blessing_rewrites_the_clauses_of_what_was_observed(call: Gff, leak: Path) -> None:
    leak.write_text(LEAK + TRUE.replace("! C2", "! C4"))
    ended = call("corpus", "bless", "leak.case")
    assert ended.status == 0
    assert leak.read_text().startswith(LEAK + TRUE)


@pytest.mark.parametrize("basis", ["claim", "inferred"])
def test_blessing_makes_claims_of_outcomes_that_changed(call: Gff, leak: Path, basis: str) -> None:
    leak.write_text(LEAK + TRUE.replace("observed", basis).replace("ENOMEM", "EIO"))
    ended = call("corpus", "bless", "leak.case")
    assert "1 kernel rewritten" in ended.out
    group = casefile.load(leak.read_text()).expected_of("v7.3")
    assert group is not None
    assert group.basis is casefile.Basis.CLAIM
    assert str(group.lines[0]).count("ENOMEM") == 1


def test_what_was_inferred_stays_so_where_the_model_agrees(call: Gff, leak: Path) -> None:
    leak.write_text(LEAK + TRUE.replace("observed", "inferred"))
    call("corpus", "bless", "leak.case")
    assert f"\ninferred v7.3\n  run 1: {SEEN}  ! C2\n" in leak.read_text()


def test_one_wrong_file_keeps_every_file_as_it_is(call: Gff, leak: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong.case").write_text("nonsense\n")
    assert call("corpus", "bless", "leak.case", "wrong.case").status == 2
    assert leak.read_text() == LEAK
