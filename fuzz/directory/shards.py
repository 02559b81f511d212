"""The corpus directory: a shard for each worker, to which it alone writes.

    corpus/N/SHA1   an input that worker N keeps, under the SHA-1 of its bytes
    corpus/aside/   inputs that reached nothing more than those that stay
    corpus/skipped/ what was found in a shard and is no input

A name that is not that of its bytes is of an input that a killed worker has torn.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

LARGEST: Final = 1 << 12  # bytes; an input of ours has about half of it at most
ASIDE: Final = "aside"
SKIPPED: Final = "skipped"
_NAME: Final = re.compile(r"[0-9a-f]{40}")


class Entry(NamedTuple):
    """An input that is there and whole."""

    path: Path
    data: bytes


class Survey(NamedTuple):
    """What a corpus holds. ``doubles``: more of what is among the entries; ``skipped``: what no
    worker of ours has put there.
    """

    entries: tuple[Entry, ...]
    doubles: tuple[Path, ...]
    torn: tuple[Path, ...]
    skipped: tuple[Path, ...]


def sha1(data: bytes) -> str:
    """What an input's file is called, as libFuzzer does it."""
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def shards(corpus: Path) -> list[Path]:
    """The shards that are there."""
    with os.scandir(corpus) as found:
        names = [
            it.name for it in found if it.name.isdecimal() and it.is_dir(follow_symlinks=False)
        ]
    return [corpus / name for name in sorted(names, key=int)]


def content(path: Path) -> bytes | None:
    """The bytes of an input; None where they are not, or not all, there."""
    data = _bytes(path)
    return data if data is not None and sha1(data) == path.name else None


def survey(corpus: Path, on_progress: Callable[[int], None], *, aside: bool) -> Survey:
    """All shards, and what lies beside them, as somebody has put it there or an older gff did.

    ``aside``: and what was set aside. ``on_progress`` is told how many were read.
    """
    entries: dict[str, Entry] = {}
    doubles: list[Path] = []
    torn: list[Path] = []
    skipped: list[Path] = []
    for number, path in enumerate(_files(corpus, aside=aside)):
        on_progress(number)
        data = _bytes(path) if _NAME.fullmatch(path.name) else None
        if data is None:
            skipped.append(path)
        elif sha1(data) != path.name:
            torn.append(path)
        elif path.name in entries:
            doubles.append(path)
        else:
            entries[path.name] = Entry(path, data)
    return Survey(tuple(entries.values()), tuple(doubles), tuple(torn), tuple(skipped))


def _files(corpus: Path, *, aside: bool) -> Iterator[Path]:
    """In shards, anything; beside them, what is no directory of ours."""
    own = shards(corpus)
    kept = corpus / ASIDE
    for folder in (*own, *((kept,) if aside and kept.is_dir() else ())):
        yield from sorted(folder.iterdir())
    with os.scandir(corpus) as found:
        names = sorted(entry.name for entry in found)
    ours = {*(shard.name for shard in own), ASIDE, SKIPPED}
    yield from (corpus / name for name in names if name not in ours)


def _bytes(path: Path) -> bytes | None:
    """The content of a plain file of bearable size; a pipe, opened, would wait for its writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return None
        return os.read(descriptor, LARGEST)
    except OSError:
        return None
    finally:
        os.close(descriptor)
