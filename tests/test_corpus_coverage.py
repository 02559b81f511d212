"""What the corpus reaches of ``emu/kvm``, and the comparison that says so."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu import text
from emu.kernels import KERNELS
from tests.corpus_coverage import (
    UNREACHED,
    Entry,
    Listed,
    Measured,
    Odds,
    Place,
    Region,
    Report,
    compare,
    measure,
    missed,
)

ROOT: Final = Path(__file__).parents[1]
LEAVE: Final = Place("arm.py", "Arm.run", "return 1")
SKIP: Final = Place("arm.py", "Arm.run", "if ret:", "return 1")
SOURCE: Final = ["def run(ret: int) -> int:", "    if ret:", "        ret = 2", "    return 1"]


def listed(*places: Place) -> Listed:
    """A list with the same reason for each."""
    return Listed(
        tuple(
            Entry(file=each.file, function=each.function, line=each.line, to=each.to, reason="so")
            for each in places
        )
    )


def report(path: Path, lines: tuple[int, ...], *branches: tuple[int, int]) -> Report:
    """The report of a file with one function, and a module around it that missed its first line."""
    path.write_text("\n".join(SOURCE))
    functions = {"run": Region(lines, branches), "": Region((1,), ())}
    return Report({str(path): Measured(functions)})


def test_the_corpus_reaches_all_of_the_kernel_but_what_is_listed() -> None:
    # In a process of its own: others of this one's tests may trace it too.
    ended = subprocess.run(
        [sys.executable, "-m", "tests.corpus_coverage"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_place_of_the_list_has_a_reason() -> None:
    entries = msgspec.toml.decode(UNREACHED.read_bytes(), type=Listed).unreached
    assert [entry for entry in entries if not entry.reason.strip()] == []


@pytest.mark.parametrize(
    ("found", "known", "odds"),
    [
        ((), (), Odds((), ())),
        ((LEAVE, SKIP), (SKIP, LEAVE), Odds((), ())),
        ((LEAVE, SKIP), (LEAVE,), Odds((SKIP,), ())),
        ((LEAVE,), (LEAVE, SKIP), Odds((), (SKIP,))),
        # Two lines with one text.
        ((LEAVE, LEAVE), (LEAVE,), Odds((LEAVE,), ())),
        ((LEAVE,), (LEAVE, LEAVE), Odds((), (LEAVE,))),
    ],
)
def test_a_miss_that_is_not_listed_is_odd_and_so_is_a_listed_one_that_is_reached(
    found: tuple[Place, ...], known: tuple[Place, ...], odds: Odds
) -> None:
    assert compare(found, listed(*known)) == odds


def test_a_missed_line_is_told_without_the_branches_that_lead_there(tmp_path: Path) -> None:
    measured = report(tmp_path / "arm.py", (3,), (2, 3), (3, 4))
    assert missed(measured) == [Place("arm.py", "run", "ret = 2")]


def test_a_missed_branch_between_lines_that_were_reached_is_told(tmp_path: Path) -> None:
    assert missed(report(tmp_path / "arm.py", (), (2, 4), (4, -1))) == [
        Place("arm.py", "run", "if ret:", "return 1"),
        Place("arm.py", "run", "return 1", "(leaves)"),
    ]


def test_a_case_reaches_what_it_is_about_and_not_the_rest() -> None:
    case = text.load("guest read64 0x40000010\nrun killed\n")
    lines = {(place.file, place.line) for place in missed(measure([case], [KERNELS["v7.3"]]))}
    assert ("kvm_main.py", "return self.kvm_arch_vcpu_ioctl_run(vcpu)") in lines
    assert ("kvm_main.py", "if requests & _KILLED:") not in lines
    assert ("vncr.py", "return ret") in lines
