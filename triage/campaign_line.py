"""A campaign while it runs, as one line: for where there is no terminal to draw on."""

from fuzz.campaign.status import Snapshot
from triage.durations import counted
from triage.troubles import troubles


def campaign_line(now: Snapshot) -> str:
    """How far it is, the newest finding, and what went wrong."""
    words = [
        f"{now.seconds:.0f} s",
        f"{now.cases:,} cases",
        f"{now.cases_per_second:,.0f}/s a worker",
        counted(now.workers, "worker"),
    ]
    if now.arms_known:
        words.append(f"{now.arms} of {now.arms_known} branches")
    words.append(counted(len(now.findings), "finding"))
    if now.newest is not None:
        words.append(f"newest {now.newest.name} after {now.newest.found_after_s:.1f} s")
    return " | ".join([*words, *(trouble.words for trouble in troubles(now))])
