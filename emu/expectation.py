"""What a corpus file expects of each kernel: groups of kernels with the same outcome."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import Final, assert_never

from emu import outcome_line
from emu.abi import errno_name
from emu.case import Case
from emu.outcome import Outcomes, describe
from emu.steps import GetDirtyLog, Run
from emu.tokens import Line, Word, one_of
from emu.words import ERRNOS

_CONDEMNED_BY: Final = "!"
_CLEAN: Final = "clean"
_DIRTY: Final = "dirty"
_KERNEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_CLAUSE: Final = re.compile(r"[A-Z]+[0-9]+")


@unique
class Basis(Enum):
    """How an outcome is known. The groups of a file stand in this order."""

    OBSERVED = "observed"
    CLAIM = "claim"
    INFERRED = "inferred"


@dataclass(frozen=True, slots=True)
class ExpectedRun:
    """A KVM_RUN, counted from 1: what ``describe`` says of it, and the clauses that condemn it."""

    number: int
    outcome: str
    clauses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpectedRefusal:
    """A step that the kernel refuses, counted from 1 among all steps, and the errno's name."""

    number: int
    errno: str


@dataclass(frozen=True, slots=True)
class ExpectedLog:
    """A dirty log that was read, counted as a refusal is, and the numbers of its pages."""

    number: int
    pages: tuple[int, ...]


ExpectedLine = ExpectedRun | ExpectedRefusal | ExpectedLog


@dataclass(frozen=True, slots=True)
class Expectation:
    """Kernels that do the same, known in the same way. Runs stand before the other steps."""

    basis: Basis
    kernels: tuple[str, ...]
    lines: tuple[ExpectedLine, ...]


def expected_lines(
    outcomes: Outcomes, condemned: Mapping[int, Iterable[str]]
) -> tuple[ExpectedLine, ...]:
    """What a file says of ``outcomes``; ``condemned`` maps an index of a run to clauses."""
    runs = [
        ExpectedRun(index + 1, describe(run), tuple(dict.fromkeys(condemned.get(index, ()))))
        for index, run in enumerate(outcomes.runs)
    ]
    steps: list[ExpectedLine] = [
        ExpectedRefusal(each.step + 1, errno_name(each.errno)) for each in outcomes.refusals
    ]
    steps += [ExpectedLog(each.step + 1, each.pages) for each in outcomes.logs]
    return (*runs, *sorted(steps, key=lambda step: step.number))


def arrange(
    lines: Mapping[str, Sequence[ExpectedLine]], basis: Mapping[str, Basis]
) -> tuple[Expectation, ...]:
    """The groups of a file: kernels with equal lines and equal basis stand together."""
    together: dict[tuple[Basis, tuple[ExpectedLine, ...]], list[str]] = {}
    for kernel, expected in lines.items():
        together.setdefault((basis[kernel], tuple(expected)), []).append(kernel)
    groups = [Expectation(key[0], tuple(names), key[1]) for key, names in together.items()]
    return tuple(group for each in Basis for group in groups if group.basis is each)


def dump(groups: Iterable[Expectation]) -> str:
    """The canonical spelling of ``groups``."""
    return "".join(f"{line}\n" for group in groups for line in _dump_group(group))


def _dump_group(group: Expectation) -> list[str]:
    head = " ".join([group.basis.value, *group.kernels])
    return [head, *(f"  {dump_line(line)}" for line in group.lines)]


def dump_line(line: ExpectedLine) -> str:
    """The canonical spelling of one line, without what sets it in."""
    match line:
        case ExpectedRun(number, outcome, clauses):
            condemned = f"  {_CONDEMNED_BY} {' '.join(clauses)}" if clauses else ""
            return f"run {number}: {outcome}{condemned}"
        case ExpectedRefusal(number, errno):
            return f"step {number}: {errno}"
        case ExpectedLog(number, ()):
            return f"step {number}: {_CLEAN}"
        case ExpectedLog(number, pages):
            return f"step {number}: {_DIRTY} {','.join(map(str, pages))}"
        case _:
            assert_never(line)


