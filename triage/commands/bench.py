"""``gff bench``: how fast it is here, as figures and as ratios to the bare emulator."""

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType

from fuzz.campaign import MissingEngineError, Settings, run_campaign
from fuzz.contract import Reading
from fuzz.coverage import Mode
from fuzz.crew import CrewError
from triage.commands.options import Json
from triage.ending import Status
from triage.inputs import DEFAULT_KERNEL, whole_number
from triage.screen import note, show, show_json
from triage.speed import CASES, ROUNDS, RUNS, Layer, layers
from triage.tables import columns

Seconds = Annotated[
    int,
    typer.Option(
        "--seconds",
        metavar="N",
        parser=whole_number("--seconds", 1, 3600),
        help="How long the campaign part takes.",
    ),
]


class Campaign(msgspec.Struct, frozen=True):
    """A short campaign of one worker, with coverage on, in an empty directory."""

    seconds: float
    cases: int
    cases_per_second: float

    @property
    def layer(self) -> Layer:
        """The campaign as a layer."""
        return Layer("a campaign: one worker, coverage on", 1e6 / self.cases_per_second)


class Bench(msgspec.Struct, frozen=True):
    """What ``--json`` prints. ``ratios`` are to the first layer; the last is the campaign's.

    ``campaign`` is None where the engine is missing.
    """

    rounds: int
    cases_per_round: int
    kvm_runs_per_case: int
    layers: tuple[Layer, ...]
    campaign: Campaign | None
    ratios: tuple[float, ...]


def bench(length: Seconds = 10, json: Json = False) -> Status:
    """Measure the speed here, from the bare emulator to a campaign.

    One fixed case of three KVM_RUNs is timed with the emulator alone, with the modelled kernel, and
    whole; then a short campaign runs. Ratios are to the emulator alone. Nothing else should run on
    the machine meanwhile.

    Example: gff bench --seconds 60
    """
    measured = layers()
    try:
        campaign = _campaign(length)
    except (MissingEngineError, CrewError) as error:
        note(f"gff: no campaign: {error}")
        campaign = None
    result = Bench(ROUNDS, CASES, RUNS, measured, campaign, ratios(measured, campaign))
    if json:
        show_json(result)
    else:
        show(report(result))
    return Status.MISSING if campaign is None else Status.CLEAN


def ratios(measured: tuple[Layer, ...], campaign: Campaign | None) -> tuple[float, ...]:
    """What each layer costs, in units of the first."""
    everything = (*measured, campaign.layer) if campaign else measured
    return tuple(each.us_per_case / measured[0].us_per_case for each in everything)


def report(result: Bench) -> RenderableType:
    """The layers below one another, and how they were measured."""
    numbers = ("us/case", "us/KVM_RUN", "cases/s", "ratio")
    table = columns("", *numbers, right=numbers)
    for layer, ratio in zip(result.layers, result.ratios, strict=False):
        per_run = layer.us_per_case / result.kvm_runs_per_case
        table.add_row(layer.name, *_figures(layer, f"{per_run:.2f}", ratio))
    rounds = f"{result.rounds} rounds of {result.cases_per_round:,} cases"
    how = ["", f"one case of {result.kvm_runs_per_case} KVM_RUNs, the median of {rounds}"]
    if result.campaign:
        campaign = result.campaign
        table.add_row(campaign.layer.name, *_figures(campaign.layer, "", result.ratios[-1]))
        how.append(
            f"campaign: {campaign.cases:,} cases of its own making in {campaign.seconds:.1f} s"
        )
    return Group(table, *how)


def _figures(layer: Layer, per_run: str, ratio: float) -> tuple[str, str, str, str]:
    each = layer.us_per_case
    return f"{each:.1f}", per_run, f"{1e6 / each:,.0f}", f"{ratio:.2f}"


def _campaign(length: float) -> Campaign:
    with tempfile.TemporaryDirectory(prefix="gff-bench-") as directory:
        settings = Settings(
            campaign=Path(directory) / "campaign",
            kernels=(DEFAULT_KERNEL,),
            reading=Reading.STRICT,
            workers=1,
            seconds=length,
            cases=None,
            coverage=Mode.COUNTERS,
            seed=1,
        )
        end = run_campaign(settings, lambda _: None).snapshot
    return Campaign(end.seconds, end.cases, end.cases_per_second)
