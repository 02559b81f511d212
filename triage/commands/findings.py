"""``gff triage list`` and ``gff triage show``: what a campaign found."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from fuzz.directory.finding import Finding
from triage.campaigns import DEFAULT, case_path, find, ids, read_campaign, read_findings
from triage.commands.options import Directory, Json, OnlyKernels
from triage.ending import Status
from triage.findings import listing, whole
from triage.inputs import kernel_names
from triage.screen import printable, show, show_json

Id = Annotated[
    str, typer.Argument(metavar="ID", help="An id of `gff triage list`, or how only one begins.")
]


class Listed(msgspec.Struct, frozen=True):
    """A finding and its id."""

    id: str
    finding: Finding


class Listing(msgspec.Struct, frozen=True):
    """What ``list --json`` prints. ``damaged``: files that are left out, each with the reason."""

    campaign: str
    findings: tuple[Listed, ...]
    damaged: tuple[str, ...]


def list_findings(
    directory: Directory = DEFAULT, kernel: OnlyKernels = None, json: Json = False
) -> Status:
    """List the findings of a campaign: natural ones first, then by clause.

    Exit status 1 where there are any; 2 where a file of the campaign is damaged.

    Example: gff triage list campaign --kernel v7.3
    """
    every, damaged = read_campaign(directory)
    wanted = _kernels(every, kernel or ())
    found = {name: each for name, each in ids(every).items() if each.kernel in wanted}
    if json:
        listed = tuple(Listed(*each) for each in found.items())
        show_json(Listing(printable(directory), listed, tuple(map(printable, damaged))))
    elif found:
        show(listing(found))
    else:
        show(f"no findings on {', '.join(kernel)}" if kernel else "no findings")
    if damaged:
        return Status.USAGE
    return Status.FINDINGS if found else Status.CLEAN


def _kernels(findings: Sequence[Finding], named: Sequence[str]) -> set[str]:
    """The kernels named, or all; one of another version of gff may be known by a finding alone."""
    there = {each.kernel for each in findings}
    kernel_names([name for name in named if name not in there])
    return set(named) or there


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
