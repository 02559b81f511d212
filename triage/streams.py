"""Standard output and standard error as this process got them: closed, full, or left by a reader.

Whatever writes to standard output, its failure comes out as an OutputError: an OSError could be
anybody's.
"""

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from triage.ending import OutputError, ReaderGoneError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Output(io.FileIO):
    """The bytes of standard output."""

    def write(self, content: "ReadableBuffer", /) -> int:
        """Write, or say why not."""
        try:
            return super().write(content)
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            raise OutputError(error.strerror) from error


def prepare() -> None:
    """Make failures of standard output known as such. OutputError if it is closed."""
    if _is_closed(sys.stderr):
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for good
    if _is_closed(sys.stdout):
        raise OutputError("closed")
    given = sys.__stdout__
    if given is not None and given is sys.stdout:  # another's is for that other to look after
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(given.fileno(), "w", closefd=False)),
            encoding=given.encoding,
            errors=given.errors,
            line_buffering=given.isatty(),
        )


def _is_closed(stream: TextIO | None) -> bool:
    """Python has None for such a stream, whatever its type says."""
    return stream is None


def give_up_output() -> None:
    """Let what is still to be written go nowhere: the interpreter would try again at its end."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
