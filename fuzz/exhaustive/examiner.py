"""One process of an exhaustive search: runs chunks of the scope that the supervisor names.

    python -m fuzz.exhaustive.examiner --campaign DIR --parent PID --epoch T

A line of standard input is a chunk: layout, first, end. Its answer, when all of its cases were run
and every finding is on the disk, is a line of JSON on standard output. The process ends with its
input, with its parent, or when it is told to (SIGTERM), the chunk in hand given up.
Exit status: 0 done, 2 the campaign directory cannot be used; anything else is a crash.
"""

import argparse
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Final

import msgspec

from emu import wire
from emu.case import Case
from emu.kernels import KERNELS
from emu.model import Model
from fuzz.directory.fingerprint import fingerprints
from fuzz.directory.opening import open_store
from fuzz.directory.store import Store, StoreError
from fuzz.exhaustive.enumeration import Enumeration
from fuzz.exhaustive.ledger import Chunk, Ledger, Plan, Result
from fuzz.exhaustive.scope import LAYOUTS
from fuzz.mutation.shrink import shrink, sort_key
from fuzz.oracle.judge import judge
from fuzz.search.sighting import Observer, Sighting, sightings
from fuzz.search.together import Together

CHECK_EVERY: Final = 64  # cases; some tens of milliseconds
SHRINK_BUDGET: Final = 3000  # runs of the model


@dataclass(frozen=True, slots=True)
class Orders:
    """The command line. ``epoch``: when the search began, by CLOCK_MONOTONIC, as if it had never
    been interrupted.
    """

    campaign: Path
    parent: int
    epoch: float


class Examiner:
    """Cases on every kernel of the plan, and what they show."""

    def __init__(self, orders: Orders, store: Store, plan: Plan) -> None:
        self._orders = orders
        self._store = store
        self._plan = plan
        self._model = Model()
        self._kernels = {name: KERNELS[name] for name in plan.kernels}
        self._together = Together(self._model, self._kernels)
        self._sizes = {finding.name: finding.size for finding in store.findings()}
        self._seen: Counter[str] = Counter()
        self._crashes = 0
        self._told_to_stop = False

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """A signal's handler."""
        self._told_to_stop = True

    def run(self, chunk: Chunk) -> Result | None:
        """All of a chunk; None if it has to be given up."""
        started, cases = time.monotonic(), 0
        self._seen.clear()
        self._crashes = 0
        left = _enumeration(chunk.layout, self._plan.steps).cases(chunk.first, chunk.end)
        while some := list(islice(left, CHECK_EVERY)):
            if self._told_to_stop or os.getppid() != self._orders.parent:
                return None
            for case in some:
                self._examine(case)
            cases += len(some)
        return Result(
            chunk=chunk,
            cases=cases,
            crashes=self._crashes,
            seconds=round(time.monotonic() - started, 3),
            seen=dict(self._seen),
        )

    def _examine(self, case: Case) -> None:
        try:
            for outcomes, names in self._together.run(case).items():
                breaches = judge(case, outcomes, self._plan.reading)
                if breaches:
                    for sighting in sightings(names, case, outcomes, breaches):
                        self._see(sighting)
        except (OSError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - we are wrong: keep the evidence, go on
            self._crashed(case, error)

    def _see(self, sighting: Sighting) -> None:
        """Counts, and stores what is new or smaller than before; the supervisor adds the counts."""
        name, size = sighting.name, sort_key(sighting.case)
        self._seen[name] += 1
        known = self._sizes.get(name)
        if known is not None and size >= known:
            return
        self._sizes[name] = size
        age = time.monotonic() - self._orders.epoch
        self._store.record(sighting.finding(age, 0, sighting.case, shrunk=False))
        smallest = self._shrunk(sighting)
        self._store.record(smallest.finding(age, 0, sighting.case, shrunk=True))
        self._sizes[name] = sort_key(smallest.case)

    def _shrunk(self, sighting: Sighting) -> Sighting:
        name, wanted = sighting.kernel, sighting.signature
        observer = Observer(self._model, name, self._kernels[name], self._plan.reading)
        smallest = shrink(
            sighting.case,
            lambda case: observer.look_for(wanted, case) is not None,
            SHRINK_BUDGET,
        )
        return observer.look_for(wanted, smallest) or sighting

    def _crashed(self, case: Case, error: Exception) -> None:
        self._crashes += 1
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__}-{frame.name}-{frame.lineno}"
        lines = traceback.format_exception(error)
        self._store.record_harness_crash(place, wire.encode(case), "".join(lines))


@lru_cache(maxsize=2)  # chunks come layout by layout
def _enumeration(layout: int, steps: int) -> Enumeration:
    return Enumeration(LAYOUTS[layout], steps)


def _chunks() -> Iterator[Chunk]:
    for line in sys.stdin:
        layout, first, end = map(int, line.split())
        yield Chunk(layout, first, end)


def _orders(arguments: Sequence[str]) -> Orders:
    parser = argparse.ArgumentParser(prog="fuzz.exhaustive.examiner")
    parser.add_argument("--campaign", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--epoch", type=float, required=True)
    return Orders(**vars(parser.parse_args(arguments)))


def _serve(orders: Orders) -> None:
    store = open_store(orders.campaign)
    plan = Ledger(orders.campaign).plan()
    if plan is None:
        raise StoreError(f"{orders.campaign}: no plan of an exhaustive search")
    if changed := plan.fingerprints.changed(fingerprints()):
        raise StoreError(f"{orders.campaign}: {' and '.join(changed)} changed under the search")
    examiner = Examiner(orders, store, plan)
    signal.signal(signal.SIGTERM, examiner.stop)
    for chunk in _chunks():
        result = examiner.run(chunk)
        if result is None:
            return
        sys.stdout.write(f"{msgspec.json.encode(result).decode()}\n")
        sys.stdout.flush()


def main() -> None:
    """Run chunks until there are no more."""
    try:
        _serve(_orders(sys.argv[1:]))
    except (OSError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
