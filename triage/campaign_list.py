"""Several campaigns, a line each: those that are named, and those right below a folder of them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fuzz.directory.configuration import CONFIGURATION, configuration_of
from fuzz.directory.records import RecordError
from fuzz.exhaustive.ledger import COVERAGE
from triage.campaigns import campaign_path
from triage.durations import span
from triage.ending import Status, UserError
from triage.overview import Condition, Overview, ending, overview, rate
from triage.screen import printable
from triage.status_line import StatusLine, status_line
from triage.tables import Table, columns

_COLUMNS: Final = (
    *("campaign", "state", "time", "cases", "a second"),
    *("branches", "findings", "natural", "last new"),
)
_SPARE: Final = ("natural", "branches", "last new", "a second")


class Campaigns(NamedTuple):
    """Those that can be read, and of the others the reason, a line each."""

    overviews: tuple[Overview, ...]
    unreadable: tuple[str, ...]


class StatusLines(msgspec.Struct, frozen=True):
    """What ``gff status --json`` prints of several."""

    campaigns: tuple[StatusLine, ...]
    unreadable: tuple[str, ...]


def several(directories: list[str]) -> list[str] | None:
    """The campaigns meant, where that is not the one that is named."""
    found = [each for name in directories for each in _meant(name)]
    return None if found == directories[:1] else found


def _meant(name: str) -> Iterable[str]:
    """A campaign that is named, or the campaigns in a folder that is none itself."""
    path = campaign_path(name)
    try:
        if (path / CONFIGURATION).exists():
            return (name,)
    except OSError:  # what cannot be read is told later
        return (name,)
    below = sorted(each.parent for each in path.glob(f"*/{CONFIGURATION}") if _is_campaign(each))
    return tuple(map(str, below)) or (name,)


def _is_campaign(path: Path) -> bool:
    """Whether it is not of an exhaustive search; what cannot be read is told later."""
    try:
        return configuration_of(path.parent).coverage != COVERAGE
    except RecordError:
        return True


def read_all(directories: Iterable[str]) -> Campaigns:
    """How each stands."""
    found: list[Overview] = []
    unreadable: list[str] = []
    for each in dict.fromkeys(directories):
        try:
            found.append(overview(each))
        except UserError as error:
            unreadable.append(printable(str(error)))
    return Campaigns(tuple(found), tuple(unreadable))


def ending_of(campaigns: Campaigns) -> Status:
    """As of one: 2 where anything cannot be read, else 1 where there are findings."""
    each = [ending(now) for now in campaigns.overviews]
    return max([*each, *([Status.USAGE] if campaigns.unreadable else [])], default=Status.CLEAN)


def status_lines(campaigns: Campaigns) -> StatusLines:
    """All of it, for programs."""
    return StatusLines(tuple(map(status_line, campaigns.overviews)), campaigns.unreadable)


def table(campaigns: Iterable[Overview]) -> Table:
    """A line each."""
    made = columns(*_COLUMNS, right=_COLUMNS[2:], spare=_SPARE)
    for now in campaigns:
        made.add_row(*_cells(now))
    return made


def _cells(now: Overview) -> Iterator[str]:
    shot, running = now.snapshot, now.condition is Condition.RUNNING
    speed = sum(rate(worker) for _, worker in now.workers)
    yield printable(str(now.directory))
    yield f"{now.condition.value} {now.pid or ''}".rstrip()
    yield span(shot.seconds)
    yield f"{shot.cases:,}"
    yield f"{speed:,.0f}" if running else "-"
    yield f"{shot.arms:,}" if shot.arms_known else "-"
    yield f"{len(shot.findings):,}"
    yield f"{sum(each.natural for each in shot.findings):,}"
    yield "-" if now.quiet_s is None else f"{span(now.quiet_s)}"
