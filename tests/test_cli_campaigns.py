"""``gff fuzz`` and ``gff triage``: what is said of a campaign, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import pytest

from fuzz.campaign.status import Summary, SummaryLine, snapshot
from fuzz.campaign.supervisor import Settings
from fuzz.directory.store import Oddities, StoreError
from tests.command import LEAK, Ended, Gff, campaign, finding


def test_natural_findings_stand_first_then_the_clauses_in_order(call: Gff, tmp_path: Path) -> None:
    campaign(
        tmp_path / "campaign",
        finding("C2-gmem_abort-injected", "v7.3", 0.1),
        finding("C13-io_mem_abort-natural", "v7.3", 0.2),
        finding("C2-gmem_abort-natural", "v7.3", 9.0),
        finding("C8-before-loop-natural".replace("before-loop", "loop"), "v7.3", 0.3),
    )
    ended = call("triage", "list")
    ids = [line.split()[0] for line in ended.out.splitlines()[1:]]
    assert ended.status == 1
    assert ids == [
        "C2-gmem_abort-natural",
        "C8-loop-natural",
        "C13-io_mem_abort-natural",
        "C2-gmem_abort-injected",
    ]


def test_a_signature_on_two_kernels_is_told_apart_by_the_kernel(call: Gff, tmp_path: Path) -> None:
    twice = "C2-gmem_abort-natural"
    campaign(tmp_path / "campaign", finding(twice, "v7.3", 1.0), finding(twice, "clean", 2.0))
    assert call("triage", "show", twice).status == 2
    assert f"{twice} on clean" in call("triage", "show", f"clean--{twice}").out
    assert f"{twice} on v7.3" in call("triage", "show", "v7").out


def test_the_findings_of_one_kernel_can_be_listed(call: Gff, tmp_path: Path) -> None:
    twice = "C2-gmem_abort-natural"
    found = [finding(twice, "v7.3", 1.0), finding(twice, "v9.9", 2.0)]
    campaign(tmp_path / "campaign", *found, finding("C4-gmem_abort-natural", "clean", 3.0))
    ids = [line.split()[0] for line in call("triage", "list", "-k", "v7.3").out.splitlines()]
    # By the name that also the whole list has for it.
    assert ids == ["id", f"v7.3--{twice}"]
    both = call("triage", "list", "--kernel", "clean", "--kernel", "v9.9", "--json")
    assert [each["id"] for each in json.loads(both.out)["findings"]] == [
        f"v9.9--{twice}",
        "clean--C4-gmem_abort-natural",
    ]
    assert call("triage", "list", "-k", "v6.18") == Ended(0, "no findings on v6.18\n", "")
    ended = call("triage", "list", "-k", "v9.8")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)


def test_a_campaign_without_findings_is_clean(call: Gff, tmp_path: Path) -> None:
    campaign(tmp_path / "campaign")
    assert call("triage", "list") == Ended(0, "no findings\n", "")


def test_a_finding_is_shown_whole_and_its_command_replays_it(call: Gff, tmp_path: Path) -> None:
    campaign(tmp_path / "some", finding("C2-gmem_abort-natural", "v7.3", 1.25, count=7))
    ended = call("triage", "show", "c2", "some")
    assert ended.status == 1
    for told in (
        "claim (model)",
        "-1 ENOMEM MEMORY_FAULT gpa=0x40000000",
        "MEMORY_FAULT was filled under ENOMEM",
        "read64, backed by guest_memfd",
        "7 times, first after 1.2 s, on 2026-01-02 03:04 UTC",
        "Basis: documented. Asked for by: paranoid, strict.",
        *LEAK.splitlines(),
    ):
        assert told in ended.out
    command = next(line for line in ended.out.splitlines() if "gff run" in line)
    again = call(*command.split()[2:])
    assert again.status == 1
    assert "C2      broken: MEMORY_FAULT was filled under ENOMEM" in again.out


def test_a_case_that_nobody_could_shrink_is_said_to_be_none_of_the_smallest(
    call: Gff, tmp_path: Path
) -> None:
    large = msgspec.structs.replace(finding("C2-gmem_abort-natural", "v7.3", 1.0), shrunk=False)
    store = campaign(tmp_path / "some", large)
    assert "claim (model), case not shrunk yet" in call("triage", "show", "c2", "some").out
    store.record(msgspec.structs.replace(large, shrunk=True))
    assert "not shrunk" not in call("triage", "show", "c2", "some").out


# FUZZING


def test_a_campaign_finds_the_leak_and_lists_it(call: Gff) -> None:
    pytest.importorskip("atheris", reason="the engine is missing here")
    ended = call("fuzz", "--for", "20s", "--cases", "4000", "--workers", "1", "--seed", "1")
    assert ended.status == 1
    assert "C2-gmem_abort-natural on v7.3: -1 ENOMEM MEMORY_FAULT" in ended.out
    _, table, shown, _ = ended.out.split("\n\n")
    names = [line.split()[0] for line in table.splitlines()[1:]]
    # What a VMM acts on comes first: a report with return value 0.
    assert names[0] in ("C1-kvm_translate_vncr-natural", "C2-gmem_abort-natural")
    assert "C2-gmem_abort-natural" in names
    # The first of them, and how to see it whole.
    assert shown.startswith(f"{names[0]} on v7.3  claim (model)\n")
    assert shown.endswith("    run")
    assert ended.out.count("claim (model)") == 1
    assert ended.out.endswith(f"next: gff triage show {names[0]} campaign\n")
    assert call("triage", "list").status == 1
    continued = call("fuzz", "-k", "clean", "--for", "20s", "--cases", "500", "--workers", "1")
    assert continued.status == 0
    assert continued.err.startswith("campaign goes on: ")


def test_a_campaign_is_continued_as_it_was_unless_it_is_said_otherwise(
    call: Gff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[str, ...], str, str]] = []

    def run(settings: Settings, *_: object) -> NoReturn:
        asked.append((settings.kernels, settings.reading.value, settings.coverage.value))
        raise StoreError("enough")

    monkeypatch.setattr("triage.commands.fuzz.run_campaign", run)
    call("fuzz")
    store = campaign(tmp_path / "campaign")
    store.configure(
        msgspec.structs.replace(
            store.configuration(), kernels=("clean", "v7.2"), reading="paranoid", coverage="none"
        )
    )
    call("fuzz")
    call("fuzz", "-k", "v7.1", "--reading", "documented", "--coverage", "atheris")
    assert asked == [
        (("v7.3",), "strict", "counters"),
        (("clean", "v7.2"), "paranoid", "none"),
        (("v7.1",), "documented", "atheris"),
    ]


ENDINGS: Final = [
    # No case where each needs an injected error.
    (("C2-one-injected",), 0),
    (("C2-one-injected", "C2-other-injected"), 0),
    (("C2-one-natural",), 1),
    (("C2-one-natural", "C2-other-natural"), 1),
    (("C2-one-natural", "C2-one-injected"), 1),
]


@pytest.mark.parametrize(("signatures", "cases"), ENDINGS)
def test_a_campaign_ends_with_a_table_and_the_case_of_its_first_natural_finding(
    call: Gff,
    monkeypatch: pytest.MonkeyPatch,
    signatures: tuple[str, ...],
    cases: int,
) -> None:
    found = [finding(each, "v7.3", 1.0) for each in signatures]
    over = Summary(("v7.3",), snapshot([], found, at_work=[], restarts=0), stopped=False)
    monkeypatch.setattr("triage.commands.fuzz.run_campaign", lambda *_: over)
    ended = call("fuzz", "--for", "1s")
    assert ended.status == 1
    assert ended.out.count(LEAK.splitlines()[0]) == cases
    table = ended.out.split("\n\n")[0].splitlines()[2:]
    assert [line.split()[0] for line in table] == list(signatures)
    assert ended.out.endswith(f"next: gff triage show {signatures[0]} campaign\n")


def test_a_campaign_tells_at_its_end_what_went_wrong_and_where_to_look(
    call: Gff, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = snapshot(
        [], [], at_work=[], restarts=3, oddities=Oddities(1, 2, 4), waiting=1, killed=2
    )
    over = Summary(("v7.3",), replace(ended, cases=1000), stopped=False)
    monkeypatch.setattr("triage.commands.fuzz.run_campaign", lambda *_: over)
    for each in [
        "3 restarts of workers, 2 killed from outside: campaign/workers",
        "1 worker dying again and again: campaign/workers",
        "4 inputs that no worker is to run again: campaign/harness",
        "gff itself crashed on 2 cases: campaign/harness",
        "model and expectation differ on 1 case: campaign/questions",
    ]:
        assert each in call("fuzz", "--for", "1s").out.splitlines()
    told = msgspec.json.decode(call("fuzz", "--for", "1s", "--json").out, type=SummaryLine)
    assert (told.restarts, told.killed, told.harness_crashes, told.denied) == (3, 2, 2, 4)


def test_a_campaign_that_is_refused_is_not_said_to_go_on(call: Gff, tmp_path: Path) -> None:
    known = campaign(tmp_path / "campaign", finding("C2-gmem_abort-natural", "v7.3", 1.0))
    with known.claimed():
        ended = call("fuzz", "--engine", "plain")
    assert ended.status == 2
    assert ended.err.endswith("campaign: another campaign is at work there\n")
    assert ended.err.count("\n") == 1


def test_the_json_of_a_campaign_is_the_object_of_the_design(call: Gff) -> None:
    pytest.importorskip("atheris", reason="the engine is missing here")
    options = ["--for", "20s", "--cases", "3000", "--workers", "1", "--seed", "1", "--json"]
    ended = call("fuzz", *options)
    made = msgspec.json.decode(ended.out, type=dict[str, object])
    assert ended.out.count("\n") == 1
    assert Path("campaign/report.html").is_file()
    assert list(made) == [
        *("cases", "seconds", "cases_per_second", "workers", "kernels", "findings", "questions"),
        *("restarts", "killed", "harness_crashes", "denied", "compiled"),
    ]
    assert isinstance(made["findings"], list)
    assert "C2-gmem_abort-natural" in {each["signature"] for each in made["findings"]}
    assert set(made["findings"][0]) == {
        *("signature", "clause", "kernel", "errno", "exit_reason", "natural", "observed"),
        *("found_after_s", "case"),
    }


def test_a_clean_kernel_ends_a_campaign_with_status_0(call: Gff) -> None:
    pytest.importorskip("atheris", reason="the engine is missing here")
    ended = call("fuzz", "-k", "clean", "--for", "20s", "--cases", "2000", "--workers", "1")
    assert ended.status == 0
    assert "no findings, on clean" in ended.out


NOTHING: Final = [
    (True, 130, "stopped before any case ran on v7.3"),
    (False, 2, "over before any case ran on v7.3: it takes a longer --for, or fewer --workers"),
]


@pytest.mark.parametrize(("stopped", "status", "told"), NOTHING)
def test_a_campaign_without_a_case_is_not_clean(
    call: Gff, monkeypatch: pytest.MonkeyPatch, stopped: bool, status: int, told: str
) -> None:
    nothing = Summary(("v7.3",), snapshot([], [], at_work=[], restarts=0), stopped)
    monkeypatch.setattr("triage.commands.fuzz.run_campaign", lambda *_: nothing)
    ended = call("fuzz", "--for", "1s")
    assert (ended.status, ended.out.strip()) == (status, told)


def test_an_interrupted_campaign_lists_what_it_has(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the engine is missing here")
    program = "from triage.cli import main; main()"
    command = [sys.executable, "-c", program, "fuzz", "--workers", "1", "--campaign", "c"]
    search = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert search.stdout is not None
    first = search.stdout.readline()
    search.send_signal(signal.SIGINT)
    out, err = search.communicate(timeout=30)
    assert search.returncode == 1
    assert " on v7.3: " in first
    assert "next: gff triage show C" in out
    assert "Traceback" not in err
