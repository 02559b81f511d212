"""Bad usage and bad input: one clear line, exit status 2, nothing else."""

import os
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import pytest

from emu import text, wire
from fuzz.exhaustive.ledger import COVERAGE
from tests.command import LEAK, Gff, campaign, finding

EXPECTATION: Final = "---\nclaim v7.3\n  run 1: 0 MMIO doorbell\n"

UNREADABLE: Final = "x" * 300  # as somebody else's directory is, but for root too

# Every row is refused with exit status 2 and one line that says this much.
REFUSED: Final = [
    (["run"], "missing argument"),
    (["run", "absent.case"], "absent.case: No such file"),
    (["run", "folder.case"], "folder.case: a directory"),
    (["run", "pipe.case"], "pipe.case: no plain file, expected a case file"),
    (["run", "/dev/null"], "/dev/null: no plain file, expected a case file"),
    (["run", "empty.case"], "empty.case: an empty file"),
    (["run", "empty"], "empty: an empty file"),
    (["run", "huge.case"], "huge.case: larger than 16 MiB"),
    (["run", "latin.case"], "latin.case:2:3: found byte 0xff"),
    (["run", "wrong.case"], "wrong.case:2:7: found 'read65'"),
    (["run", "noise"], "noise:1:"),
    (["run", "truncated"], "truncated: byte 132: truncated record"),
    (["run", "cut"], "cut: byte 3: truncated header"),
    (["run", "operation"], "operation: byte 4: unknown operation"),
    (["run", "padding"], "padding: byte "),
    (["run", "long"], "long: byte 8196: too many records"),
    (["run", "leak.case", "absent.case"], "absent.case: No such file"),
    (["run", "leak.case", "-k", "nightly"], "unknown kernel 'nightly' (known: v7.3, "),
    (["run", "leak.case", "-k", "claen"], "did you mean clean?"),
    (["run", "leak.case", "--reading", "loose"], "unknown reading 'loose' (known: strict, "),
    (["run", "bad\0name"], "null"),
    (["run", "not\nthere"], "not\\nthere: No such file"),
    (["fuzz", "-k", "v9.9"], "unknown kernel 'v9.9'"),
    (["fuzz", "--for", "soon"], "--for 'soon': expected a number and s, m, h or d"),
    (["quality", "--limit", "10parsecs"], "gff: --limit '10parsecs': expected a number and s"),
    (["quality", "--limit", "0s"], "gff: --limit '0s': expected 0.1s to 365d"),
    (["fuzz", "--for", "0s"], "--for '0s': expected 0.1s to 365d"),
    (["fuzz", "--for", "366d"], "--for '366d': expected 0.1s to 365d"),
    (["fuzz", "--for", "-5s"], "--for '-5s'"),
    (["fuzz", "--for", "nan"], "--for 'nan'"),
    (["fuzz", "--for", "9" * 400], "--for '999"),
    (["fuzz", "--workers", "0"], "gff: --workers 0: at least 1\n"),
    (["fuzz", "--workers", "5000"], "gff: --workers 5000: at most 1024\n"),
    (["fuzz", "--cases", "many"], "gff: --cases 'many': expected a whole number\n"),
    (["fuzz", "--seed", "-1"], "gff: --seed -1: at least 1\n"),
    (["fuzz", "--campaign", ""], "campaign '': expected the name of a directory"),
    (["fuzz", "--coverage", "full"], "unknown coverage mode 'full'"),
    (["fuzz", "--for", "1s", "--campaign", "leak.case"], "leak.case: a file"),
    (["fuzz", "--for", "1s", "--campaign", "leak.case/below"], "leak.case/below: Not a directory"),
    (["fuzz", "--for", "1s", "--campaign", "/proc/campaign"], "/proc/campaign: "),
    (["fuzz", "--for", "1s", "--campaign", UNREADABLE], f"{UNREADABLE}: File name too long"),
    (["status", UNREADABLE], "campaign.json: cannot be read: File name too long"),
    (["corpus", "prune", UNREADABLE], f"{UNREADABLE}: File name too long"),
    (["corpus", "merge", "nothing", UNREADABLE], f"{UNREADABLE}: File name too long"),
    (["corpus", "import", "nothing", UNREADABLE], f"{UNREADABLE}: File name too long"),
    (
        ["fuzz", "--for", "1s", "--campaign", "folder.case"],
        "folder.case: not empty, and not a",
    ),
    (["status", "searched"], "searched: an exhaustive search, not a campaign; gff exhaust tells"),
    (["report", "searched"], "searched: an exhaustive search, not a campaign; gff exhaust tells"),
    (["triage", "list", "absent"], "absent: not a campaign"),
    (["triage", "list", "folder.case"], "folder.case: not a campaign"),
    (["triage", "list", "leak.case"], "leak.case: not a campaign"),
    (["triage", "list", "damaged"], "damaged"),
    (["triage", "list", "hollow"], "hollow/findings: No such file"),
    (["triage", "show", "C2", "hollow"], "hollow/findings: No such file"),
    (["triage", "list", "plugged"], "plugged/findings: Not a directory"),
    (["triage", "list", ""], "expected the name of a directory"),
    (["triage", "show", "C2"], "campaign: not a campaign"),
    (["triage", "show", "C9", "some"], "no finding 'C9' (known: C2-gmem_abort-natural, "),
    (["triage", "show", "C2", "some"], "'C2' is more than one finding: "),
    (["corpus", "check", "absent"], "absent: No such file"),
    (["corpus", "check", "nothing"], "nothing: no .case file in it"),
    (["corpus", "check", "wrong.case"], "wrong.case:2:7"),
    (["corpus", "check", "-k", "v9.9"], "unknown kernel"),
    (["corpus", "check", "stranger.case"], "stranger.case:7:7: unknown kernel 'v0.1'"),
    (
        ["corpus", "check", "leak.case"],
        "leak.case: nothing is expected of any kernel, so nothing was checked",
    ),
    (
        ["corpus", "check", "expects.case", "-k", "clean"],
        "expects.case: nothing is expected of clean, so nothing was checked",
    ),
    (
        ["corpus", "check", "clause.case"],
        "clause.case:8:32: unknown clause 'C99', did you mean C9?",
    ),
    (["run", "clause.case", "-k", "clean"], "clause.case:8:32: unknown clause 'C99'"),
    (["run", "typo.case"], "typo.case:8:17: found 'doorbel', expected one of: doorbell, gpa="),
    (["corpus", "check", "typo.case", "-k", "clean"], "typo.case:8:17: found 'doorbel'"),
    (["run", "padded.case"], "padded.case:1:18: found '010', expected a number without a leading"),
    (["corpus", "bless"], "missing argument"),
    (["corpus", "bless", "stranger.case"], "stranger.case:7:7: unknown kernel 'v0.1'"),
    (["corpus", "bless", "leak.case", "wrong.case"], "wrong.case:2:7"),
    (["bench", "--seconds", "long"], "--seconds 'long': expected a whole number"),
    (["bench", "--seconds", "0"], "--seconds 0: at least 1"),
    (["kernels", "--all"], "no such option: --all"),
    (["nonsense"], "no such command 'nonsense'"),
]


