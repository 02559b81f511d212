"""The commands of ``gff``: exit statuses, JSON, and what people read."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu import text, wire
from emu.kernels import CATALOGUE, KERNELS, Kind
from fuzz.oracle.contract import CLAUSES, Reading
from tests.command import LEAK, Gff, campaign, finding, started
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


# WHAT IS GFF'S OWN FAULT

BROKEN: Final = (
    "from emu.model import Model\n"
    "def run(*_): return run()\n"
    "Model.run = run\n"
    "from triage.cli import main; main()"
)


def test_a_fault_of_gff_is_no_finding_and_its_traceback_is_short(tmp_path: Path) -> None:
    (tmp_path / "leak.case").write_text(LEAK)
    ended = started(f"exec({BROKEN!r})", tmp_path, "run", "leak.case")
    assert (ended.returncode, ended.stdout) == (70, "")
    assert "RecursionError" in ended.stderr
    assert ended.stderr.endswith(
        "gff: that is a fault of gff's own, and says nothing of a kernel\n"
    )
    assert ended.stderr.count("\n") < 40


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


@pytest.mark.parametrize("words", [["corpus", "check"], ["matrix"]], ids=" ".join)
def test_a_corpus_that_is_not_there_is_missing(
    call: Gff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("triage.corpus.corpus_dir", lambda: tmp_path / "none")
    ended = call(*words)
    assert ended.status == 3
    assert ended.err == f"gff: {tmp_path}/none: the corpus is not there\n"


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


def test_a_kernel_is_listed_by_its_name(call: Gff) -> None:
    listed = json.loads(call("kernels", "clean", "v7.3", "--json").out)["kernels"]
    assert [each["name"] for each in listed] == ["v7.3", "clean"]
    assert "unknown kernel 'claen', did you mean clean?" in call("kernels", "claen").err


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
