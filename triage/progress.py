"""A campaign's progress on the screen while it runs: the status, and each new finding."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from fuzz import status
from fuzz.status import Snapshot
from triage.findings import one_line

PLAIN_EVERY: Final = 5.0  # seconds between two status lines where there is no terminal

_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Told of every snapshot. On a terminal one line is rewritten, elsewhere lines are added.

    Findings go to ``findings`` as they come; those in ``known`` are no news.
    """

    def __init__(self, findings: TextIO, known: set[str]) -> None:
        self._findings = findings
        self._known = known
        self._live = sys.stderr.isatty()
        self._clock: Callable[[], float] = time.monotonic
        self._next = self._clock() + PLAIN_EVERY

    def update(self, now: Snapshot) -> None:
        """Show what is new."""
        for finding in now.findings:
            if finding.name not in self._known:
                self._known.add(finding.name)
                self._write("")
                self._findings.write(f"{one_line(finding)}\n")
                self._findings.flush()
        if self._live:
            columns = shutil.get_terminal_size().columns
            self._write(status.line(now).plain[: columns - 1])
        elif self._clock() >= self._next:
            self._next += PLAIN_EVERY
            sys.stderr.write(f"{status.line(now).plain}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Leave a clean line."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"{_CLEAR}{text}")
            sys.stderr.flush()