@pytest.fixture
def mess(tmp_path: Path, leak: Path) -> Path:
    """A folder with every kind of file that cannot be used."""
    data = wire.encode(text.load(leak.read_text()))
    files = {
        "empty.case": b"",
        "empty": b"",
        "huge.case": b"\n" * ((16 << 20) + 1),
        "latin.case": b"run\nru\xffn\n",
        "wrong.case": b"run\nguest read65 0x0\n",
        "noise": Random(1).randbytes(500),  # noqa: S311 - noise, no secret
        "truncated": data[:-1],
        "cut": data[:3],
        "operation": data[:4] + b"\xfe" + data[5:],
        "padding": data[:-1] + b"\x01",
        "long": data[:4] + data[4:36] * 257,
        "stranger.case": (LEAK + EXPECTATION.replace("v7.3", "v0.1")).encode(),
        "expects.case": (LEAK + EXPECTATION).encode(),
        "clause.case": f"{LEAK}{EXPECTATION[:-1]}  ! C2 C99\n".encode(),
        "typo.case": (LEAK + EXPECTATION[:-2]).encode(),
        "padded.case": b"create mem0 size=010 anon\n",
        "folder.case/file": b"here",
        "damaged/campaign.json": b'{"format":',
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "nothing").mkdir()
    os.mkfifo(tmp_path / "pipe.case")
    searched = campaign(tmp_path / "searched")
    searched.configure(msgspec.structs.replace(searched.configuration(), coverage=COVERAGE))
    some = ("C2-gmem_abort-natural", "C2-gmem_abort-injected")
    campaign(tmp_path / "some", *(finding(each, "v7.3", 1.0) for each in some))
    (campaign(tmp_path / "hollow").root / "findings").rmdir()
    plugged = campaign(tmp_path / "plugged").root / "findings"
    plugged.rmdir()
    plugged.touch()
    return tmp_path


