"""How far a command is, on one line of standard error; and the findings as they are made."""

import os
import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self, TextIO

from fuzz.directory.finding import Finding
from triage.findings import one_line
from triage.screen import console, printable

PLAIN_EVERY: Final = 5.0  # seconds between two lines where there is no terminal

_CLEAR: Final = "\r\x1b[K"


def draws(stream: TextIO) -> bool:
    """Whether what was written there can be written over."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


class ProgressLine:
    """On a terminal one line, rewritten with every update and gone at the end.

    Elsewhere a line is added every ``plain_every`` seconds, or never where that is None.
    """

    def __init__(self, plain_every: float | None = PLAIN_EVERY) -> None:
        self._live = draws(sys.stderr)
        self._console = console(sys.stderr)
        self._every = float("inf") if plain_every is None else plain_every
        self._next = time.monotonic() + self._every

    def update(self, doing: str) -> None:
        """Show what is being done."""
        if self._live:
            self._write(f"{_CLEAR}{printable(doing)[: self._console.width - 1]}")
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every  # no burst after a standstill
            self._write(f"{printable(doing)}\n")

    def clear(self) -> None:
        """Leave a clean line."""
        if self._live:
            self._write(_CLEAR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class Announcer:
    """Says each finding once, when it is new. Those in ``known`` are no news."""

    def __init__(self, stream: TextIO, known: set[str] | None = None) -> None:
        self._stream = stream
        self._known = set(known or ())

    def news(self, findings: Iterable[Finding]) -> list[Finding]:
        """Those that were not said before; they count as said from now on."""
        new = [finding for finding in findings if finding.name not in self._known]
        self._known.update(finding.name for finding in new)
        return new

    def say(self, findings: Iterable[Finding], line: ProgressLine) -> None:
        """Write what is new, each on a line of its own, above ``line``."""
        for finding in self.news(findings):
            line.clear()
            self._stream.write(f"{one_line(finding)}\n")
            self._stream.flush()
