"""``gff live coverage``: which lines of a real kernel the cases reach."""

import os
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from emu.live import images, source_lines
from emu.live.fleet import Lost as NoOutcome
from emu.live.needs import needs
from emu.live.tracing import Traced, trace
from emu.live.unsupported import Unsupported
from triage.case_input import CaseInput, read_case
from triage.commands.corpus import Places
from triage.commands.matrix import Markdown
from triage.commands.options import Json
from triage.conform_report import Count, Lost
from triage.corpus import files_below
from triage.durations import counted
from triage.ending import Status
from triage.inputs import whole_number
from triage.live import live_errors
from triage.observation import live_fleet
from triage.progress import ProgressLine
from triage.screen import show, show_json
from triage.source_coverage import Said, SourceCoverage, Sum
from triage.source_coverage_text import markdown, screen

_PLAIN_EVERY: Final = 10.0  # seconds between two lines where there is no terminal
_BOXES: Final = min(3, len(os.sched_getaffinity(0)))

ImageName = Annotated[
    str, typer.Argument(metavar="IMAGE", help="A kernel in the cache, built with -kcov.")
]
Boxes = Annotated[
    int,
    typer.Option(
        "--boxes", metavar="N", parser=whole_number("--boxes", 1, 256), help="How many QEMUs."
    ),
]


def measure_coverage(
    image: ImageName,
    places: Places = None,
    boxes: Boxes = _BOXES,
    markdown_only: Markdown = False,
    json: Json = False,
) -> Status:
    """Play cases on a kernel that tells what it reaches, and show the lines that no case does.

    Without files: the corpus that came with gff. The kernel is one of `gff live build NAME-kcov`;
    only the files of KVM's fault path tell. Exit status 1 where a case has no outcome, or the
    kernel complained on its console.

    Example: gff live coverage gff-v7.3-kcov
    """
    start = time.monotonic()
    given = [read_case(name) for name in files_below(places)]
    with live_errors(), ProgressLine(_PLAIN_EVERY) as progress:
        run = _Run(image, given, progress)
        for nested in (False, True):
            run.play(nested, boxes)
    found = run.report(time.monotonic() - start)
    if json:
        show_json(found)
    elif markdown_only:
        typer.echo(markdown(found), nl=False)
    else:
        show(screen(found))
    return Status.CLEAN if found.clean else Status.FINDINGS


class _Run:
    """The cases, and what came of them so far."""

    def __init__(self, image: str, given: Sequence[CaseInput], progress: ProgressLine) -> None:
        self._image = image
        self._given = given
        self._progress = progress
        self._sum = Sum(source_lines.load(images.image(image).name))
        self._linux = ""
        self._done, self._played = 0, 0
        self._cut: list[str] = []
        self._lost: list[Lost] = []
        self._said: list[Said] = []
        self._reasons: Counter[str] = Counter()

    def play(self, nested: bool, boxes: int) -> None:
        """Those that need guests with EL2, or the others."""
        given = [each for each in self._given if each.case.vm.nested == nested]
        if not given:
            return
        cases = [each.case for each in given]
        needed = needs(cases)._replace(debugfs=True)
        self._tell()
        with live_fleet(self._image, min(boxes, len(given)), needed) as fleet:
            self._linux = fleet.host.kernel
            for each in trace(fleet, cases):
                self._note(given[each.number], each)

    def report(self, seconds: float) -> SourceCoverage:
        """What it came to."""
        return SourceCoverage(
            image=self._image,
            linux=self._linux,
            seconds=round(seconds, 1),
            cases=len(self._given),
            played=self._played,
            files=self._sum.files(),
            cut=tuple(self._cut),
            lost=tuple(self._lost),
            complaints=tuple(self._said),
            unsupported=tuple(Count(*each) for each in self._reasons.most_common()),
        )

    def _note(self, given: CaseInput, traced: Traced) -> None:
        name = given.name
        self._said += [
            Said(name, f"{each.complaint.value}: {each.line}") for each in traced.complaints
        ]
        match traced.result:
            case Unsupported():
                self._reasons[traced.result.reason] += 1
            case NoOutcome():
                self._lost.append(Lost(name, traced.result.reason))
            case reached:
                self._played += 1
                self._sum.add(reached)
                self._cut += [name] if reached.cut else []
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        reached, places = self._sum.places
        done = f"{self._done:,} of {counted(len(self._given), 'case')}"
        self._progress.update(f"{done}, {reached:,} of {places:,} places reached")
