"""Directories of cases: a campaign's, libFuzzer's, AFL's, and folders of ``.case`` files.

A file that is no case of any kind is named with the reason, and the others are read all the same.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path
from typing import Final

import msgspec

from emu import text, wire
from emu.case import Case
from fuzz.directory import durable
from fuzz.directory.configuration import CONFIGURATION
from fuzz.directory.shards import LARGEST as LARGEST_INPUT
from fuzz.directory.shards import sha1
from fuzz.directory.store import CORPUS, FINDINGS, Store
from triage.case_input import SUFFIX, parse
from triage.ending import UserError
from triage.screen import printable

_LARGEST: Final = 1 << 20  # bytes; far above any case with all that it expects
_QUEUE: Final = "queue"
_AFL: Final = re.compile(r"id:(\d+).*")
_AFL_KEPT: Final = ("crashes", "hangs")  # what AFL has found
_AFL_FOLDERS: Final = (_QUEUE, *_AFL_KEPT)
_EMPTY: Final = sha1(b"")  # libFuzzer keeps no input at all as well


@unique
class Kind(Enum):
    """Whose directory it is: each has its own names and spelling."""

    CAMPAIGN = "campaign"
    CASES = "case"
    LIBFUZZER = "libfuzzer"
    AFL = "afl"


class Bad(msgspec.Struct, frozen=True):
    """A file that was not taken, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A case: its bytes in our spelling, and where it was.

    ``text``: the whole ``.case`` file, if it is one, and ``expects`` whether that expects anything.
    ``exact``: whether the file had these very bytes. ``ours``: whether a fuzzer has made it, as
    these bytes, the name or the suffix show.
    """

    path: Path
    data: bytes
    text: bytes = b""
    expects: bool = False
    exact: bool = True
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is in a directory. ``aside``: files that are not of its kind; a campaign has none."""

    folder: Path
    kind: Kind
    entries: tuple[Entry, ...]
    bad: tuple[Bad, ...]
    aside: int

    @property
    def stranger(self) -> str | None:
        """The first file that no fuzzer has put there, as far as its name and bytes tell."""
        others = [printable(str(entry.path)) for entry in self.entries if not entry.ours]
        others += [each.file for each in self.bad if Path(each.file).name != _EMPTY]
        return min(others, default=None)


def kind_of(folder: Path) -> Kind | None:
    """Whose directory it is; None for one that is not there or has nothing in it yet."""
    try:
        is_there, is_campaign = folder.exists(), (folder / CONFIGURATION).exists()
    except OSError as error:  # somebody else's directory
        raise UserError(f"{error.filename or folder}: {error.strerror}") from error
    if not is_there:
        return None
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a directory")
    if is_campaign:
        return Kind.CAMPAIGN
    files = list(_walk(folder, []))
    if any(path.suffix == SUFFIX for path in files):
        return Kind.CASES
    if any(_is_afl(path) for path in files):
        return Kind.AFL
    return Kind.LIBFUZZER if files else None


def read(folder: Path) -> Corpus:
    """Every case in it; UserError where it is no directory."""
    kind = kind_of(folder) or Kind.LIBFUZZER
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a directory of cases")
    bad: list[Bad] = []
    entries: list[Entry] = []
    denied = Store(folder).denied() if kind is Kind.CAMPAIGN else frozenset()
    paths, aside = _files(folder, kind, bad)
    for path in paths:
        try:
            entry = _entry(path)
            if entry.data in denied:
                raise UserError("a worker died of it")
            entries.append(entry)
        except UserError as error:
            reason = str(error).removeprefix(f"{printable(str(path))}:").strip()
            bad.append(Bad(printable(str(path)), reason))
    return Corpus(folder, kind, tuple(entries), tuple(bad), aside)


def _files(folder: Path, kind: Kind, bad: list[Bad]) -> tuple[list[Path], int]:
    """The files that ought to be cases, and how many others there are."""
    if kind is Kind.CAMPAIGN:
        smallest = [path for path in _walk(folder / FINDINGS, bad) if path.suffix == SUFFIX]
        return [*_walk(folder / CORPUS, bad), *smallest], 0
    every = list(_walk(folder, bad))
    if kind is Kind.LIBFUZZER:
        return every, 0
    cases = [
        path for path in every if (_is_afl(path) if kind is Kind.AFL else path.suffix == SUFFIX)
    ]
    return cases, len(every) - len(cases)


def _walk(folder: Path, bad: list[Bad]) -> Iterator[Path]:
    """Files below, in an order that does not change, without those still being written."""

    def unreadable(error: OSError) -> None:
        bad.append(Bad(printable(str(error.filename)), error.strerror or "unreadable"))

    for where, folders, files in os.walk(folder, onerror=unreadable):
        folders.sort()
        yield from (Path(where, name) for name in sorted(files) if not name.startswith("."))


