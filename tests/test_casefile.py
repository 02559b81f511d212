import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from msgspec import structs

from emu import casefile, text
from emu.abi import DOORBELL, Errno, ExitReason
from emu.case import Case
from emu.casefile import (
    Basis,
    CaseFile,
    CaseSyntaxError,
    Expectation,
    ExpectedLine,
    ExpectedLog,
    ExpectedRefusal,
    ExpectedRun,
)
from emu.outcome import DirtyLog, Outcomes, Refusal, RunOutcome, describe
from emu.steps import GetDirtyLog, Run
from tests.strategies import CASES

SAMPLE: Final = """\
# The leak, on a guest_memfd.
# Message-ID: <1@example.org>

create gmem0 size=0x2000 flags=mmap  # two pages
# A slot for each of them.
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
memslot 1 gpa=0x40000000 size=0x1000 gmem0+0x1000 flags=guest-memfd
fail kvm_gmem_get_pfn ENOMEM
guest   read64 0x40000000
run

run signal
# The end.
---
observed v7.3 v6.18
  run 1: -1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0 injected  ! C2
  run 2: -1 EINTR INTR injected
  step 3: EEXIST
claim bad-two.of_them+1
  run 1: -1 77 MEMORY_FAULT kept  ! C2 C11
  run 2: hang UNKNOWN
  step 3: EEXIST
  step 4: 77
inferred clean
  step 3: EEXIST
"""
CASE: Final = text.load(SAMPLE.partition("---")[0])
REFUSAL: Final = ExpectedRefusal(3, "EEXIST")
OBSERVED: Final = Expectation(
    Basis.OBSERVED,
    ("v7.3", "v6.18"),
    (
        ExpectedRun(
            1,
            "-1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0 injected",
            ("C2",),
        ),
        ExpectedRun(2, "-1 EINTR INTR injected", ()),
        REFUSAL,
    ),
)
CLAIM: Final = Expectation(
    Basis.CLAIM,
    ("bad-two.of_them+1",),
    (
        ExpectedRun(1, "-1 77 MEMORY_FAULT kept", ("C2", "C11")),
        ExpectedRun(2, "hang UNKNOWN", ()),
        REFUSAL,
        ExpectedRefusal(4, "77"),
    ),
)
INFERRED: Final = Expectation(Basis.INFERRED, ("clean",), (REFUSAL,))

PAGE: Final = Path(__file__).parent.parent / "docs" / "case-format.md"

ERRNOS: Final = ", ".join(errno.name for errno in Errno)
NUMBER: Final = "a number (0xHEX or decimal) from 0 to 0xffffffffffffffff"


def test_a_file_is_read_in_its_parts() -> None:
    read = casefile.load(SAMPLE, "some.case")
    assert read.header == "# The leak, on a guest_memfd.\n# Message-ID: <1@example.org>\n"
    assert read.body == SAMPLE[len(read.header) : SAMPLE.index("---")]
    assert read.case == CASE
    assert read.expectations == (OBSERVED, CLAIM, INFERRED)
    assert casefile.dump(read) == SAMPLE


def test_the_group_of_a_kernel_is_found_by_its_name() -> None:
    read = casefile.load(SAMPLE)
    assert read.expected_of("v6.18") == OBSERVED
    assert read.expected_of("clean") == INFERRED
    assert read.expected_of("v6.1") is None


@pytest.mark.parametrize(
    ("content", "header", "body"),
    [
        ("", "", ""),
        ("# all", "# all\n", ""),
        ("run", "", "run\n"),
        ("\n# not the header\nrun\n", "", "\n# not the header\nrun\n"),
        (" # a\x0cb\r\nrun\r\n", " # a\x0cb\r\n", "run\r\n"),
    ],
)
def test_a_file_without_expectations_keeps_its_text(content: str, header: str, body: str) -> None:
    read = casefile.load(content)
    assert (read.header, read.body, read.expectations) == (header, body, ())
    assert casefile.dump(read) == header + body


def test_expectations_are_rewritten_in_order_and_the_case_above_them_is_not() -> None:
    above = "# a\n\nguest  cas 0x10 # b\nrun#c\n run\n"
    below = """
 observed v7.3  # seen

 step 1:  EIO
 run 2: 0   UNKNOWN\t!  C6 C11
 run 1: 0 INTR
"""
    assert casefile.dump(casefile.load(f"{above} ---  # d\n{below}")) == (
        f"{above}---\nobserved v7.3\n  run 1: 0 INTR\n  run 2: 0 UNKNOWN  ! C6 C11\n  step 1: EIO\n"
    )


