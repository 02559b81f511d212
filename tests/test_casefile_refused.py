"""Expected outcomes that are refused: every message names the place and what was expected."""

from typing import Final

import pytest

from emu import casefile
from emu.abi import Errno
from emu.casefile import CaseSyntaxError

BASES: Final = "observed, claim, inferred"
ERRNOS: Final = ", ".join(errno.name for errno in Errno)
NUMBER: Final = "a number (0xHEX or decimal) from 0 to 0xffffffffffffffff"
RUNS: Final = "the number of a KVM_RUN of the case, which has 1"
STEPS: Final = "the number of a step of the case other than run"
OUTCOME: Final = "  run 1: 0 UNKNOWN"
HEX: Final = "0x and lower-case hex digits, as gff writes them"
MARKS: Final = (
    "changed, sigbus, userfaults=NUMBER, others-changed, injected, !, the end of the line"
)
MEMORY_FAULT: Final = "expected one of: kept, gpa=0xHEX"

# What stands below "run", "skip" and "---", which are lines 1 to 3.
REFUSED: Final = [
    ("", "4:1: found the end of the file, expected a group of kernels"),
    ("# none", "4:1: found the end of the file, expected a group of kernels"),
    ("run 1: 0 UNKNOWN", f"4:1: found 'run', expected one of: {BASES}"),
    ("\nseen v7.3", f"5:1: found 'seen', expected one of: {BASES}"),
    ("observed", "4:9: found the end of the line, expected the name of a kernel"),
    ("observed v7.3 *", "4:15: found '*', expected the name of a kernel"),
    ("observed v7.3 v7.3", "4:15: found 'v7.3' again, expected it once at most"),
    ("claim a\nclaim b a", "5:9: found 'a' again, expected it once at most"),
    ("claim a\nskip", f"5:1: found 'skip', expected one of: run, step, {BASES}"),
    ("claim a\n---", f"5:1: found '---', expected one of: run, step, {BASES}"),
    ("claim a\n  run", "5:6: found the end of the line, expected NUMBER:"),
    ("claim a\n  run 1 0", "5:7: found '1', expected NUMBER:"),
    ("claim a\n  run x: 0", f"5:7: found 'x', expected {NUMBER}"),
    ("claim a\n  run 0: 0", f"5:7: found '0:', expected {RUNS}"),
    ("claim a\n  run 2: 0", f"5:7: found '2:', expected {RUNS}"),
    ("claim a\n  run 1:", "5:9: found the end of the line, expected an outcome"),
    ("claim a\n  run 1: ! C2", "5:10: found '!', expected an outcome"),
    ("claim a\n  run 1: zero UNKNOWN", "5:10: found 'zero', expected an outcome"),
    ("claim a\n  run 1: 01 UNKNOWN", "5:10: found '01', expected an outcome"),
    ("claim a\n  run 1: -1 UNKNOWN", "5:13: found 'UNKNOWN', expected an errno"),
    ("claim a\n  run 1: 0", "5:11: found the end of the line, expected an exit reason"),
    (
        "claim a\n  run 1: 0 MMIOO",
        "5:12: found 'MMIOO', expected an exit reason, such as MEMORY_FAULT",
    ),
    (
        "claim a\n  run 1: 0 MMIO doorbel",
        "5:17: found 'doorbel', expected one of: doorbell, gpa=0xHEX",
    ),
    (
        "claim a\n  run 1: 0 MMIO gpa=0x0 len=8 writ=0x0",
        "5:31: found 'writ=0x0', expected one of: read, write=0xHEX",
    ),
    ("claim a\n  run 1: 0 MEMORY_FAULT kep", f"5:25: found 'kep', {MEMORY_FAULT}"),
    ("claim a\n  run 1: 0 MEMORY_FAULT gpa=4096", f"5:29: found '4096', expected {HEX}"),
    ("claim a\n  run 1: 0 MEMORY_FAULT gpa=0x00", f"5:29: found '0x00', expected {HEX}"),
    (
        f"claim a\n{OUTCOME} left-gpa=0x0",
        "5:32: found the end of the line, expected left-size=0xHEX",
    ),
    (f"claim a\n{OUTCOME} exception=0x1", f"5:30: found '0x1', expected {HEX}"),
    (
        f"claim a\n{OUTCOME} moved mvoed",
        f"5:26: found 'mvoed', expected one of: {MARKS}",
    ),
    (f"claim a\n{OUTCOME} moved moved", "5:26: found 'moved' again, expected it once at most"),
    (f"claim a\n{OUTCOME} !", "5:20: found '!', expected clauses after it"),
    (f"claim a\n{OUTCOME} C2", "5:20: found 'C2', expected ! before clauses"),
    (f"claim a\n{OUTCOME} ! c2", "5:22: found 'c2', expected a clause, such as C2"),
    (f"claim a\n{OUTCOME} ! C2 !", "5:25: found '!', expected a clause, such as C2"),
    (f"claim a\n{OUTCOME} ! C2 C2", "5:25: found 'C2' again, expected it once at most"),
    (f"claim a\n{OUTCOME}\n{OUTCOME}", "6:7: found '1:' again, expected it once at most"),
    ("claim a\n  step 1: EIO", f"5:8: found '1:', expected {STEPS}"),
    ("claim a\n  step 3: EIO", f"5:8: found '3:', expected {STEPS}"),
    ("claim a\n  step 2:", "5:10: found the end of the line, expected an errno"),
    ("claim a\n  step 2: EWHAT", f"5:11: found 'EWHAT', expected one of: {ERRNOS}"),
    (
        "claim a\n  step 2: 4096",
        "5:11: found '4096', expected a number (0xHEX or decimal) from 1 to 4095",
    ),
    ("claim a\n  step 2: EIO EIO", "5:15: found 'EIO' again, expected it once at most"),
    ("claim a\n  step 2: EIO ! C9", "5:15: found '!', expected the end of the line"),
]


@pytest.mark.parametrize(("below", "message"), REFUSED)
def test_wrong_expectations_are_refused_with_their_place(below: str, message: str) -> None:
    with pytest.raises(CaseSyntaxError) as caught:
        casefile.load(f"run\nskip\n---\n{below}", "some.case")
    assert str(caught.value) == f"some.case:{message}"


def test_a_wrong_case_is_refused_with_its_place_in_the_file() -> None:
    with pytest.raises(CaseSyntaxError, match=r"^some\.case:3:5: found 'x', "):
        casefile.load("# a\n\nrun x\n---\nclaim a\n", "some.case")