def _is_afl(path: Path) -> bool:
    return path.parent.name in _AFL_FOLDERS and _AFL.fullmatch(path.name) is not None


def is_afls_finding(path: Path) -> bool:
    """Whether AFL keeps it for what it did, not for what it reaches."""
    return path.parent.name in _AFL_KEPT


def _entry(path: Path) -> Entry:
    content = _content(path)
    if path.suffix != SUFFIX:
        data = wire.encode(wire.decode(content))
        exact = data == content
        return Entry(path, data, exact=exact, ours=exact or path.name == sha1(content))
    file = parse(content, printable(str(path)))
    return Entry(path, _bytes(file.case), content, expects=bool(file.expectations))


def _bytes(case: Case) -> bytes:
    """The bytes of a case; UserError, in the words of its text, where they have no room for it."""
    for number, step in enumerate(case.steps, start=1):
        try:
            wire.encode_step(step)
        except ValueError as error:
            told = f"no room in bytes for step {number}: {text.dump_step(step)}"
            raise UserError(told) from error
    try:
        return wire.encode(case)
    except ValueError as error:  # too many steps
        raise UserError(f"no spelling in bytes: {error}") from error


def _content(path: Path) -> bytes:
    """All of a plain file of bearable size; a pipe, opened, would wait for its writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UserError("a link" if path.is_symlink() else error.strerror or "") from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UserError("no plain file")
        if found.st_size > _LARGEST:
            raise UserError(f"larger than {_LARGEST >> 20} MiB, which no case is")
        content = file.read(_LARGEST)
    if not content:
        raise UserError("empty")
    return content


# WRITING


class Written(msgspec.Struct, frozen=True):
    """What became of cases that were to be put into a directory.

    ``renamed``: those of the new ones whose name was taken; ``refused``: whose second choice too.
    """

    new: int
    there: int
    renamed: int
    refused: tuple[Bad, ...]


def write(folder: Path, kind: Kind, entries: Iterable[Entry]) -> Written:
    """Put cases there. Nothing that is there is overwritten."""
    target = folder / {Kind.CAMPAIGN: CORPUS, Kind.AFL: _QUEUE}.get(kind, "")
    target.mkdir(parents=True, exist_ok=True)
    known = {sha1(entry.data) for entry in read(folder).entries}
    refused: list[Bad] = []
    new = there = renamed = 0
    number = _next_number(target) if kind is Kind.AFL else 0
    for entry in entries:
        name = sha1(entry.data)
        if name in known:
            there += 1
            continue
        if kind is Kind.CAMPAIGN and len(entry.data) > LARGEST_INPUT:
            refused.append(Bad(printable(str(entry.path)), "longer than a campaign's cases"))
            continue
        names = _names(kind, entry, name, number + new)
        path = next((target / each for each in names if not os.path.lexists(target / each)), None)
        if path is None:
            shown = printable(str(target / names[0]))
            refused.append(Bad(shown, "another file of that name is there"))
            continue
        durable.replace(path, _spelling(kind, entry))
        known.add(name)
        renamed += path.name != names[0]
        new += 1
    return Written(new, there, renamed, tuple(refused))


def _names(kind: Kind, entry: Entry, name: str, number: int) -> tuple[str, ...]:
    """What its file may be called; the first is what it ought to be."""
    match kind:
        case Kind.CASES if entry.text:
            return entry.path.name, f"{entry.path.stem}-{name[:8]}{SUFFIX}"
        case Kind.CASES:
            return (f"{name[:16]}{SUFFIX}",)
        case Kind.AFL:
            return (f"id:{number:06},orig:{name}",)
        case Kind.CAMPAIGN | Kind.LIBFUZZER:
            return (name,)


def _spelling(kind: Kind, entry: Entry) -> bytes:
    if kind is not Kind.CASES:
        return entry.data
    return entry.text or text.dump(wire.decode(entry.data)).encode()


def _next_number(queue: Path) -> int:
    found = (_AFL.fullmatch(path.name) for path in queue.iterdir())
    return max((int(each[1]) + 1 for each in found if each), default=0)


def distinct(entries: Sequence[Entry]) -> list[Entry]:
    """Each case once: as text where there is one, else as it came first."""
    chosen: dict[bytes, Entry] = {}
    for entry in entries:
        known = chosen.get(entry.data)
        if known is None or (entry.text and not known.text):
            chosen[entry.data] = entry
    return list(chosen.values())