def _breakages(line: str) -> Iterator[str]:
    """Ways to break a line of a group in one place."""
    yield f"stray {line}"
    yield re.sub(r"\d+:", "9:", line) if ":" in line else f"{line} *"
    yield re.sub(r"\d+:", "0:", line) if ":" in line else f"{line} v7.3"
    word, rest = line.split(maxsplit=1)
    for at in range(len(word)):
        yield f"{word[:at]}{word[at + 1 :]} {rest}"
    yield line.replace(":", "") if ":" in line else word
    if "step" in line:
        yield f"{line} stray"
        yield line[:-2]
    if "!" in line:
        yield line.replace("!", "")
        yield f"{line} stray"
        yield line.partition("!")[0] + "!"


BELOW: Final = [
    index for index, line in enumerate(SAMPLE.splitlines()) if index > 13 and line != "---"
]


@pytest.mark.parametrize("index", BELOW, ids=[SAMPLE.splitlines()[index] for index in BELOW])
def test_a_broken_line_is_refused_where_it_is(index: int) -> None:
    lines = SAMPLE.splitlines()
    for broken in _breakages(lines[index]):
        with pytest.raises(CaseSyntaxError) as caught:
            casefile.load("\n".join([*lines[:index], broken, *lines[index + 1 :]]))
        assert (caught.value.line, broken) == (index + 1, broken)
        assert 1 <= caught.value.column <= len(broken) + 1


def test_kernels_with_equal_lines_and_equal_basis_make_one_group() -> None:
    leak, clean = (
        ExpectedRun(1, "-1 ENOMEM MEMORY_FAULT kept", ("C2",)),
        ExpectedRun(1, "0 INTR", ()),
    )
    lines = {
        "bad": (leak,),
        "v7.3": (leak,),
        "read-only-in-source": (clean,),
        "clean": (clean,),
        "v6.18": (leak,),
        "twin": (clean,),
    }
    basis = {
        "bad": Basis.CLAIM,
        "v7.3": Basis.OBSERVED,
        "read-only-in-source": Basis.INFERRED,
        "clean": Basis.CLAIM,
        "v6.18": Basis.OBSERVED,
        "twin": Basis.CLAIM,
    }
    assert casefile.arrange(lines, basis) == (
        Expectation(Basis.OBSERVED, ("v7.3", "v6.18"), (leak,)),
        Expectation(Basis.CLAIM, ("bad",), (leak,)),
        Expectation(Basis.CLAIM, ("clean", "twin"), (clean,)),
        Expectation(Basis.INFERRED, ("read-only-in-source",), (clean,)),
    )


def test_outcomes_become_the_lines_of_a_group() -> None:
    run = RunOutcome(
        step=4,
        ret=-1,
        errno=Errno.ENOMEM,
        exit_reason=ExitReason.MEMORY_FAULT,
        union=(0, 0x4000_0000, 0x1000, 0),
        before=0,
        fresh=True,
        access=0,
        moved=False,
        changed=False,
        exceptions=(),
        injected=False,
        stuck=False,
        sigbus=False,
    )
    outcomes = Outcomes((run, run), (Refusal(step=2, errno=Errno.EEXIST),))
    told = "-1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0"
    assert casefile.expected_lines(outcomes, {1: ["C9", "C2", "C9"]}) == (
        ExpectedRun(1, told, ()),
        ExpectedRun(2, told, ("C9", "C2")),
        ExpectedRefusal(3, "EEXIST"),
    )


