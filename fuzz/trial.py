"""One trial of the search: how many cases a worker needs, from nothing, to its first finding.

A trial is a campaign of one worker in a directory that is thrown away afterwards.
"""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from fuzz.contract import Reading
from fuzz.coverage import Mode
from fuzz.processes import environment, last_line
from fuzz.store import FORMAT, Configuration, Store, Versions, create_store

PATIENCE: Final = 30.0  # seconds beyond the limit that a worker may take to end


class TrialError(Exception):
    """A worker did not do its work; the text is one line."""


class Trial(msgspec.Struct, frozen=True):
    """What was tried: a kernel, a way of guiding the search, and where chance starts.

    ``seconds``: after how long it is given up.
    """

    kernel: str
    mode: Mode
    seed: int
    seconds: float


class Result(msgspec.Struct, frozen=True):
    """What came of it. ``cases`` and ``seconds`` until the finding, or until it was given up."""

    trial: Trial
    found: bool
    cases: int
    seconds: float
    signature: str


def run_trial(trial: Trial) -> Result:
    """Run it in a process of its own. Raises TrialError."""
    with TemporaryDirectory(prefix="gff-trial-") as folder:
        store = create_store(Path(folder) / "campaign", _configuration(trial))
        started = time.monotonic()
        _work(trial, store, started)
        status = store.status(0)
        findings = store.findings()
        if status is None:
            raise TrialError(
                f"{trial.kernel}: the worker said nothing: {last_line(store.log_file(0))}"
            )
        return Result(
            trial=trial,
            found=bool(findings),
            cases=status.process_cases,
            seconds=round(status.process_seconds, 2),
            signature=findings[0].signature if findings else "",
        )


def _work(trial: Trial, store: Store, started: float) -> None:
    words = [
        *(sys.executable, "-P", "-m", "fuzz.worker", "--first"),
        *("--campaign", str(store.root), "--index", "0", "--seed", str(trial.seed)),
        *("--epoch", repr(started), "--until", repr(started + trial.seconds), "--runs", "0"),
        *("--coverage", trial.mode.value, "--reading", Reading.PARANOID.value),
        *("--parent", str(os.getpid()), "--kernel", trial.kernel),
    ]
    with store.log_file(0).open("wb") as log:
        try:
            ended = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                timeout=trial.seconds + PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TrialError(f"{trial.kernel}: the worker did not end in time") from None
    if ended.returncode:
        raise TrialError(f"{trial.kernel}: {last_line(store.log_file(0))}")


def _configuration(trial: Trial) -> Configuration:
    return Configuration(
        format=FORMAT,
        created_at=datetime.now(UTC),
        kernels=(trial.kernel,),
        reading=Reading.PARANOID.value,
        coverage=trial.mode.value,
        workers=1,
        seed=trial.seed,
        versions=Versions("", "", "", ""),
    )
