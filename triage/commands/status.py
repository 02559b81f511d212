"""``gff status``: how a campaign stands that runs elsewhere, or has ended."""

import sys
import time
from typing import Annotated, Final

import typer

from fuzz.halting import told_to_stop
from triage.campaign_list import ending_of, read_all, several, status_lines, table
from triage.campaign_progress import Screen
from triage.campaigns import DEFAULT
from triage.commands.options import Json, Metrics
from triage.ending import Status, UserError
from triage.endpoint import serving
from triage.overview import Condition, Overview, Reader, ending, overview
from triage.progress import draws
from triage.screen import complain, complain_of, console, show, show_json
from triage.status_line import status_line
from triage.status_screen import screen

EVERY: Final = 5.0  # seconds between two reports where there is no terminal
POLL: Final = 0.1

Watch = Annotated[bool, typer.Option("--watch", help="Go on until it ends, or until Ctrl-C.")]


Directories = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DIR...",
        help="The campaign's directory, or several, or a folder of them.  [default: campaign]",
    ),
]


def show_status(
    directories: Directories = None,
    watch: Watch = False,
    metrics: Metrics = None,
    json: Json = False,
) -> Status:
    """Show how a campaign stands: speed, coverage, workers, findings, and what went wrong.

    It is read from the campaign's directory, so the campaign may run elsewhere. With --watch and
    --json, an object every few seconds, one a line. With --metrics it serves until Ctrl-C. Of
    several campaigns there is a line each. Exit status 1 where there are findings, 2 where a file
    of a campaign is damaged.

    Example: gff status campaign --watch
    """
    named = directories or [DEFAULT]
    meant = several(named)
    if meant is not None:
        if watch or metrics is not None:
            option = "--watch" if watch else "--metrics"
            names = ", ".join(meant)
            raise UserError(f"{option}: expected one campaign, not a list of them ({names})")
        return _all(meant, json=json)
    (directory,) = named
    now = overview(directory)
    with serving(metrics, directory):
        if metrics is not None or (watch and now.condition is Condition.RUNNING):
            now = _watch(directory, for_ever=metrics is not None, drawn=watch, json=json)
    _print(now, json=json)
    return ending(now)


def _all(directories: list[str], *, json: bool) -> Status:
    found = read_all(directories)
    if json:
        show_json(status_lines(found))
    else:
        show(table(found.overviews))
        for each in found.unreadable:
            complain(each)
        for now in found.overviews:
            complain_of(now.damaged)
    return ending_of(found)


def _watch(directory: str, *, for_ever: bool, drawn: bool, json: bool) -> Overview:
    """Until the campaign ends or one is told to stop; how it stands then, not shown yet."""
    shown = Screen(directory) if drawn and not json and draws(sys.stderr) else None
    reader = Reader(directory)
    due = 0.0
    with told_to_stop() as stop:
        try:
            while not stop.raised:
                if shown is not None:
                    shown.update()
                if time.monotonic() >= due:
                    due, now = time.monotonic() + EVERY, reader.overview()
                    if not for_ever and now.condition is not Condition.RUNNING:
                        return now
                    if drawn and shown is None:
                        _print(now, json=json)
                time.sleep(POLL)
        finally:
            if shown is not None:
                shown.close()
    return reader.overview()


def _print(now: Overview, *, json: bool) -> None:
    if json:
        show_json(status_line(now))
    else:
        show(screen(now, console(sys.stdout)))
    sys.stdout.flush()
