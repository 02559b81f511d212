"""``gff report``: a campaign as one HTML page."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from triage.campaigns import DEFAULT
from triage.commands.options import Directory, Json
from triage.durations import counted
from triage.ending import Status
from triage.overview import Overview, ending, overview
from triage.report import report
from triage.report_page import page
from triage.screen import complain_of, printable, show, show_json
from triage.written import write

REPORT: Final = "report.html"

Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help="Where.  [default: report.html in DIR]"),
]


class Written(msgspec.Struct, frozen=True):
    """What ``--json`` prints. ``damaged``: files that are left out, each with the reason."""

    report: str
    findings: int
    damaged: tuple[str, ...]


def write_report(directory: Directory = DEFAULT, out: Out = None, json: Json = False) -> Status:
    """Write a campaign as one HTML page that needs no network: plots, coverage, every finding.

    `gff fuzz` writes it at the end of a campaign as well. Findings with the same
    signature on several kernels are one. Exit status 1 where there are findings, 2 where a file of
    the campaign is damaged.

    Example: gff report campaign --out report.html
    """
    path, now = written(directory, out)
    found, damaged = len(now.snapshot.findings), tuple(map(printable, now.damaged))
    if json:
        show_json(Written(printable(str(path)), found, damaged))
    else:
        complain_of(damaged)
        show(f"{printable(str(path))}: {counted(found, 'finding')}")
    return ending(now)


def written(directory: str, out: str | None) -> tuple[Path, Overview]:
    """Writes the page: where it is, and the campaign that it shows."""
    made = report(overview(directory))
    path = made.overview.directory / REPORT if out is None else Path(out)
    write(path, page(made))
    return path, made.overview
