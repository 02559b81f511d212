"""``gff triage confirm``: a finding of the model played on real kernels."""

from typing import Annotated

import msgspec
import typer

from fuzz.directory.finding import Finding
from fuzz.directory.opening import open_store
from fuzz.directory.store import StoreError
from triage.campaigns import DEFAULT, campaign_path, find, read_findings
from triage.commands.findings import Id
from triage.commands.options import Directory, Inject, Json
from triage.confirm import Confirmed, Subject
from triage.confirmed import confirmed
from triage.ending import Status, UserError
from triage.inputs import whole_number
from triage.observation import injector, live_machine
from triage.screen import show, show_json

Images = Annotated[
    list[str] | None,
    typer.Option("--live", metavar="IMAGE", help="A kernel in the cache, or host; repeatable."),
]
Times = Annotated[
    int,
    typer.Option(
        "--times",
        metavar="N",
        parser=whole_number("--times", 1, 10_000),
        help="How often each kernel plays it.",
    ),
]


class Told(msgspec.Struct, frozen=True):
    """What ``--json`` prints: the finding as it now is, and each kernel beside the model."""

    finding: Finding
    model: str
    kernels: tuple[Confirmed, ...]


def confirm_finding(
    wanted: Id,
    directory: Directory = DEFAULT,
    live: Images = None,
    times: Times = 10,
    inject: Inject = None,
    json: Json = False,
) -> Status:
    """Play the smallest case of a finding on real kernels, and keep what they did.

    A kernel shows a finding if the same clause is broken at the same place, with the model's ret,
    errno and exit_reason. Then a natural finding of that very version is observed, no longer a
    claim. What a kernel says on its console meanwhile is a finding of its own. Exit status 1 where
    a kernel shows it or complains, 3 where one cannot play it, else 0.

    Example: gff triage confirm C2-gmem_abort-natural campaign --live debian-7.3
    """
    if not live:
        raise UserError("--live IMAGE is missing: which kernels are to play it?")
    by = injector(inject)
    finding = find(read_findings(directory), wanted)
    subject = Subject(finding)
    told = []
    for image in dict.fromkeys(live):
        with live_machine(image, [subject.case], by) as machine:
            each = subject.confirm(machine, image, times)
        told.append(each)
        if not each.unsupported:
            finding = _kept(directory, finding, each)
    if json:
        show_json(Told(finding, subject.outcome, tuple(told)))
    else:
        show(confirmed(finding, subject.outcome, told))
    if any(each.confirmation.shown or each.complaints for each in told):
        return Status.FINDINGS
    return Status.MISSING if any(each.unsupported for each in told) else Status.CLEAN


def _kept(directory: str, finding: Finding, told: Confirmed) -> Finding:
    observed = told.observed and finding.natural
    try:
        store = open_store(campaign_path(directory))
        return store.confirm(finding.name, told.confirmation, observed=observed)
    except StoreError as error:
        raise UserError(str(error)) from error
