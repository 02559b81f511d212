"""A case that the user named: a ``.case`` file, or the fuzzer's bytes."""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from emu import casefile, wire
from emu.case import Case
from emu.casefile import CaseFile, CaseSyntaxError, ExpectedRun
from emu.kernels import KERNELS
from emu.tokens import Line
from fuzz.oracle.contract import CLAUSES
from triage.ending import UserError
from triage.inputs import unknown
from triage.screen import complain, printable

LIMIT: Final = 16 << 20  # bytes; far above any case, and far below what would fill the memory
SUFFIX: Final = ".case"
_NAMED: Final = 20  # wrong files that are named
_CLAUSES: Final = tuple(clause.id for clause in CLAUSES)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CaseInput:
    """A case, the name of its file as it is shown, and what a text file says besides."""

    name: str
    case: Case
    file: CaseFile | None


def read_all(names: Sequence[str], read: Callable[[str], T]) -> list[T]:
    """What ``read`` makes of each file; where several are wrong, all are told before the end."""
    done, wrong = [], []
    for name in names:
        try:
            done.append(read(name))
        except UserError as error:
            wrong.append(error)
    if len(wrong) > _NAMED:
        wrong[_NAMED - 1 :] = [UserError(f"{len(wrong) - _NAMED + 1:,} more files are wrong")]
    for each in wrong[:-1]:
        complain(str(each))
    if wrong:
        raise wrong[-1]
    return done


def read_case(name: str) -> CaseInput:
    """The case in the file of that name. UserError says what is wrong with it."""
    data, shown = read_bytes(name), printable(name)
    if data[0] == wire.VERSION and not name.endswith(SUFFIX):
        try:
            return CaseInput(shown, wire.load(data, shown), None)
        except wire.WireError as error:
            raise UserError(str(error)) from error
    file = parse(data, shown)
    return CaseInput(shown, file.case, file)


def read_case_file(name: str) -> CaseFile:
    """The ``.case`` file of that name."""
    return parse(read_bytes(name), printable(name))


def read_bytes(name: str) -> bytes:
    """All bytes of a plain file that is not empty."""
    try:
        with open(Path(name), "rb", opener=_open) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UserError(f"{name}: no plain file, expected a case file")
            data = file.read(LIMIT + 1)
    except IsADirectoryError as error:
        raise UserError(f"{name}: a directory, expected a case file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"{name}: {reason}") from error
    if not data:
        raise UserError(f"{name}: an empty file, expected a case")
    if len(data) > LIMIT:
        raise UserError(f"{name}: larger than {LIMIT >> 20} MiB, which no case is")
    return data


def _open(path: str, flags: int) -> int:
    """Does not wait, as a pipe would make us do for whoever writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def parse(data: bytes, name: str) -> CaseFile:
    """``data`` as the text of a ``.case`` file, all kernels and clauses of which are known."""
    try:
        content = data.decode()
        file = casefile.load(content, name)
    except UnicodeDecodeError as error:
        above = data[: error.start]
        line, column = above.count(b"\n") + 1, error.start - above.rfind(b"\n")
        found = f"found byte {data[error.start]:#04x}, expected UTF-8 text"
        raise UserError(f"{name}:{line}:{column}: {found}") from error
    except CaseSyntaxError as error:
        raise UserError(str(error)) from error
    for group in file.expectations:
        _check("kernel", group.kernels, KERNELS, content, name)
        for expected in group.lines:
            if isinstance(expected, ExpectedRun):
                _check("clause", expected.clauses, _CLAUSES, content, name)
    return file


def _check(
    what: str, names: Iterable[str], known: Collection[str], content: str, file: str
) -> None:
    """UserError where one of the names, which are words of ``content``, is not known."""
    for each in names:
        if each not in known:
            line, column = _place(content, each)
            raise UserError(f"{file}:{line}:{column}: {unknown(what, each, known)}")


def _place(content: str, text: str) -> tuple[int, int]:
    """Line and column of a word below the line that separates case and expectations."""
    lines = content.split("\n")
    below = next(number for number, line in enumerate(lines) if line.split()[:1] == ["---"])
    for number, line in enumerate(lines[below:], start=below + 1):
        for word in Line.split("", number, line).words:
            if word.text == text:
                return number, word.column
    raise AssertionError(f"{text} was read and is not there")
