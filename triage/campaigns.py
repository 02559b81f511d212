"""The findings of a campaign directory: their order, their ids, and one by its id."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fuzz.directory.finding import Finding
from fuzz.directory.opening import open_store
from fuzz.directory.records import RecordError
from fuzz.directory.store import FINDINGS, Store, StoreError
from fuzz.oracle.contract import CLAUSES
from triage.ending import UserError
from triage.screen import complain_of

DEFAULT: Final = "campaign"
_RANKS: Final = {clause.id: rank for rank, clause in enumerate(CLAUSES)}


class Found(NamedTuple):
    """What a campaign found, the most telling first; and files that are none, with the reason."""

    findings: list[Finding]
    damaged: tuple[str, ...]


def read_campaign(directory: str) -> Found:
    """The findings in a campaign directory; each file that is none is told on standard error."""
    bad: list[RecordError] = []
    try:
        store = open_store(campaign_path(directory))
        with os.scandir(store.root / FINDINGS):  # without it there is nothing to show at all
            findings = store.findings(bad)
    except StoreError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{error.filename or directory}: {error.strerror}") from error
    damaged = tuple(map(str, bad))
    complain_of(damaged)
    return Found(ordered(findings), damaged)


def read_findings(directory: str) -> list[Finding]:
    """The findings in a campaign directory, as far as they can be read."""
    return read_campaign(directory).findings


def campaign_path(name: str) -> Path:
    """The directory of that name; "" would be the one that we are in."""
    if not name:
        raise UserError("campaign '': expected the name of a directory")
    return Path(name)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """Natural ones first, then by clause, kernel and time of discovery."""
    return sorted(
        findings,
        key=lambda it: (
            not it.natural,
            _RANKS.get(it.clause, len(_RANKS)),
            it.kernel,
            it.found_after_s,
        ),
    )


def ids(findings: Sequence[Finding]) -> dict[str, Finding]:
    """What each finding is called on the command line: its signature, if all are one kernel's."""
    several = len({finding.kernel for finding in findings}) > 1
    return {finding.name if several else finding.signature: finding for finding in findings}


def find(findings: Sequence[Finding], wanted: str) -> Finding:
    """The finding of that id, name or signature, or of a beginning that only it has."""
    exact = [each for each in findings if wanted in (each.name, each.signature)]
    begun = [each for each in findings if _begins(each, wanted)]
    found = exact or begun
    if not found:
        known = ", ".join(ids(findings)) or "none, the campaign has no findings"
        raise UserError(f"no finding {wanted!r} (known: {known})")
    if len(found) > 1:
        raise UserError(f"{wanted!r} is more than one finding: {', '.join(ids(found))}")
    return found[0]


def _begins(finding: Finding, wanted: str) -> bool:
    lower = wanted.lower()
    return any(name.lower().startswith(lower) for name in (finding.signature, finding.name))


def case_path(directory: str, finding: Finding) -> Path:
    """Where the smallest case of a finding is."""
    return Store(Path(directory)).root / FINDINGS / f"{finding.name}.case"