def read(lines: Iterable[Line], case: Case) -> tuple[Expectation, ...]:
    """The groups that ``lines`` spell, for ``case``."""
    groups: list[Expectation] = []
    named: set[str] = set()
    for line in lines:
        if not line.more():
            continue
        word = line.need("a group")
        if not groups or word.text in _BASES:
            groups.append(Expectation(line.choice(word, _BASES), _kernels(line, named), ()))
        elif word.text in _READERS:
            groups[-1] = _with(groups[-1], _READERS[word.text](line, case), line)
        else:
            raise line.wrong(word, one_of([*_READERS, *_BASES]))
        line.done()
    return tuple(groups)


_BASES: Final = {basis.value: basis for basis in Basis}


def _kernels(line: Line, named: set[str]) -> tuple[str, ...]:
    """The kernels of a group; ``named`` are those of all groups so far."""
    kernels = [line.need("the name of a kernel"), *line.rest()]
    for kernel in kernels:
        if not _KERNEL.fullmatch(kernel.text):
            raise line.wrong(kernel, "the name of a kernel")
        if kernel.text in named:
            raise line.twice(kernel)
        named.add(kernel.text)
    return tuple(kernel.text for kernel in kernels)


def _with(group: Expectation, new: ExpectedLine, line: Line) -> Expectation:
    """``group`` and another line of it."""
    place = _place(new)
    if any(_place(old) == place for old in group.lines):
        raise line.twice(line.words[1])
    lines = sorted((*group.lines, new), key=_place)
    return replace(group, lines=tuple(lines))


def _place(line: ExpectedLine) -> tuple[bool, int]:
    """Where a line stands in its group, which no other line may do."""
    return not isinstance(line, ExpectedRun), line.number


def _run(line: Line, case: Case) -> ExpectedRun:
    runs = sum(isinstance(step, Run) for step in case.steps)
    shape = f"the number of a KVM_RUN of the case, which has {runs}"
    number = _number(line, range(1, runs + 1), shape)
    return ExpectedRun(number, outcome_line.read(line), _clauses(line))


def _clauses(line: Line) -> tuple[str, ...]:
    """Take the clauses, and the mark before them."""
    if line.more() and _CLAUSE.fullmatch((word := line.words[line.taken]).text):
        raise line.wrong(word, f"{_CONDEMNED_BY} before clauses")
    if not line.accept(_CONDEMNED_BY):
        return ()
    mark, clauses = line.words[line.taken - 1], line.rest()
    if not clauses:
        raise line.wrong(mark, "clauses after it")
    for index, word in enumerate(clauses):
        if not _CLAUSE.fullmatch(word.text):
            raise line.wrong(word, "a clause, such as C2")
        if word.text in {other.text for other in clauses[:index]}:
            raise line.twice(word)
    return tuple(word.text for word in clauses)


def _step(line: Line, case: Case) -> ExpectedRefusal | ExpectedLog:
    steps = {i for i, step in enumerate(case.steps, start=1) if not isinstance(step, Run)}
    number = _number(line, steps, "the number of a step of the case other than run")
    answers = (_CLEAN, _DIRTY) if isinstance(case.steps[number - 1], GetDirtyLog) else ()
    word = line.need(one_of([*answers, "an errno"]))
    if word.text in answers:
        return ExpectedLog(number, _pages(line) if word.text == _DIRTY else ())
    return ExpectedRefusal(number, outcome_line.errno(line, word, one_of([*answers, *ERRNOS])))


def _pages(line: Line) -> tuple[int, ...]:
    """Take the numbers of a log's pages, in ascending order."""
    pages: list[int] = []
    for part in line.need("the numbers of the pages").parts():
        page = line.integer(part)
        if pages and page <= pages[-1]:
            raise line.wrong(part, f"a number above {pages[-1]}")
        pages.append(page)
    return tuple(pages)


def _number(line: Line, allowed: Container[int], shape: str) -> int:
    """Take NUMBER: with the colon."""
    word = line.need("NUMBER:")
    if not word.text.endswith(":"):
        raise line.wrong(word, "NUMBER:")
    number = line.integer(Word(word.text[:-1], word.column))
    if number not in allowed:
        raise line.wrong(word, shape)
    return number


_READERS: Final[Mapping[str, Callable[[Line, Case], ExpectedLine]]] = {
    "run": _run,
    "step": _step,
}