@pytest.mark.usefixtures("mess")
@pytest.mark.parametrize(("arguments", "told"), REFUSED, ids=lambda value: str(value)[:40])
def test_bad_usage_and_bad_input_are_one_line_and_status_2(
    call: Gff, arguments: list[str], told: str
) -> None:
    ended = call(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("gff: ")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1
    assert told in ended.err


@pytest.mark.usefixtures("mess")
@pytest.mark.parametrize(
    "command", [["run"], ["corpus", "check"], ["corpus", "bless"]], ids=" ".join
)
def test_every_bad_file_is_named(call: Gff, command: list[str]) -> None:
    ended = call(*command, "wrong.case", "expects.case", "empty.case", "stranger.case")
    assert (ended.status, ended.out) == (2, "")
    assert [line.split(":")[1] for line in ended.err.splitlines()] == [
        " wrong.case",
        " empty.case",
        " stranger.case",
    ]


def test_of_very_many_bad_files_the_first_are_named_and_the_others_counted(
    call: Gff, tmp_path: Path
) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.case").write_text("ruin\n")
    lines = call("corpus", "check", str(tmp_path)).err.splitlines()
    assert [line.split(":")[2] for line in lines[:-1]] == ["1"] * 19
    assert lines[-1] == "gff: 11 more files are wrong"


LINES: Final = (*LEAK.splitlines(), *EXPECTATION.splitlines()[1:])


@pytest.mark.parametrize("number", range(len(LINES)))
@pytest.mark.parametrize("damage", ["{} again", "x{}", "\x1b[31m{}", "{}=", "[bold]"])
def test_a_case_with_any_line_broken_is_refused_where_it_is_broken(
    call: Gff, tmp_path: Path, number: int, damage: str
) -> None:
    lines = (LEAK + EXPECTATION).splitlines()
    place = number if number < len(LEAK.splitlines()) else number + 1
    lines[place] = damage.format(lines[place])
    (tmp_path / "broken.case").write_text("\n".join(lines))
    ended = call("run", "broken.case")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"gff: broken.case:{place + 1}:")
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err


@pytest.mark.parametrize("seed", range(200))
def test_random_bytes_are_refused_or_run_but_never_crash(
    call: Gff, tmp_path: Path, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - noise, no secret
    start = bytes([wire.VERSION]) if seed % 2 else b""
    (tmp_path / "input").write_bytes(start + chance.randbytes(chance.randrange(1, 300)))
    ended = call("run", "input")
    assert ended.status == 2
    assert ended.err.startswith("gff: input")
    assert ended.err.count("\n") == 1
