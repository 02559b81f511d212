"""The commands of ``gff``: exit statuses, JSON, and what people read."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu import text, wire
from emu.kernels import CATALOGUE, KERNELS, Kind
from fuzz.campaign.status import Summary, snapshot
from fuzz.oracle.contract import CLAUSES, Reading
from tests.command import LEAK, Ended, Gff, campaign, finding, started
from triage.durations import seconds, span
from triage.ending import UserError
from triage.screen import printable

PARANOID_ONLY: Final = {each.id for each in CLAUSES if each.readings == {Reading.PARANOID}}

# EVERY COMMAND

COMMANDS: Final = [
    ["fuzz"],
    ["status"],
    ["report"],
    ["run"],
    ["kernels"],
    ["triage", "list"],
    ["triage", "show"],
    ["corpus", "check"],
    ["corpus", "bless"],
    ["corpus", "merge"],
    ["corpus", "prune"],
    ["corpus", "import"],
    ["corpus", "export"],
    ["bench"],
    ["quality"],
    ["doctor"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_the_exit_statuses(call: Gff, command: list[str]) -> None:
    ended = call(*command, "--help")
    assert (ended.status, ended.err) == (0, "")
    assert f"Example: gff {' '.join(command)}" in ended.out
    assert "--json" in ended.out
    assert "Exit status: 0 clean" in ended.out


@pytest.mark.parametrize("group", [[], ["triage"], ["corpus"]], ids=str)
def test_without_a_command_the_commands_are_listed(call: Gff, group: list[str]) -> None:
    ended = call(*group)
    assert (ended.status, ended.out) == (2, "")
    assert "Commands:" in ended.err


JSON: Final = [
    (["run", "leak.case"], 1, "cases"),
    (["kernels"], 0, "kernels"),
    (["status", "some"], 1, "condition"),
    (["report", "some"], 1, "report"),
    (["triage", "list", "some"], 1, "findings"),
    (["triage", "show", "C2-gmem_abort-natural", "some"], 1, "finding"),
    (["corpus", "check", "told.case"], 0, "mismatches"),
    (["corpus", "bless", "leak.case"], 0, "files"),
    (["doctor"], 0, "parts"),
]


@pytest.mark.usefixtures("leak")
@pytest.mark.parametrize(("arguments", "status", "key"), JSON, ids=str)
def test_json_is_one_object_on_standard_output_and_nothing_else(
    call: Gff, tmp_path: Path, arguments: list[str], status: int, key: str
) -> None:
    campaign(tmp_path / "some", finding("C2-gmem_abort-natural", "v7.3", 1.0))
    Path("told.case").write_text("run\n---\nclaim clean\n  run 1: 0 MMIO doorbell\n")
    ended = call(*arguments, "--json")
    assert (ended.status, ended.err) == (status, "")
    assert ended.out.count("\n") == 1
    assert key in msgspec.json.decode(ended.out, type=dict[str, object])


def test_an_interrupt_is_not_a_traceback(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("triage.commands.doctor.parts", interrupted)
    assert call("doctor").status == 130


def test_the_version_is_told(call: Gff) -> None:
    ended = call("--version")
    assert (ended.status, ended.err) == (0, "")
    assert re.fullmatch(r"gff (\d+\.\d+\.\d+|of a checkout, not installed)\n", ended.out)


# WHAT IS MISSING


def without(module: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``gff`` where a package cannot be imported."""
    return started(f"import sys; sys.modules['{module}'] = None", folder, *arguments)


def test_a_search_without_the_engine_asked_for_is_one_line_and_status_3(tmp_path: Path) -> None:
    ended = without("atheris", tmp_path, "fuzz", "--for", "1s", "--engine", "atheris")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("gff: atheris is not installed")
    assert ended.stderr.count("\n") == 1


def test_the_doctor_names_what_takes_over(tmp_path: Path) -> None:
    ended = without("keystone", tmp_path, "doctor")
    assert ended.returncode == 0
    line = next(each for each in ended.stdout.splitlines() if "keystone-engine" in each)
    assert "absent" in line
    assert "instead: words" in line


def test_nothing_works_without_the_emulator_and_gff_says_so(tmp_path: Path) -> None:
    ended = without("unicorn", tmp_path, "doctor")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("gff: ")
    assert "unicorn" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_metrics_name_what_they_need(tmp_path: Path) -> None:
    campaign(tmp_path / "some")
    ended = without("prometheus_client", tmp_path, "status", "some", "--metrics", "0")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.endswith("--metrics needs prometheus_client\n")
    assert ended.stderr.count("\n") == 1


