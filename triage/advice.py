"""When a campaign has gone quiet, and what it did not use that would widen its search."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from emu.kernels import CATALOGUE, Kind
from fuzz.directory.configuration import Configuration
from fuzz.directory.series import Sample
from fuzz.guidance.coverage import Mode
from fuzz.oracle.contract import CLAUSES, Reading
from triage.overview import Overview

QUIET_AFTER: Final = 600.0  # seconds without a new path
QUIET_TIMES: Final = 5  # as long as it used to take until the next
_GAPS: Final = 10  # the last of them say how long that is
_WORTH_TRYING: Final = (Kind.RELEASE, Kind.PROPOSAL)


def advice(overview: Overview) -> tuple[str, ...]:
    """What would widen the search, if nothing new has come for long; else nothing."""
    quiet_s = overview.quiet_s
    if quiet_s is None or quiet_s <= max(QUIET_AFTER, QUIET_TIMES * usual_gap(overview.samples)):
        return ()
    return tuple(_unused(overview.configuration))


def usual_gap(samples: Sequence[Sample]) -> float:
    """Seconds from a new path to the next, of late."""
    moments = sorted({sample.last_new_s for sample in samples})[-_GAPS - 1 :]
    return median([after - before for before, after in pairwise(moments)] or [0.0])


def _unused(configuration: Configuration) -> Iterator[str]:
    others = [
        name
        for name, entry in CATALOGUE.items()
        if entry.kind in _WORTH_TRYING and name not in configuration.kernels
    ]
    if others:
        yield f"other kernels: --kernel {' --kernel '.join(others[:2])} (gff kernels lists them)"
    missing = _clauses_left_out(configuration.reading)
    if missing:
        yield f"more clauses: --reading paranoid asks for {', '.join(missing)} as well"
    match configuration.coverage:
        case Mode.NONE.value:
            yield "guidance: --coverage counters"
        case Mode.COUNTERS.value if importlib.util.find_spec("atheris"):
            yield "other guidance: --coverage atheris, which is slower and sees other branches"
    cores = len(os.sched_getaffinity(0))
    if configuration.workers < cores:
        yield f"more workers: --workers {cores}"
    yield "other chance: another --campaign, which begins from nothing"
    yield f"short cases, all of them: gff exhaust --kernel {configuration.kernels[0]}"
    yield "what the model leaves out: gff live conform, on a real kernel"


def _clauses_left_out(reading: str) -> list[str]:
    return [
        clause.id
        for clause in CLAUSES
        if Reading.PARANOID in clause.readings
        and reading not in {each.value for each in clause.readings}
    ]
