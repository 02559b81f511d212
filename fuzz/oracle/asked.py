"""Gathers what of the contract is put to the test, one case after another."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

from emu.abi import errno_name
from fuzz.oracle.contract import CLAUSES
from fuzz.oracle.contract_coverage import Combination, Coverage, Gap
from fuzz.oracle.judge import Breach
from fuzz.oracle.signature import signature
from fuzz.oracle.view import Timeline, View

SUCCESS: Final = "0"


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

    def add(self, combinations: Iterable[Combination]) -> None:
        """What others have gathered, or this one has before."""
        for each in combinations:
            key = _Key(each.clause, each.site, each.errno, each.backing)
            self._counts[key] = self._counts.get(key, 0) + each.runs
            self._witnesses.setdefault(key, each.witness)

    def note(self, name: str, timeline: Timeline, times: int = 1) -> None:
        """Count every KVM_RUN of a case under each clause that is about it.

        ``times``: on how many kernels the case went like this.
        """
        for key in _asked(timeline):
            self._counts[key] = self._counts.get(key, 0) + times
            self._witnesses.setdefault(key, name)

    def coverage(self) -> Coverage:
        """What was gathered, in the order of the contract."""
        order = [clause.id for clause in CLAUSES]
        # A campaign that is continued may know clauses that there are no more.
        known = (key for key in self._counts if key.clause in order)
        keys = sorted(known, key=lambda key: (order.index(key.clause), *key[1:]))
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
