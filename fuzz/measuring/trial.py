"""One trial of a search: how many cases it needs, from nothing, to its first finding.

A trial of our own search is a campaign of one worker in a directory that is thrown away afterwards.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum, unique
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from fuzz.directory.configuration import FORMAT, Configuration, Versions
from fuzz.directory.opening import create_store
from fuzz.guidance.coverage import Mode
from fuzz.oracle.contract import Reading
from fuzz.processes import environment, last_line
from fuzz.search.orders import Engine, Orders

PATIENCE: Final = 30.0  # seconds beyond the limit that a worker may take to end


class TrialError(Exception):
    """A worker did not do its work; the text is one line."""


@unique
class Way(Enum):
    """A way of searching: guided by libFuzzer, by nothing, by the plain engine, or Hypothesis'."""

    GUIDED = "guided"
    UNGUIDED = "unguided"
    PLAIN = "plain"
    STATEFUL = "stateful"


class Trial(msgspec.Struct, frozen=True):
    """What was tried: a kernel, a way of searching, and where chance starts.

    ``seconds``: after how long it is given up.
    """

    kernel: str
    way: Way
    seed: int
    seconds: float


class Result(msgspec.Struct, frozen=True):
    """What came of it. ``cases`` and ``seconds`` until the finding, or until it was given up.

    The time is that from the start of the process; a finding is shrunk later.
    """

    trial: Trial
    found: bool
    cases: int
    seconds: float
    signature: str


class Tried(msgspec.Struct, frozen=True):
    """What a process of ``fuzz.measuring.stateful`` says of its search at its end."""

    found: bool
    cases: int
    seconds: float
    signature: str


def run_trial(trial: Trial) -> Result:
    """Run it in a process of its own. Raises TrialError."""
    with TemporaryDirectory(prefix="gff-trial-") as folder:
        if trial.way is Way.STATEFUL:
            return _stateful(trial, Path(folder) / "log")
        return _campaign(trial, Path(folder) / "campaign")


def _campaign(trial: Trial, folder: Path) -> Result:
    orders = Orders(
        campaign=folder,
        index=0,
        seed=trial.seed,
        epoch=(now := time.monotonic()),
        until=now + trial.seconds,
        runs=0,
        engine=Engine.PLAIN if trial.way is Way.PLAIN else Engine.ATHERIS,
        coverage=Mode.NONE if trial.way is Way.UNGUIDED else Mode.COUNTERS,
        reading=Reading.PARANOID,
        parent=os.getpid(),
        kernels=(trial.kernel,),
        first=True,
    )
    store = create_store(folder, _configuration(orders))
    _run(trial, orders.command(), store.log_file(0))
    status = store.status(0)
    findings = store.findings()
    if status is None:
        raise TrialError(f"{trial.kernel}: the worker said nothing: {last_line(store.log_file(0))}")
    return Result(
        trial=trial,
        found=bool(findings),
        cases=status.process_cases,
        seconds=round(findings[0].found_after_s if findings else status.seconds, 2),
        signature=findings[0].signature if findings else "",
    )


def _stateful(trial: Trial, log: Path) -> Result:
    words = [sys.executable, "-P", "-m", "fuzz.measuring.stateful", "--kernel", trial.kernel]
    words += ["--seed", str(trial.seed), "--seconds", repr(trial.seconds)]
    words += ["--epoch", repr(time.monotonic())]
    _run(trial, words, log)
    tried = msgspec.json.decode(last_line(log), type=Tried)
    return Result(trial, tried.found, tried.cases, tried.seconds, tried.signature)


def _run(trial: Trial, words: Sequence[str], log: Path) -> None:
    """Run a process to its end. Raises TrialError."""
    with log.open("wb") as file:
        try:
            ended = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment(),
                timeout=trial.seconds + PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TrialError(f"{trial.kernel}: the worker did not end in time") from None
    if ended.returncode:
        raise TrialError(f"{trial.kernel}: {last_line(log)}")


def _configuration(orders: Orders) -> Configuration:
    return Configuration(
        format=FORMAT,
        created_at=datetime.now(UTC),
        kernels=orders.kernels,
        reading=orders.reading.value,
        coverage=orders.coverage.value,
        workers=1,
        seed=orders.seed,
        versions=Versions("", "", "", ""),
    )
