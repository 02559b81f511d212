"""``gff triage list`` and ``gff triage show``: what a campaign found."""

from typing import Annotated

import msgspec
import typer

from fuzz.directory.finding import Finding
from triage.campaigns import DEFAULT, case_path, find, ids, read_findings
from triage.commands.options import Directory, Json
from triage.ending import Status
from triage.findings import listing, whole
from triage.screen import printable, show, show_json

Id = Annotated[
    str, typer.Argument(metavar="ID", help="An id of `gff triage list`, or how only one begins.")
]


class Listed(msgspec.Struct, frozen=True):
    """A finding and its id."""

    id: str
    finding: Finding


class Listing(msgspec.Struct, frozen=True):
    """What ``list --json`` prints."""

    campaign: str
    findings: tuple[Listed, ...]


def list_findings(directory: Directory = DEFAULT, json: Json = False) -> Status:
    """List the findings of a campaign: natural ones first, then by clause.

    Exit status 1 where there are any.

    Example: gff triage list campaign
    """
    found = read_findings(directory)
    if json:
        show_json(
            Listing(printable(directory), tuple(Listed(*each) for each in ids(found).items()))
        )
    elif found:
        show(listing(found))
    else:
        show("no findings")
    return Status.FINDINGS if found else Status.CLEAN


def show_finding(wanted: Id, directory: Directory = DEFAULT, json: Json = False) -> Status:
    """Show a finding: its outcome, its smallest case, the clause, and how to replay it.

    Exit status 1: it is a finding.

    Example: gff triage show C2-gmem_abort-natural campaign
    """
    found = read_findings(directory)
    finding = find(found, wanted)
    if json:
        name = next(name for name, each in ids(found).items() if each is finding)
        show_json(Listed(name, finding))
    else:
        show(whole(finding, case_path(directory, finding)))
    return Status.FINDINGS