_U64S: Final = st.integers(0, (1 << 64) - 1)
RUN_OUTCOMES: Final = st.builds(
    RunOutcome,
    step=st.just(0),
    ret=st.sampled_from([0, 1, -1]),
    errno=st.one_of(st.sampled_from(Errno), st.integers(1, 4095)).map(int),
    exit_reason=st.one_of(st.sampled_from(ExitReason), st.integers(0, 99)).map(int),
    union=st.tuples(st.one_of(st.just(DOORBELL), _U64S), _U64S, _U64S, _U64S),
    before=st.just(0),
    fresh=st.booleans(),
    access=st.just(0),
    moved=st.booleans(),
    changed=st.booleans(),
    exceptions=st.lists(st.tuples(st.just(0), _U64S), max_size=2).map(tuple),
    injected=st.booleans(),
    stuck=st.booleans(),
    sigbus=st.booleans(),
    userfaults=st.integers(0, 40),
    others_changed=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(RUN_OUTCOMES)
def test_every_outcome_that_is_told_can_be_read(run: RunOutcome) -> None:
    if run.stuck:  # a hang has EINTR or none
        run = structs.replace(run, errno=Errno.EINTR)
    told = describe(run)
    read = casefile.load(f"run\n---\nclaim v7.3\n  run 1: {told}  ! C2\n")
    assert read.expectations[0].lines == (ExpectedRun(1, told, ("C2",)),)


CLAUSES: Final = st.lists(st.sampled_from(["C1", "C2", "C13"]), unique=True, max_size=2).map(tuple)
PAGES: Final = st.sets(st.integers(0, 600)).map(lambda pages: tuple(sorted(pages)))
TOLD: Final = st.sampled_from(["0 INTR", "hang UNKNOWN", "-1 EFAULT MEMORY_FAULT kept injected"])


def _lines(case: Case, data: DataObject) -> tuple[ExpectedLine, ...]:
    """Lines that ``case`` can have: one for each run, and for some of its other steps."""
    runs = sum(isinstance(step, Run) for step in case.steps)
    others = [(n, step) for n, step in enumerate(case.steps, 1) if not isinstance(step, Run)]
    return (
        *(ExpectedRun(n + 1, data.draw(TOLD), data.draw(CLAUSES)) for n in range(runs)),
        *(
            ExpectedLog(n, data.draw(PAGES))
            if isinstance(step, GetDirtyLog) and data.draw(st.booleans())
            else ExpectedRefusal(n, "EINVAL")
            for n, step in others
            if data.draw(st.booleans())
        ),
    )


@settings(max_examples=200, deadline=None)
@given(CASES, st.lists(st.sampled_from(Basis), max_size=4), st.data())
def test_a_made_file_round_trips(case: Case, bases: list[Basis], data: DataObject) -> None:
    basis = {f"kernel{n}": known for n, known in enumerate(bases)}
    lines = {kernel: _lines(case, data) for kernel in basis}
    made = casefile.make("# A title\n", case, casefile.arrange(lines, basis))
    assert casefile.load(casefile.dump(made)) == made
    for kernel, expected in lines.items():
        group = made.expected_of(kernel)
        assert group is not None
        assert (group.basis, group.lines) == (basis[kernel], expected)


LOGGED: Final = """\
dirty-log slot0
dirty-log slot0
skip
---
claim v7.3
  step 1: dirty 0,2,511
  step 2: clean
"""


def test_a_dirty_log_is_read_where_its_step_stands() -> None:
    read = casefile.load(LOGGED)
    assert read.expectations[0].lines == (ExpectedLog(1, (0, 2, 511)), ExpectedLog(2, ()))
    assert casefile.dump(read) == LOGGED


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("step 1: dirty", "found the end of the line, expected the numbers of the pages"),
        ("step 1: dirty 2,2", "found '2', expected a number above 2"),
        ("step 1: dirty 2,1", "found '1', expected a number above 2"),
        ("step 1: dirty 1,x", f"found 'x', expected {NUMBER}"),
        ("step 1: dirty 1,", f"found '', expected {NUMBER}"),
        ("step 1: clean 1", "found '1', expected the end of the line"),
        ("step 1: dusty", f"found 'dusty', expected one of: clean, dirty, {ERRNOS}"),
        ("step 1: clean\n  step 1: EIO", "found '1:' again, expected it once at most"),
        ("step 3: clean", f"found 'clean', expected one of: {ERRNOS}"),
    ],
)
def test_a_wrong_line_of_a_dirty_log_is_refused(line: str, error: str) -> None:
    above = LOGGED.partition("  step")[0]
    with pytest.raises(CaseSyntaxError) as caught:
        casefile.load(f"{above}  {line}\n")
    assert str(caught.value).endswith(error)


def test_outcomes_of_steps_stand_in_their_order() -> None:
    outcomes = Outcomes((), (Refusal(1, Errno.EIO),), (DirtyLog(0, (3,)), DirtyLog(2, ())))
    assert casefile.expected_lines(outcomes, {}) == (
        ExpectedLog(1, (3,)),
        ExpectedRefusal(2, "EIO"),
        ExpectedLog(3, ()),
    )


def test_the_parts_of_a_file_are_values() -> None:
    read = casefile.load(SAMPLE)
    assert read == CaseFile(read.header, read.body, CASE, (OBSERVED, CLAIM, INFERRED))
    assert {read, casefile.load(SAMPLE)} == {read}


def test_the_example_in_the_documentation_is_a_canonical_file() -> None:
    example = PAGE.read_text().split("```\n")[1]
    read = casefile.load(example)
    assert casefile.dump(read) == example
    assert text.dump(read.case) == read.body
    assert [group.basis for group in read.expectations] == [Basis.CLAIM, Basis.CLAIM]
