"""What of the contract was put to the test: clause, fill site, errno and backing, and what never.

A clause is put to the test by a KVM_RUN that it is about, whether it was kept or broken. Backing is
that of the access which the guest was at.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

import msgspec

from emu.abi import errno_name
from fuzz.contract import CLAUSES
from fuzz.judge import Breach
from fuzz.signature import signature
from fuzz.view import Timeline, View

SUCCESS: Final = "0"


class Combination(msgspec.Struct, frozen=True):
    """A way in which a clause was put to the test: how often, and in which file first."""

    clause: str
    site: str
    errno: str
    backing: str
    runs: int
    witness: str


class Gap(msgspec.Struct, frozen=True):
    """A clause was put to the test at this site, and under this errno, but never both at once."""

    clause: str
    site: str
    errno: str


class Coverage(msgspec.Struct, frozen=True):
    """``tested``: the combinations met. ``gaps``: those next to them that were not; some of them
    cannot be. ``unasked``: clauses that no KVM_RUN was about.
    """

    tested: tuple[Combination, ...]
    gaps: tuple[Gap, ...]
    unasked: tuple[str, ...]


class _Key(NamedTuple):
    clause: str
    site: str
    errno: str
    backing: str


class Asked:
    """Gathers what the clauses were asked about; fed one timeline after another."""

    def __init__(self) -> None:
        self._counts: dict[_Key, int] = {}
        self._witnesses: dict[_Key, str] = {}

    def note(self, name: str, timeline: Timeline) -> None:
        """Count every KVM_RUN of a case under each clause that is about it."""
        for key in _asked(timeline):
            self._counts[key] = self._counts.get(key, 0) + 1
            self._witnesses.setdefault(key, name)

    def coverage(self) -> Coverage:
        """What was gathered, in the order of the contract."""
        order = [clause.id for clause in CLAUSES]
        keys = sorted(self._counts, key=lambda key: (order.index(key.clause), *key[1:]))
        tested = (Combination(*key, self._counts[key], self._witnesses[key]) for key in keys)
        gaps = (gap for clause in order for gap in _gaps([k for k in keys if k.clause == clause]))
        met = {key.clause for key in keys}
        unasked = tuple(clause for clause in order if clause not in met)
        return Coverage(tuple(tested), tuple(gaps), unasked)


def _gaps(keys: Sequence[_Key]) -> Iterator[Gap]:
    """What is missing of one clause's sites and errnos, each with each."""
    met = {(key.site, key.errno) for key in keys}
    sites, errnos = sorted({key.site for key in keys}), sorted({key.errno for key in keys})
    for site, errno in product(sites, errnos):
        if (site, errno) not in met:
            yield Gap(keys[0].clause, site, errno)


def _asked(timeline: Timeline) -> Iterator[_Key]:
    logs = bool(timeline.outcomes.logs)
    for number, run in enumerate(timeline.outcomes.runs):
        errno = errno_name(run.errno) if run.ret < 0 else SUCCESS
        for clause in CLAUSES:
            if clause.asks(run, logs=logs):
                site = signature(timeline, Breach(clause.id, number, "")).site
                yield _Key(clause.id, site, errno, _backing(View(timeline, number)))


def _backing(view: View) -> str:
    """What serves the first page of the access that the guest was at."""
    target = view.target
    if target is None:
        return "no access"
    slot = view.scene.slot_at(target.pages[0])
    if slot is None:
        return "no slot"
    if slot.gmem is not None:
        return "guest_memfd"
    return "read-only memory" if slot.readonly else "memory"
