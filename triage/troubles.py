"""What went wrong in a campaign with gff, not with a kernel: nothing as a rule."""

from collections.abc import Iterator
from typing import NamedTuple

from fuzz.campaign.status import Snapshot
from fuzz.directory.store import HARNESS, QUESTIONS, WORKERS
from triage.durations import counted


class Trouble(NamedTuple):
    """``where``: the folder of the campaign that tells more."""

    words: str
    where: str


def troubles(now: Snapshot) -> Iterator[Trouble]:
    """Those of a campaign, the workers' first."""
    if now.restarts:
        outside = f", {now.killed:,} killed from outside" if now.killed else ""
        yield Trouble(f"{counted(now.restarts, 'restart')} of workers{outside}", WORKERS)
    if now.waiting:
        yield Trouble(f"{counted(now.waiting, 'worker')} dying again and again", WORKERS)
    if now.denied:
        yield Trouble(f"{counted(now.denied, 'input')} that no worker is to run again", HARNESS)
    if now.harness_crashes:
        yield Trouble(f"gff itself crashed on {counted(now.harness_crashes, 'case')}", HARNESS)
    if now.questions:
        differ = f"model and expectation differ on {counted(now.questions, 'case')}"
        yield Trouble(differ, QUESTIONS)
    if now.mutator_incidents:
        yield Trouble(counted(now.mutator_incidents, "mutator incident"), WORKERS)
