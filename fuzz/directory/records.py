"""Files that hold one record as JSON: read whole, or told what is wrong with them."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

LARGEST: Final = 1 << 24  # bytes; far above any record of ours
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class RecordError(Exception):
    """A file that is not what it should be; the text is one line: the path, and the reason."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


def read(path: Path, kind: type[_Struct]) -> _Struct:
    """The record at ``path``. RecordError where there is none; FileNotFoundError for no file."""
    return decoded(path, content(path), kind)


def content(path: Path, largest: int = LARGEST) -> bytes:
    """All of a plain file of bearable size; a pipe, opened, would wait for its writer."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(errno.ENOENT, "No such file", str(path)) from None
    except OSError as error:
        raise RecordError(path, _cannot(error)) from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(path, "no plain file")
        if found.st_size > largest:
            raise RecordError(path, f"damaged: larger than {largest >> 20} MiB")
        try:
            return file.read(largest)
        except OSError as error:
            raise RecordError(path, _cannot(error)) from error


def decoded(path: Path, data: bytes, kind: type[_Struct]) -> _Struct:
    """The record that ``path`` holds as ``data``."""
    if not data.strip(b"\0 \n"):
        raise RecordError(path, "damaged: empty")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordError(path, f"damaged: {error}") from error


def all_in(
    folder: Path, suffix: str, kind: type[_Struct], bad: list[RecordError]
) -> Iterator[tuple[Path, _Struct]]:
    """The records in a folder, in the order of their names; what is none goes to ``bad``."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - a search for files hides its errors
    except OSError as error:
        bad.append(RecordError(folder, _cannot(error)))
        return
    # What somebody is just writing begins with a dot.
    for path in (folder / name for name in names if name.endswith(suffix) and name[0] != "."):
        try:
            yield path, read(path, kind)
        except FileNotFoundError:
            bad.append(RecordError(path, "cannot be read: no such file"))
        except RecordError as error:
            bad.append(error)


def encoded(record: msgspec.Struct) -> bytes:
    """A record as a person can read it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _cannot(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"
