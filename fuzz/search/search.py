"""The search of one worker process, whatever engine drives it: its target, its status, its end.

An engine gets its mutants from ``mutate`` and ``cross_over``, runs each by ``test_one_input``, and
keeps those that leave something new in ``feedback``. The search says how it is doing in its status
file about twice a second, and ends the process when its time or its number of cases is over, or
when it is told to.
"""

import os
import time
from contextlib import AbstractContextManager
from random import Random
from types import FrameType
from typing import Final

from fuzz.directory.store import Store, StoreError, WorkerStatus
from fuzz.guidance.coverage import Arms
from fuzz.guidance.feedback import Feedback
from fuzz.mutation.mutate import Mutator, cut
from fuzz.processes import UNUSABLE, leave, resident_mib
from fuzz.search.hand import Hand
from fuzz.search.neighbours import Neighbours
from fuzz.search.orders import Orders

CHECK_EVERY: Final = 256  # cases; a look at the clock for each would cost a few percent
CHECK_SECONDS: Final = 0.1  # where so many cases take longer, fewer
NOTE_EVERY: Final = 8  # cases; an arm that was seen once comes back, as its case is kept
STATUS_EVERY: Final = 0.5  # seconds
GIFTS_EVERY: Final = 5.0  # seconds; the shards that have changed are listed
COUNTS_EVERY: Final = 30.0  # seconds


class Search:
    """The search of one process. ``instrumented``: around the first import of the model."""

    def __init__(
        self, orders: Orders, store: Store, arms: Arms, instrumented: AbstractContextManager[None]
    ) -> None:
        self.orders = orders
        self.store = store
        self.feedback = Feedback(arms)
        self._started = self._checked = time.monotonic()
        self._next_status = self._next_counts = self._next_gifts = self._started
        self._earlier = store.status(orders.index)
        self._told_to_stop = False
        self._stride = self._until_check = 1
        self._reread: int | None = None
        self._reread_crashes = 0
        store.shard(orders.index).mkdir(parents=True, exist_ok=True)
        self._neighbours = Neighbours(store, orders.index)
        self._gifts: list[bytes] = []
        self._denied: frozenset[bytes] = frozenset()
        self._denied_at = 0
        self._look_for_denied()
        self.mutator = Mutator(Random(orders.seed))  # noqa: S311 - nothing here is secret
        with instrumented:
            from emu.kernels import KERNELS  # noqa: PLC0415 - a module of the model
            from fuzz.search.second_look import SecondLook  # noqa: PLC0415 - as above
            from fuzz.search.target import Target  # noqa: PLC0415 - brings in the others

        kernels = {name: KERNELS[name] for name in orders.kernels}
        self._hand = Hand(store.hand_file(orders.index))
        second_look = None if orders.source is None else SecondLook(orders.source)
        self._target = Target(
            store, kernels, orders.reading, self.feedback, self._age, self._hand.beat, second_look
        )
        noted = store.coverage(orders.index)
        self._target.asked.add(noted.tested if noted else ())

    # THE ENGINE'S SIDE

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """The next input to run: made from ``data``, or what another worker has found."""
        if self._gifts:
            return cut(self._gifts.pop(), max_size)
        if self._reread is None:
            self._begin()
        return self.mutator.custom_mutator(data, max_size, seed)

    def cross_over(self, data: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        """The next input to run, made from two."""
        if self._reread is None:
            self._begin()
        return self.mutator.custom_crossover(data, other, max_size, seed)

    def test_one_input(self, data: bytes) -> None:
        """One case. What is run before the first mutant was known, and does not count."""
        if self._denied and data in self._denied:
            return
        self._hand.hold(data)
        try:
            self._target.run(data)
            self._until_check -= 1
            # What is run again at the start may come by only once.
            if self._reread is None or self._until_check & NOTE_EVERY - 1 == 0:
                self.feedback.note_arms()
            if self._until_check <= 0 or (self.orders.first and self._target.found):
                self._check()
        except OSError as error:
            leave(UNUSABLE, f"{error.filename or self.store.root}: {error.strerror}")
        except StoreError as error:
            leave(UNUSABLE, f"{error}")

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """A signal's handler: the end comes after the present case, and nothing is shrunk more."""
        self._told_to_stop = self._target.hurried = True
        self._until_check = 0

    def _begin(self) -> None:
        """All that was there at the start has been run."""
        self._reread = self._target.cases
        self._reread_crashes = self._target.harness_crashes
        self._target.forget_counts()

    # THE SUPERVISOR'S SIDE

    @property
    def _cases(self) -> int:
        return 0 if self._reread is None else self._target.cases - self._reread

    @property
    def _crashes(self) -> int:
        """Those of ``_cases`` on which we went wrong."""
        return 0 if self._reread is None else self._target.harness_crashes - self._reread_crashes

    def _check(self) -> None:
        """Writes down what is due, and ends the process when that is due."""
        now = time.monotonic()
        orders, cases = self.orders, self._cases
        done = orders.runs > 0 and cases >= orders.runs
        done |= orders.first and self._target.found
        if done or self._told_to_stop or now >= orders.until:
            self._write_counts()
            self._write_status(now, finished=True)
            leave(0)
        if now >= self._next_status:
            self._write_status(now, finished=False)
            self._look_for_denied()
            self._next_status = now + STATUS_EVERY
        if now >= self._next_gifts:
            self._gifts += self._neighbours.gifts()
            self._next_gifts = now + GIFTS_EVERY
        if now >= self._next_counts:
            self._write_counts()
            self._next_counts = now + COUNTS_EVERY
        slow = now - self._checked > CHECK_SECONDS
        self._stride = max(self._stride // 2, 1) if slow else min(self._stride * 2, CHECK_EVERY)
        left = orders.runs - cases if orders.runs else CHECK_EVERY
        self._until_check = min(self._stride, left)
        self._checked = now

    def _write_counts(self) -> None:
        self._target.store_counts(self.orders.index)
        self.store.set_coverage(self.orders.index, self._target.asked.coverage())

    def _look_for_denied(self) -> None:
        changed_at = self.store.harness.stat().st_mtime_ns
        if changed_at != self._denied_at:
            self._denied_at = changed_at
            self._denied = self.store.denied()

    def _write_status(self, now: float, *, finished: bool) -> None:
        target, earlier, cases = self._target, self._earlier, self._cases
        before = (earlier.cases, earlier.rerun, earlier.differed) if earlier else (0, 0, 0)
        arms = (earlier.arms, earlier.arms_known) if earlier else (0, 0)
        wrong = (earlier.harness_crashes, earlier.mutator_incidents) if earlier else (0, 0)
        status = WorkerStatus(
            pid=os.getpid(),
            cases=before[0] + cases,
            seconds=round(now - self.orders.epoch, 3),
            process_cases=cases,
            process_seconds=round(now - self._started, 3),
            arms=max(arms[0], self.feedback.arms_seen),
            arms_known=max(arms[1], self.feedback.arms_known),
            harness_crashes=wrong[0] + self._crashes,
            mutator_incidents=wrong[1] + self.mutator.incidents,
            rss_mib=resident_mib(os.getpid()),
            finished=finished,
            reread=target.cases - cases,
            rerun=before[1] + target.recheck.rerun,
            differed=before[2] + target.recheck.differed,
        )
        self.store.set_status(self.orders.index, status)

    def _age(self) -> float:
        return time.monotonic() - self.orders.epoch
