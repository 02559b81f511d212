"""One worker process: libFuzzer drives the target. The only module that imports atheris.

    python -m fuzz.worker --campaign DIR --index N --seed S --epoch T --until T --runs N
                          --coverage MODE --reading READING --parent PID --kernel K... [--first]

libFuzzer leaves without running anybody's exit handlers. So a worker says how it is doing in its
status file about twice a second, and ends itself when its time or its number of cases is over, or
when it is told to (SIGTERM, SIGINT). Times are those of CLOCK_MONOTONIC, which all processes share.
Exit status: 0 done, 2 the campaign directory cannot be used, 3 no atheris here; anything else is a
crash, and its cause is in the log.
"""

import argparse
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final, NoReturn

try:
    import atheris
except ImportError:  # there is no wheel for this platform
    atheris = None

from fuzz.contract import Reading
from fuzz.coverage import MODEL_MODULES, Arms, Mode, install
from fuzz.feedback import Feedback, register
from fuzz.mutate import MAX_SIZE, Mutator
from fuzz.store import Store, StoreError, WorkerStatus, open_store

CHECK_EVERY: Final = 256  # cases; a look at the clock for each would cost a few percent
NOTE_EVERY: Final = 8  # cases; an arm that was seen once comes back, as its case is kept
STATUS_EVERY: Final = 0.5  # seconds
COUNTS_EVERY: Final = 30.0  # seconds; each finding's file is flushed to the disk
TIMEOUT: Final = 20  # seconds for one case; it takes less than a millisecond
RSS_LIMIT: Final = 512  # MiB; a worker needs about 100
PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Orders:
    """The command line: what to search, where, and how long. ``runs`` 0: as many as time allows.

    ``first``: the first finding is the end.
    ``epoch`` is when the campaign began, as if it had never been interrupted.
    """

    campaign: Path
    index: int
    seed: int
    epoch: float
    until: float
    runs: int
    coverage: Mode
    reading: Reading
    parent: int
    kernels: tuple[str, ...]
    first: bool


class Worker:
    """The search of one process: its target, its status, and its end."""

    def __init__(self, orders: Orders, store: Store) -> None:
        self._orders = orders
        self._store = store
        self._started = time.monotonic()
        self._next_status = self._next_counts = self._started
        earlier = store.status(orders.index)
        self._earlier_cases = earlier.cases if earlier else 0
        self._told_to_stop = False
        self._until_check = 1
        self._registered = orders.coverage is not Mode.COUNTERS
        self.mutator = Mutator(Random(orders.seed))  # noqa: S311 - nothing here is secret
        arms = Arms()
        with _watched(orders.coverage, arms):
            from emu.kernels import KERNELS  # noqa: PLC0415 - a module of the model
            from fuzz.target import Target  # noqa: PLC0415 - brings in the others

        self._feedback = Feedback(arms)
        kernels = {name: KERNELS[name] for name in orders.kernels}
        self._target = Target(store, kernels, orders.reading, self._feedback, self._age)

    def test_one_input(self, data: bytes) -> None:
        """One case, for libFuzzer."""
        if not self._registered:
            register(_core(), self._feedback.regions)
            self._registered = True
        try:
            self._target.run(data)
            self._until_check -= 1
            if self._until_check & NOTE_EVERY - 1 == 0:
                self._feedback.note_arms()
            if self._until_check <= 0 or (self._orders.first and self._target.found):
                self._check()
        except (OSError, StoreError) as error:
            _leave(2, f"{error}")

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """A signal's handler: the end comes after the present case."""
        self._told_to_stop = True
        self._until_check = 0

    def _check(self) -> None:
        """Writes down what is due, and ends the process when that is due."""
        now = time.monotonic()
        orders, cases = self._orders, self._target.cases
        done = orders.runs > 0 and cases >= orders.runs
        done |= orders.first and self._target.found
        if done or self._told_to_stop or now >= orders.until:
            self._target.store_counts()
            self._write_status(now, finished=True)
            _leave(0)
        if now >= self._next_status:
            self._write_status(now, finished=False)
            self._next_status = now + STATUS_EVERY
        if now >= self._next_counts:
            self._target.store_counts()
            self._next_counts = now + COUNTS_EVERY
        left = orders.runs - cases if orders.runs else CHECK_EVERY
        self._until_check = min(CHECK_EVERY, left)

    def _write_status(self, now: float, *, finished: bool) -> None:
        target = self._target
        status = WorkerStatus(
            pid=os.getpid(),
            cases=self._earlier_cases + target.cases,
            seconds=round(now - self._orders.epoch, 3),
            process_cases=target.cases,
            process_seconds=round(now - self._started, 3),
            arms=self._feedback.arms_seen,
            arms_known=self._feedback.arms_known,
            harness_crashes=target.harness_crashes,
            mutator_incidents=self.mutator.incidents,
            rss_mib=_resident_mib(),
            finished=finished,
            questions=target.questions,
        )
        self._store.set_status(self._orders.index, status)

    def _age(self) -> float:
        return time.monotonic() - self._orders.epoch