def test_a_broken_part_makes_the_doctor_say_so(
    call: Gff, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("triage.installation.corpus_dir", lambda: tmp_path)
    ended = call("doctor")
    assert ended.status == 3
    assert ended.out.endswith("Not everything works here.\n")
    assert "0 cases in" in ended.out


# WHAT PEOPLE READ


@pytest.mark.parametrize(
    ("kernel", "reading", "status"),
    [
        ("v7.3", "strict", 1),
        ("v7.3", "documented", 0),
        ("clean", "paranoid", 0),
        ("scribble-on-exit", "strict", 0),
        ("scribble-on-exit", "paranoid", 1),
    ],
)
@pytest.mark.usefixtures("leak")
def test_run_says_by_its_status_whether_the_reading_is_kept(
    call: Gff, kernel: str, reading: str, status: int
) -> None:
    assert call("run", "leak.case", "-k", kernel, "--reading", reading).status == status


def test_bytes_and_text_of_a_case_are_explained_alike(call: Gff, leak: Path) -> None:
    Path("leak").write_bytes(wire.encode(text.load(leak.read_text())))
    spelled, coded = call("run", "leak.case"), call("run", "leak")
    assert spelled.out.partition("\n")[2] == coded.out.partition("\n")[2]


def test_output_that_is_no_terminals_has_no_escapes_and_no_trailing_spaces(
    call: Gff, leak: Path
) -> None:
    for arguments in (["run", str(leak)], ["kernels"], ["doctor"]):
        out = call(*arguments).out
        assert "\x1b" not in out
        assert not [line for line in out.splitlines() if line != line.rstrip()]


def test_a_file_name_that_looks_like_markup_is_shown_as_it_is(call: Gff, leak: Path) -> None:
    name = "[red]leak[bold].case"
    leak.rename(name)
    assert call("run", name).out.startswith(f"{name} on v7.3")


def test_a_file_name_that_is_no_text_is_shown_with_escapes(call: Gff, leak: Path) -> None:
    name = os.fsdecode(b"a\nb\xff.case")
    leak.rename(name)
    assert call("run", name).out.startswith("a\\nb\\udcff.case on v7.3")
    assert call("run", name, "--json").status == 1
    assert call("corpus", "bless", name, "--json").status == 0
    assert call("corpus", "check", name, "--json").status == 0


def test_control_characters_are_never_printed() -> None:
    assert printable("a\x1b[31m\n\t\x7f\u202eb\udc80") == "a\\x1b[31m\\n\\t\\x7f\\u202eb\\udc80"


def test_kernels_are_listed_with_their_kind_and_what_they_leave(call: Gff) -> None:
    out = call("kernels").out
    for name in KERNELS:
        assert f"\n{name} " in out
    assert "Leaves: the leak (C2)" in out
    assert "release" in out
    assert "known bad" in out


def test_kernels_are_called_by_their_names_and_not_by_their_classes(call: Gff) -> None:
    out = call("kernels").out
    for kernel in KERNELS.values():
        assert not re.search(rf"\b{type(kernel).__name__}\b", out)


def test_what_only_the_paranoid_reading_condemns_is_marked(call: Gff) -> None:
    out = " ".join(call("kernels").out.split())
    lists = re.findall(r"Breaks: ([^.]*)\.", out)
    alike = len(re.findall(r"Breaks what v\d\.\d+ breaks\.", out))
    assert len(lists) + alike == sum(bool(entry.breaks) for entry in CATALOGUE.values())
    for each in lists:
        *others, last = each.split("; ")
        paranoid = set(re.findall(r"C\d+", last)) <= PARANOID_ONLY
        assert last.endswith(" (paranoid reading only)") == paranoid
        assert not PARANOID_ONLY & set(re.findall(r"C\d+", "".join(others)))
        assert paranoid or not PARANOID_ONLY & set(re.findall(r"C\d+", last))
    assert "C3-earlier-fault-injected; C7-gmem_abort-natural, " in out


def test_a_release_that_breaks_what_another_does_only_says_so(call: Gff) -> None:
    out = " ".join(call("kernels", "--kind", "release").out.split())
    told: set[tuple[str, ...]] = set()
    releases = [each for each in CATALOGUE.values() if each.kind is Kind.RELEASE]
    for each in releases:
        told.add(each.breaks)
    assert 1 < out.count("Breaks: ") == len(told) < len(releases)
    assert out.count("Breaks what v7.3 breaks.") >= 1


@pytest.mark.parametrize(
    ("named", "kinds"),
    [
        (["release"], {Kind.RELEASE}),
        (["thread"], {Kind.PROPOSAL}),
        (["proposal"], {Kind.PROPOSAL}),
        (["clean", "twin"], {Kind.CLEAN, Kind.TWIN}),
        (["bad"], {Kind.KNOWN_BAD}),
        ([], set(Kind)),
    ],
)
def test_kernels_of_a_kind_are_listed_alone(call: Gff, named: list[str], kinds: set[Kind]) -> None:
    words = [word for name in named for word in ("--kind", name)]
    listed = json.loads(call("kernels", *words, "--json").out)["kernels"]
    wanted = [name for name, each in CATALOGUE.items() if each.kind in kinds]
    assert [each["name"] for each in listed] == wanted


def test_an_unknown_kind_of_kernel_is_refused(call: Gff) -> None:
    ended = call("kernels", "--kind", "releases")
    assert ended.status == 2
    assert "unknown kind 'releases', did you mean release?" in ended.err


def test_a_command_to_type_is_as_gff_was_started(
    call: Gff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(tmp_path / "some", finding("C2-gmem_abort-natural", "v7.3", 1.0))
    started_as = tmp_path / "bin" / "gff"
    started_as.parent.mkdir()
    started_as.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", ["bin/gff"])
    assert "replay   bin/gff run some/findings/" in call("triage", "show", "c2", "some").out
    monkeypatch.setenv("PATH", str(started_as.parent))
    assert "replay   gff run some/findings/" in call("triage", "show", "c2", "some").out


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
    # One of them whole, and how to see another.
    assert shown.startswith(f"{names[0]} on v7.3  claim (model)\n")
    assert shown.endswith("    run")
    assert ended.out.count("claim (model)") == 1
    assert ended.out.endswith(f"next: gff triage show {names[1]} campaign\n")
    assert call("triage", "list").status == 1
    continued = call("fuzz", "-k", "clean", "--for", "20s", "--cases", "500", "--workers", "1")
    assert continued.status == 0
    assert continued.err.startswith("campaign goes on: ")


ENDINGS: Final = [
    # No case where each needs an injected error: the first is the next to look at.
    (("C2-one-injected",), 0, "C2-one-injected"),
    (("C2-one-injected", "C2-other-injected"), 0, "C2-one-injected"),
    (("C2-one-natural",), 1, "C2-one-natural"),
    (("C2-one-natural", "C2-other-natural"), 1, "C2-other-natural"),
    (("C2-one-natural", "C2-one-injected"), 1, "C2-one-injected"),
]


@pytest.mark.parametrize(("signatures", "cases", "following"), ENDINGS)
def test_a_campaign_ends_with_a_table_and_the_case_of_its_first_natural_finding(
    call: Gff,
    monkeypatch: pytest.MonkeyPatch,
    signatures: tuple[str, ...],
    cases: int,
    following: str,
) -> None:
    found = [finding(each, "v7.3", 1.0) for each in signatures]
    over = Summary(("v7.3",), snapshot([], found, at_work=[], restarts=0))
    monkeypatch.setattr("triage.commands.fuzz.run_campaign", lambda *_: over)
    ended = call("fuzz", "--for", "1s")
    assert ended.status == 1
    assert ended.out.count(LEAK.splitlines()[0]) == cases
    table = ended.out.split("\n\n")[0].splitlines()[2:]
    assert [line.split()[0] for line in table] == list(signatures)
    assert ended.out.endswith(f"next: gff triage show {following} campaign\n")


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


def test_a_campaign_without_a_case_is_not_clean(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Summary(("v7.3",), snapshot([], [], at_work=[], restarts=0))
    monkeypatch.setattr("triage.commands.fuzz.run_campaign", lambda *_: nothing)
    ended = call("fuzz", "--for", "1s")
    assert ended.status == 130
    assert ended.out.strip() == "stopped before any case ran on v7.3"


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


# SMALL THINGS


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("60s", 60), ("45", 45), ("1.5m", 90), ("2h", 7200), ("1d", 86400)],
)
def test_a_length_of_time_is_a_number_and_a_unit(typed: str, meant: float) -> None:
    assert seconds(typed) == meant


@pytest.mark.parametrize("typed", ["", "s", "1 s", "1w", "1e3", "0.0m", "٣s", "1s1s"])
def test_any_other_length_of_time_is_refused(typed: str) -> None:
    with pytest.raises(UserError, match="--for"):
        seconds(typed)


@pytest.mark.parametrize(
    ("length", "shown"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1:01"), (3725, "1:02:05")]
)
def test_a_length_of_time_is_shown_short(length: float, shown: str) -> None:
    assert span(length) == shown
