"""The bench measures what it says it measures."""

import os
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import msgspec
import pytest

from emu.cpu import Cpu, Exit
from emu.kernels import KERNELS
from emu.model import Model
from fuzz.campaign.status import Snapshot
from fuzz.processes import SOURCE
from tests.command import Gff
from triage import bench
from triage.bench import FORMAT, Bench, Campaign, Cores, Machine, Memory, core_counts
from triage.bench_text import report
from triage.ending import Status
from triage.screen import console
from triage.speed import CASE, RUNS, Layer, entries, layers


def test_the_bare_emulator_makes_the_same_guest_entries_as_the_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, exits = Model(), list[Exit]()
    enter = Cpu.enter

    def watched(cpu: Cpu) -> Exit:
        exits.append(enter(cpu))
        return exits[-1]

    monkeypatch.setattr(Cpu, "enter", watched)
    outcomes = model.run(CASE, KERNELS["v7.3"])
    modelled = exits.copy()
    exits.clear()
    assert entries(model.cpu) == modelled
    assert len(outcomes.runs) == RUNS


def test_the_emulator_alone_costs_less_than_what_is_built_on_it() -> None:
    # The two upper layers are too close for a machine that is busy with other things.
    alone, modelled, whole = (layer.us_per_case for layer in layers(rounds=5, cases=100))
    assert 0 < alone < min(modelled, whole)


def kept(ratio: float) -> Bench:
    return Bench(
        format=FORMAT,
        at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        machine=Machine("a cpu", 2, "Linux", "CPython 3.11", {"unicorn": "2.1.4"}),
        rounds=1,
        cases_per_round=1,
        kvm_runs_per_case=3,
        layers=(Layer("alone", 10.0), Layer("whole", 10.0 * ratio)),
        ratios=(1.0, ratio),
        campaign=None,
        cores=(Cores(1, 1.0, 1.0), Cores(2, 1.8, 0.9 * ratio)),
        memory=(Memory(100, 60), Memory(200, 66)),
        live=(),
    )


def test_figures_are_shown_beside_earlier_ones() -> None:
    stream = StringIO()
    console(stream).print(report(kept(3.0), kept(2.0)))
    shown = [line.split() for line in stream.getvalue().splitlines()]
    assert ["whole", "30.0", "10.00", "33,333", "3.00", "2.00", "+50", "%"] in shown
    assert ["2", "1.80x", "2.70x", "1.50", "1.00", "+50", "%"] in shown
    assert ["2/4", "200", "66", "66", "+0", "%"] in shown
    assert "the same machine and versions" in stream.getvalue()
    alone = StringIO()
    console(alone).print(report(kept(3.0), None))
    assert "earlier" in stream.getvalue()
    assert "earlier" not in alone.getvalue()


def test_figures_of_compiled_code_are_told_from_those_of_the_source() -> None:
    stream = StringIO()
    compiled = msgspec.structs.replace(kept(3.0), compiled=True)
    console(stream).print(report(kept(3.0), compiled))
    shown = " ".join(stream.getvalue().split())  # a long line is folded
    assert "same machine" not in shown
    assert shown.count("; compiled") == 1


def test_a_short_bench_keeps_its_figures(
    call: Gff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.commands.bench.layers_of", lambda _: layers(rounds=1, cases=50))
    # A campaign of some seconds may not come to a case where others are at work.
    worked = Campaign(1.0, 100, 100.0, "plain")
    monkeypatch.setattr("triage.commands.bench.campaign", lambda *_: worked)
    words = ("bench", "--memory-cases", "400", "--no-cores")
    ended = call(*words, "--save", "here.json", "--json")
    assert ended.status is Status.CLEAN, ended.err
    saved = msgspec.json.decode((tmp_path / "here.json").read_bytes(), type=Bench)
    assert saved == msgspec.json.decode(ended.out, type=Bench)
    assert saved.campaign == worked
    assert len(saved.layers) == len(saved.ratios) == 4
    assert len(saved.memory) == 4
    assert saved.memory[-1].cases == 400
    assert 20 < saved.memory[-1].rss_mib < 400


def test_each_core_count_is_measured_once_and_the_last_is_all() -> None:
    counts = core_counts()
    assert counts[0] == 1
    assert counts[-1] == len(os.sched_getaffinity(0))
    assert sorted(set(counts)) == list(counts)


def test_fewer_workers_take_as_much_longer_so_that_all_corpora_come_as_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked: list[tuple[int, float | None]] = []

    def run(
        workers: int, seconds: float | None, _cases: int | None, _tree: Path
    ) -> tuple[Snapshot, list[Memory]]:
        worked.append((workers, seconds))
        return Snapshot(workers, 900, 10.0, 90.0, 0, 0, 0, 0, 0, 0, ()), []

    monkeypatch.setattr(bench, "_run", run)
    monkeypatch.setattr(bench, "_floors", lambda count, _: [1000.0] * count)
    found = bench.cores((1, 2, 4), 5.0, SOURCE)
    assert worked == [(1, 20.0), (2, 10.0), (4, 5.0)]
    assert [(each.processes, each.floor, each.campaign) for each in found] == [
        (count, count, count) for count in (1, 2, 4)
    ]


def test_boxes_leave_a_core_and_there_is_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, counts in ((1, (1,)), (2, (1,)), (4, (1, 3)), (8, (1, 7))):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert bench.box_counts() == counts


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("hello", "here.json: no figures of gff bench"),
        ('{"format": 1}', "here.json: no figures of gff bench"),
    ],
)
def test_a_file_of_something_else_is_refused(
    call: Gff, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "here.json").write_text(content)
    ended = call("bench", "--against", "here.json")
    assert ended.status is Status.USAGE
    assert reason in ended.err


def test_a_campaign_in_which_no_case_ran_is_told_and_leaves_no_figures(
    call: Gff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.commands.bench.layers_of", lambda _: layers(rounds=1, cases=50))
    monkeypatch.setattr("triage.commands.bench.campaign", lambda *_: Campaign(1.0, 0, 0.0, "plain"))
    ended = call("bench", "--seconds", "1", "--json")
    assert ended.status is Status.MISSING
    assert "no case ran in 1 s" in ended.err
    made = msgspec.json.decode(ended.out, type=Bench)
    assert (made.campaign, made.cores, made.memory) == (None, (), ())