def libfuzzer_arguments(orders: Orders, store: Store) -> list[str]:
    """The command line that libFuzzer sees."""
    return [
        "gff-worker",
        str(store.corpus),
        f"-seed={orders.seed}",
        f"-max_len={MAX_SIZE}",
        "-len_control=0",  # the mutator knows what length is good for a case
        f"-timeout={TIMEOUT}",
        f"-rss_limit_mb={RSS_LIMIT}",
        f"-artifact_prefix={store.harness}/worker{orders.index}-",
        "-handle_int=0",
        "-handle_term=0",
        "-print_funcs=0",
        "-detect_leaks=0",
        "-verbosity=0",  # else a line for each new input: the log would grow for ever
    ]


@contextmanager
def _watched(mode: Mode, arms: Arms) -> Iterator[None]:
    """Modules of the model that are imported in here get what ``mode`` needs."""
    match mode:
        case Mode.COUNTERS:
            install(arms)
            yield
        case Mode.ATHERIS:
            with atheris.instrument_imports(include=list(MODEL_MODULES)):
                yield
        case Mode.NONE:
            yield


def _core() -> ctypes.CDLL:
    """The part of atheris that holds libFuzzer; loaded when fuzzing starts."""
    return ctypes.CDLL(sys.modules["atheris.core_with_libfuzzer"].__file__)


def _resident_mib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _leave(status: int, reason: str = "") -> NoReturn:
    """Ends the process from inside libFuzzer, which would take SystemExit for a crash."""
    if reason:
        sys.stderr.write(f"{reason}\n")
        sys.stderr.flush()
    os._exit(status)


def _die_with(parent: int) -> None:
    """Asks the kernel to kill this process when its supervisor is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # gone before it could be asked
        _leave(1, "the supervisor is gone")


def _orders(arguments: Sequence[str]) -> Orders:
    parser = argparse.ArgumentParser(prog="fuzz.worker")
    parser.add_argument("--campaign", type=Path, required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epoch", type=float, required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--coverage", type=Mode, required=True)
    parser.add_argument("--reading", type=Reading, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--kernel", action="append", dest="kernels", required=True)
    parser.add_argument("--first", action="store_true")
    given = vars(parser.parse_args(arguments))
    return Orders(**{**given, "kernels": tuple(given["kernels"])})


def main() -> None:
    """Search until the orders are done."""
    orders = _orders(sys.argv[1:])
    _die_with(orders.parent)
    if atheris is None:
        _leave(3, "atheris is not installed: there is no wheel of it for this platform")
    try:
        store = open_store(orders.campaign)
        worker = Worker(orders, store)
    except StoreError as error:
        _leave(2, f"{error}")
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    atheris.Setup(
        libfuzzer_arguments(orders, store),
        worker.test_one_input,
        custom_mutator=worker.mutator.custom_mutator,
        custom_crossover=worker.mutator.custom_crossover,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
