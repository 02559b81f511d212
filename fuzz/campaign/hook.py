"""A command of the user's that is run for each new finding: one at a time, and not for long.

It is started as a list of words, never by a shell. What goes wrong with it is told and stops
nothing; what it prints goes to ``on-finding.log``.
"""

import os
import re
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from fuzz.campaign.ends import cause
from fuzz.directory.finding import Finding
from fuzz.directory.logs import bounded
from fuzz.directory.store import FINDINGS, Store
from fuzz.halting import Flag

LOG: Final = "on-finding.log"
LONGEST: Final = 30.0  # seconds
GRACE: Final = 0.3  # seconds
POLL: Final = 0.02
ID, FINDING, CASE = "{id}", "{finding}", "{case}"
PLACEHOLDERS: Final = (ID, FINDING, CASE)
# A name in braces, or one that nothing closes. Not a shell's ${NAME}, nor {{NAME}} of a template.
_NAMED: Final = re.compile(r"(?<![${])\{\w+(?:\}(?!\})|[^{}]*$)")


class Hook:
    """That of one run. ``words``: () for none. Findings that are there already are no news."""

    def __init__(self, words: Sequence[str], store: Store, tell: Callable[[str], None]) -> None:
        self._words = tuple(words)
        self._store = store
        self._tell = tell
        self._known = {each.name for each in store.findings([])} if words else set()
        self._waiting: deque[Finding] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._name = ""
        self._late_at = 0.0

    def news(self, findings: Sequence[Finding]) -> None:
        """Remembers what is new."""
        if self._words:
            new = [each for each in findings if each.name not in self._known]
            self._known.update(each.name for each in new)
            self._waiting.extend(new)

    def tend(self, now: float) -> None:
        """Sees what became of the one that runs, or starts the next."""
        process = self._process
        if process is None:
            if self._waiting:
                self._start(self._waiting.popleft(), now)
        elif process.poll() is not None:
            self._process = None
            if process.returncode:
                self._complain(cause(process.returncode))
        elif now > self._late_at:
            self._kill(process, f"killed after {LONGEST:.0f} s")
        self._cut_log()

    def end(self, stop: Flag) -> None:
        """Does what is left, as far as there is time; told to stop, there is next to none."""
        until = time.monotonic() + LONGEST
        while (self._process or self._waiting) and time.monotonic() < until:
            if stop.raised:
                until = min(until, time.monotonic() + GRACE)
            self.tend(time.monotonic())
            time.sleep(POLL)
        if self._process is not None:
            self._kill(self._process, "killed at the end of the campaign")
            self._cut_log()
        if self._waiting:
            names = ", ".join(each.name for each in self._waiting)
            self._tell(f"--on-finding: not called for {names}")

    def _start(self, finding: Finding, now: float) -> None:
        folder, log = (self._store.root / FINDINGS).absolute(), self._store.root / LOG
        path, case = folder / f"{finding.name}.json", folder / f"{finding.name}.case"
        told = {ID: finding.name, FINDING: str(path), CASE: str(case)}
        self._name, self._late_at = finding.name, now + LONGEST
        try:
            bounded(log)
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    [_filled(word, told) for word in self._words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **environment(finding, path, case)},
                    start_new_session=True,
                )
        except OSError as error:
            self._complain(error.strerror or "cannot be started")

    def _kill(self, process: subprocess.Popen[bytes], reason: str) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        process.wait()
        self._process = None
        self._complain(reason)

    def _cut_log(self) -> None:
        if self._words:
            with suppress(OSError):  # the next start tells
                bounded(self._store.root / LOG)

    def _complain(self, reason: str) -> None:
        self._tell(f"--on-finding {self._words[0]}: {reason}, for {self._name}; see {LOG}")


def environment(finding: Finding, path: Path, case: Path) -> dict[str, str]:
    """What the command finds in its environment."""
    return {
        "GFF_ID": finding.name,
        "GFF_SIGNATURE": finding.signature,
        "GFF_KERNEL": finding.kernel,
        "GFF_FINDING": str(path),
        "GFF_CASE": str(case),
    }


def unknown_placeholder(words: Sequence[str]) -> str | None:
    """The first that is none of ours; other braces are the command's own."""
    every = (found for word in words for found in _NAMED.findall(word))
    return next((found for found in every if found not in PLACEHOLDERS), None)


def _filled(word: str, told: dict[str, str]) -> str:
    for name, value in told.items():
        word = word.replace(name, value)
    return word
