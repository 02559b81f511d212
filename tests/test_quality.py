import json
from pathlib import Path

import msgspec
import pytest

from fuzz.measuring.quality import WAYS, append, figures, interval, load, planned
from fuzz.measuring.trial import Result, Trial, Way
from tests.command import Gff
from triage.ending import Status
from triage.quality_text import quality


def result(cases: int, *, found: bool = True, seed: int = 1, kernel: str = "k") -> Result:
    trial = Trial(kernel, Way.GUIDED, seed, 60.0)
    return Result(trial, found, cases, cases / 1000, "C2-x-natural" if found else "")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, (0, 0)),
        (5, (0, 4)),  # 93.75 %: there is nothing better
        (6, (0, 5)),  # 96.9 %
        (8, (0, 7)),
        (9, (1, 7)),  # 96.1 %
        (20, (5, 14)),  # 95.9 %, as tables of the sign test have it
        (100, (39, 60)),
    ],
)
def test_the_interval_is_that_of_the_sign_test(count: int, expected: tuple[int, int]) -> None:
    assert interval(count) == expected


def test_the_median_and_its_interval_come_from_the_order() -> None:
    found = figures([result(cases) for cases in (30, 10, 20, 60, 50, 40)])
    assert (found.trials, found.found, found.cases, found.low, found.high) == (6, 6, 35, 10, 60)


def test_a_trial_that_was_given_up_counts_as_more_than_any_other() -> None:
    found = figures([result(10), result(20), result(5, found=False)])
    assert (found.found, found.cases, found.high) == (2, 20, None)
    none = figures([result(5, found=False), result(6, found=False)])
    assert (none.found, none.cases, none.low) == (0, None, None)


@pytest.mark.parametrize(("count", "shown"), [(1, None), (5, None), (6, "10 to 60")])
def test_an_interval_is_shown_from_six_trials_on(count: int, shown: str | None) -> None:
    (line,) = quality([result(10 * each) for each in range(1, count + 1)], count).lines
    assert line.interval == shown
    assert json.loads(msgspec.json.encode(line))["interval"] == shown
    assert line.cells[4] == (shown or "-")


def test_every_kernel_has_as_many_trials_at_any_time() -> None:
    plan = list(planned(("a", "b"), WAYS, 2, 60.0))
    assert [(trial.kernel, trial.seed) for trial in plan[:4]] == [
        ("a", 1),
        ("a", 1),
        ("b", 1),
        ("b", 1),
    ]
    assert len(set(plan)) == len(plan) == 8


def test_results_are_added_and_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "quality.jsonl"
    assert load(path) == []
    first, second = result(1, seed=1), result(2, seed=2)
    append(path, first)
    with path.open("ab") as file:
        file.write(b'{"trial":{"ker')
    assert load(path) == [first]
    append(path, second)
    assert load(path) == [first, second]


def test_a_file_of_something_else_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "quality.jsonl"
    path.write_text("hello\n")
    with pytest.raises(msgspec.MsgspecError):
        load(path)


def test_a_known_bad_kernel_is_found_and_its_results_are_used_again(
    call: Gff, tmp_path: Path
) -> None:
    words = ("quality", "-k", "bad-size-zero", "--trials", "1", "--workers", "2", "--json")
    ended = call(*words, "--results", "q.jsonl")
    assert ended.status is Status.CLEAN
    lines = json.loads(ended.out)["lines"]
    assert [(line["way"], line["found"]) for line in lines] == [("guided", 1), ("unguided", 1)]
    before = (tmp_path / "q.jsonl").read_bytes()
    assert json.loads(call(*words, "--results", "q.jsonl").out)["lines"] == lines
    assert (tmp_path / "q.jsonl").read_bytes() == before


def test_a_kernel_that_is_never_found_is_told(call: Gff) -> None:
    ended = call("quality", "-k", "clean", "--trials", "1", "--limit", "0.5s", "--json")
    assert ended.status is Status.FINDINGS
    assert json.loads(ended.out)["lines"][0]["median"] == "not found"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--results", "bad.jsonl"), "bad.jsonl: not a file of results"),
        (("--results", "no/where.jsonl"), "no/where.jsonl"),
        (("--trials", "0"), "--trials 0: at least 1"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(
    call: Gff, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "bad.jsonl").write_text("hello\n")
    ended = call("quality", "-k", "bad-size-zero", "--trials", "1", *words)
    assert ended.status is Status.USAGE
    assert reason in ended.err


def test_every_way_of_searching_finds_a_kernel_that_breaks_at_once(call: Gff) -> None:
    ways = [word for way in Way for word in ("--way", way.value)]
    words = ("-k", "bad-argument-reason", "--trials", "1", "--limit", "60s", "--workers", "4")
    ended = call("quality", *words, *ways, "--json")
    assert ended.status is Status.CLEAN, ended.err
    shown = json.loads(ended.out)
    assert [(line["way"], line["found"]) for line in shown["lines"]] == [
        (way.value, 1) for way in Way
    ]


def test_a_sum_is_of_all_kernels_or_not_at_all() -> None:
    found, not_found = result(10, kernel="a"), result(99, kernel="b", found=False)
    (total,) = quality([found, not_found], 2).totals
    assert (total.kernels, total.found, total.cases) == (2, 1, None)
    (total,) = quality([found, result(30, kernel="b")], 2).totals
    assert (total.found, total.cases, total.seconds) == (2, 40, 0.04)


def test_an_unknown_way_is_refused(call: Gff) -> None:
    ended = call("quality", "--way", "guide")
    assert ended.status is Status.USAGE
    assert "unknown way of searching 'guide', did you mean guided?" in ended.err


def test_the_comparison_needs_hypothesis_and_says_so(
    call: Gff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    ended = call("quality", "--compare")
    assert ended.status is Status.MISSING
    assert ended.err.count("\n") == 1
    assert "hypothesis is not installed" in ended.err
