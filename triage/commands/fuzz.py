"""``gff fuzz``: a campaign, its findings as they come, and at its end a table of them."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Final

import typer
from rich.console import RenderableType
from rich.text import Text

from fuzz.campaign import status
from fuzz.campaign.member import CrewError
from fuzz.campaign.status import Summary
from fuzz.campaign.supervisor import MissingEngineError, Settings, run_campaign
from fuzz.directory.configuration import Configuration
from fuzz.directory.finding import Finding
from fuzz.directory.opening import open_store
from fuzz.directory.store import StoreError
from fuzz.guidance.coverage import Mode
from fuzz.native import builds
from fuzz.oracle.contract import Reading
from fuzz.processes import SOURCE
from triage.campaign_progress import CampaignProgress
from triage.campaigns import DEFAULT, campaign_path, ids, ordered
from triage.commands.options import CORES, Campaign, Interpreted, Json, Metrics, Workers
from triage.commands.report import written
from triage.durations import counted, seconds, span
from triage.ending import MissingError, Status, UserError
from triage.endpoint import serving
from triage.findings import listing, summaries
from triage.inputs import (
    DEFAULT_KERNEL,
    command,
    coverage_mode,
    engine,
    kernel_names,
    reading,
    whole_number,
    worker_tree,
)
from triage.invocation import own_name
from triage.screen import note, printable, show
from triage.troubles import troubles

_MAX_SEED: Final = (1 << 32) - 1
_MAX_CASES: Final = 10**15
_TOO_SHORT: Final = ": it takes a longer --for, or fewer --workers"

For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TIME",
        help="How long: a number and s, m, h or d; a bare number is seconds. Else until Ctrl-C.",
    ),
]
Cases = Annotated[
    int | None,
    typer.Option(
        "--cases",
        metavar="N",
        parser=whole_number("--cases", 1, _MAX_CASES),
        help="How many cases, all workers together.",
    ),
]
Searched = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        "-k",
        metavar="NAME",
        help="A kernel of `gff kernels`; may be repeated."
        f"  [default: the campaign's, or {DEFAULT_KERNEL}]",
    ),
]
ReadAs = Annotated[
    str | None,
    typer.Option(
        "--reading",
        metavar="NAME",
        help="strict, documented or paranoid.  [default: the campaign's, or strict]",
    ),
]
Coverage = Annotated[
    str | None,
    typer.Option(
        "--coverage",
        metavar="MODE",
        help="What guides: counters, atheris or none.  [default: the campaign's, or counters]",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        metavar="N",
        parser=whole_number("--seed", 1, _MAX_SEED),
        help="Where chance starts.",
    ),
]

EngineName = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="atheris, or plain: our own loop, where atheris has no wheel.",
    ),
]
OnFinding = Annotated[
    str | None,
    typer.Option(
        "--on-finding",
        metavar="COMMAND",
        help="Run for each new finding, without a shell; {id}, {finding} and {case} are filled in.",
    ),
]
SplitKernels = Annotated[
    bool,
    typer.Option("--split-kernels", help="Deal the kernels out to the workers."),
]


def fuzz(
    kernel: Searched = None,
    workers: Workers = CORES,
    length: For = None,
    cases: Cases = None,
    campaign: Campaign = DEFAULT,
    reading_name: ReadAs = None,
    coverage: Coverage = None,
    seed: Seed = None,
    engine_name: EngineName = None,
    split_kernels: SplitKernels = False,
    on_finding: OnFinding = None,
    interpreted: Interpreted = False,
    metrics: Metrics = None,
    json: Json = False,
) -> Status:
    """Search for cases in which a kernel breaks the contract.

    Findings are printed as they come and kept in the campaign's directory. A later run of the same
    directory continues it, with its kernels, reading and coverage unless told otherwise. Exit
    status 1 where the campaign has findings, 0 where it has none, also when Ctrl-C ends it. Before
    the first case that is 130, and 2 where the time was over.

    Example: gff fuzz --kernel v7.3 --for 60s --campaign campaign
    """
    before = _configuration(campaign_path(campaign))
    settings = Settings(
        campaign=campaign_path(campaign),
        kernels=kernel_names(kernel or (before.kernels if before else None)),
        reading=reading(reading_name or (before.reading if before else Reading.STRICT.value)),
        workers=workers,
        seconds=None if length is None else seconds(length),
        cases=cases,
        coverage=(mode := coverage_mode(coverage or _coverage(before))),
        seed=seed or SystemRandom().randint(1, _MAX_SEED),
        engine=engine(engine_name, mode),
        split=split_kernels,
        on_finding=command("--on-finding", on_finding),
        tree=worker_tree(mode, interpreted=interpreted),
    )
    with serving(metrics, campaign):
        summary = _search(settings, interpreted=interpreted, json=json)
    findings = ordered(summary.snapshot.findings)
    if json:
        now = replace(summary.snapshot, findings=tuple(findings))
        sys.stdout.write(f"{status.as_json(replace(summary, snapshot=now))}\n")
    else:
        show("", *_ending(findings), closing(summary, findings, campaign))
    sys.stdout.flush()
    if summary.snapshot.cases:
        _report(campaign, quiet=json)
    return _status(summary)


def _status(summary: Summary) -> Status:
    if summary.snapshot.findings:
        return Status.FINDINGS
    if summary.snapshot.cases:
        return Status.CLEAN
    # What was asked for has no room for a case.
    return Status.INTERRUPTED if summary.stopped else Status.USAGE


def _configuration(campaign: Path) -> Configuration | None:
    """That of earlier runs; what is no campaign is for the campaign to refuse."""
    try:
        return open_store(campaign).configuration()
    except StoreError:
        return None


def _coverage(before: Configuration | None) -> str:
    return before.coverage if before else Mode.COUNTERS.value


def _search(settings: Settings, *, interpreted: bool, json: bool) -> Summary:
    known = _known(settings.campaign)
    progress = CampaignProgress(settings.campaign, sys.stderr if json else sys.stdout, known)

    def begin() -> None:
        if known:
            held = counted(len(known), "finding")
            note(f"{settings.campaign} goes on: {held} from earlier runs; times and cases add up.")
        if settings.tree != SOURCE:
            note("The workers run what gff compile has made.")
        elif not interpreted and builds.are_unfit():
            note(
                "What gff compile has made is of other source, or damaged: workers run the source."
            )
        if settings.seconds is None and settings.cases is None:
            note("Ctrl-C ends the search and lists the findings.")

    try:
        return run_campaign(settings, progress.update, progress.note, begin)
    except StoreError as error:
        raise UserError(str(error)) from error
    except (MissingEngineError, CrewError) as error:
        raise MissingError(str(error)) from error
    finally:
        progress.close()


def _known(campaign: Path) -> set[str]:
    """The findings of earlier runs; what is no campaign is for the campaign to refuse."""
    try:
        return {finding.name for finding in open_store(campaign).findings([])}
    except StoreError:
        return set()


def _report(campaign: str, *, quiet: bool) -> None:
    """Writes the campaign as a page, after all else: what was found is told already."""
    try:
        path, _ = written(campaign, None)
        if not quiet:
            note(f"report: {path}")
    except UserError as error:
        note(f"no report: {error}")


def _ending(findings: list[Finding]) -> list[RenderableType]:
    """A table of the findings, and the case of the first if that needs no injected error."""
    if not findings:
        return []
    shown = [summaries(findings[:1])] if findings[0].natural else []
    return [listing(ids(findings)), "", *shown]


def closing(summary: Summary, findings: list[Finding], campaign: str) -> Text:
    """The counts, and what to type next."""
    now, kernels = summary.snapshot, ", ".join(summary.kernels)
    if not now.cases and not findings:
        how, hint = ("stopped", "") if summary.stopped else ("over", _TOO_SHORT)
        return Text(f"{how} before any case ran on {kernels}{hint}", style="bold yellow")
    natural = sum(finding.natural for finding in findings)
    found = f"{counted(len(findings), 'finding')}, {natural} natural" if findings else "no findings"
    text = Text(f"{found}, on {kernels}", style="bold")
    text.append(
        f"\n{counted(now.cases, 'case')} in {span(now.seconds)}; {counted(now.workers, 'worker')}, "
        f"{counted(round(now.cases_per_second), 'case')} a second each",
        "not bold",
    )
    for trouble in troubles(now):
        where = printable(str(Path(campaign) / trouble.where))
        text.append(f"\n{trouble.words}: {where}", "yellow")
    return text.append(_next(findings, campaign), "not bold")


def _next(findings: list[Finding], campaign: str) -> str:
    """The command that shows the first finding whole."""
    if not findings:
        return ""
    words = [own_name(), "triage", "show", next(iter(ids(findings))), campaign]
    return f"\nnext: {printable(shlex.join(words))}"
