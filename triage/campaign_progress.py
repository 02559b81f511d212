"""A campaign's progress while it runs: a screen on a terminal, a line now and then elsewhere."""

import sys
import time
from pathlib import Path
from typing import Final, TextIO

from rich.console import Group
from rich.live import Live

from fuzz.campaign.status import Snapshot
from triage.advice import advice
from triage.campaign_line import campaign_line
from triage.ending import UserError
from triage.findings import one_line
from triage.overview import Reader
from triage.progress import Announcer, ProgressLine, draws
from triage.screen import console, note, printable
from triage.status_screen import quiet, screen

REDRAW: Final = 1.0  # seconds
LISTEN: Final = 60.0  # seconds between two looks at whether it has gone quiet


class CampaignProgress:
    """Told of every snapshot. Findings go to ``findings``; those in ``known`` are no news."""

    def __init__(self, campaign: Path, findings: TextIO, known: set[str]) -> None:
        self._findings = findings
        self._announcer = Announcer(findings, known)
        self._line = ProgressLine()
        self._quiet = Quiet(str(campaign))
        self._screen = Screen(str(campaign)) if draws(sys.stderr) else None

    def update(self, now: Snapshot) -> None:
        """Show what is new."""
        if self._screen is None:
            self._announcer.say(now.findings, self._line)
            for line in self._quiet.news():
                note(line)
            self._line.update(campaign_line(now))
            return
        for finding in self._announcer.news(now.findings):
            self._announce(one_line(finding), self._screen)
        self._screen.update()

    def note(self, line: str) -> None:
        """A line that stays, on standard error."""
        if self._screen is None:
            self._line.clear()
            note(line)
        else:
            self._screen.print_above(printable(line))

    def close(self) -> None:
        """Leave a clean screen."""
        self._line.clear()
        if self._screen is not None:
            self._screen.close()

    def _announce(self, line: str, shown: "Screen") -> None:
        """A terminal has it above the screen; a file has it as it comes."""
        if self._findings.isatty():
            shown.print_above(line)
        else:
            self._findings.write(f"{line}\n")
            self._findings.flush()


class Quiet:
    """Says once that nothing new comes any more, and again if it was wrong in between."""

    def __init__(self, campaign: str) -> None:
        self._reader = Reader(campaign)
        self._next = time.monotonic() + LISTEN
        self._said = False

    def news(self) -> list[str]:
        """The lines to show, if any; a look at the campaign is taken now and then only."""
        if time.monotonic() < self._next:
            return []
        self._next = time.monotonic() + LISTEN
        try:
            now = self._reader.overview()
        except UserError:
            return []
        widening, said = advice(now), self._said
        self._said = bool(widening)
        if said or not widening:
            return []
        return [quiet(now), *(f"  {each}" for each in widening)]


class Screen:
    """A campaign's screen, drawn in place on standard error, and gone at the end."""

    def __init__(self, campaign: str) -> None:
        self._reader = Reader(campaign)
        self._console = console(sys.stderr)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # What others write is theirs to place: nobody writes while this is drawn.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._next = 0.0

    def update(self) -> None:
        """Draw it again if it is time to; what cannot be read just now is drawn the next time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REDRAW
        try:
            now = self._reader.overview()
        except UserError:
            return
        self._live.start()
        # The last line is empty: a terminal writes ^C where the cursor is, and might wrap.
        shown = Group(screen(now, self._console), "")
        self._live.update(shown, refresh=True)

    def print_above(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Take it away."""
        self._live.stop()
