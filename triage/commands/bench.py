"""``gff bench``: how fast it is here, as figures and as ratios to the bare emulator."""

from itertools import product
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from fuzz.campaign.member import CrewError
from fuzz.campaign.supervisor import MissingEngineError
from fuzz.guidance.coverage import Mode
from fuzz.processes import SOURCE
from triage.bench import (
    FORMAT,
    QUARTERS,
    Bench,
    Campaign,
    Cores,
    Memory,
    box_counts,
    campaign,
    core_counts,
    cores,
    live,
    machine,
    memory,
    now,
    ratios,
)
from triage.bench_text import report
from triage.case_input import read_bytes
from triage.commands.options import Interpreted, Json
from triage.ending import Status, UserError
from triage.inputs import whole_number, worker_tree
from triage.progress import ProgressLine
from triage.screen import complain, show, show_json
from triage.speed import CASES, ROUNDS, RUNS, layers_of
from triage.written import write

_MOST: Final = 10**9

Seconds = Annotated[
    int,
    typer.Option(
        "--seconds",
        metavar="N",
        parser=whole_number("--seconds", 1, 3600),
        help="How long each campaign takes, and all boxes of a kernel.",
    ),
]
MemoryCases = Annotated[
    int,
    typer.Option(
        "--memory-cases",
        metavar="N",
        parser=whole_number("--memory-cases", 0, _MOST),
        help="Over how many cases memory is watched; 0: not at all.",
    ),
]
NoCores = Annotated[bool, typer.Option("--no-cores", help="Leave out the scaling over cores.")]
Images = Annotated[
    list[str] | None,
    typer.Option("--live", metavar="IMAGE", help="Boxes of this kernel too; may be repeated."),
]
Save = Annotated[
    str | None, typer.Option("--save", metavar="FILE", help="Keep the figures as JSON.")
]
Against = Annotated[
    str | None,
    typer.Option("--against", metavar="FILE", help="Show kept figures beside these."),
]


def bench(
    length: Seconds = 10,
    memory_cases: MemoryCases = 50_000,
    no_cores: NoCores = False,
    images: Images = None,
    interpreted: Interpreted = False,
    save: Save = None,
    against: Against = None,
    json: Json = False,
) -> Status:
    """Measure the speed here, from the bare emulator to a campaign on every core.

    One fixed case of three KVM_RUNs is timed with the emulator alone, with the modelled kernel, and
    whole; then short campaigns run, on one core and on more, and one in which the memory is
    watched. Ratios are to the emulator alone, in the same run: compare these. Nothing else should
    run on the machine meanwhile. What `gff compile` has made is measured, where it was run.

    Example: gff bench --seconds 60 --save here.json
    """
    earlier = None if against is None else _kept(against)
    with ProgressLine(None) as line:
        tree = worker_tree(Mode.COUNTERS, interpreted=interpreted)
        result = _measured(line, tree, length, memory_cases, images or [], no_cores=no_cores)
    if save is not None:
        write(save, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    if json:
        show_json(result)
    else:
        show(report(result, earlier))
    return Status.MISSING if result.campaign is None else Status.CLEAN


def _measured(
    line: ProgressLine,
    tree: Path,
    length: int,
    memory_cases: int,
    images: list[str],
    *,
    no_cores: bool,
) -> Bench:
    line.update("one case, layer by layer")
    measured = layers_of(tree)
    line.update("a campaign")
    worked = _campaign(length, tree)
    at_once: tuple[Cores, ...] = ()
    watched: tuple[Memory, ...] = ()
    if worked is not None and not no_cores:
        line.update("scaling over cores")
        at_once = cores(core_counts(), length, tree)
    if worked is not None and memory_cases >= QUARTERS:
        line.update("memory over time")
        watched = memory(memory_cases, tree)
    boxes = []
    for image, number in product(images, box_counts()):
        line.update(f"boxes of {image}: {number}")
        boxes.append(live(image, number, length))
    every = (*measured, *([worked.layer] if worked else []), *(box.layer for box in boxes))
    return Bench(
        format=FORMAT,
        at=now(),
        machine=machine(),
        rounds=ROUNDS,
        cases_per_round=CASES,
        kvm_runs_per_case=RUNS,
        layers=every,
        ratios=ratios(every),
        campaign=worked,
        cores=at_once,
        memory=watched,
        live=tuple(boxes),
        compiled=tree != SOURCE,
    )


def _campaign(length: float, tree: Path) -> Campaign | None:
    try:
        done = campaign(length, tree)
        if done.cases:
            return done
        complain(f"no campaign: no case ran in {length} s; give it more with --seconds")
    except (MissingEngineError, CrewError) as error:
        complain(f"no campaign: {error}")
    return None


def _kept(name: str) -> Bench:
    try:
        kept = msgspec.json.decode(read_bytes(name), type=Bench)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: no figures of gff bench: {error}") from error
    if kept.format != FORMAT:
        raise UserError(f"{name}: format {kept.format}, but this version reads format {FORMAT}")
    return kept
