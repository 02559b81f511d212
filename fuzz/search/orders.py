"""What a worker process is told on its command line, by whoever starts it.

    python -m fuzz.search.worker --campaign DIR --index N --seed S --epoch T --until T --runs N
                          --engine ENGINE --coverage MODE --reading READING --parent PID
                          --kernel K... [--first] [--source DIR]

Times are those of CLOCK_MONOTONIC, which all processes share.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique
from pathlib import Path

from fuzz.guidance.coverage import Mode
from fuzz.oracle.contract import Reading


@unique
class Engine(Enum):
    """What draws the next input and keeps what is new: libFuzzer, or a loop of our own."""

    ATHERIS = "atheris"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Orders:
    """What to search, where, and how long. ``runs`` 0: as many as time allows.

    ``first``: the first finding is the end.
    ``epoch`` is when the campaign began, as if it had never been interrupted.
    ``parent`` is the process with which the worker has to end.
    ``source``: the packages that its own are a build of; None where it runs the source itself.
    """

    campaign: Path
    index: int
    seed: int
    epoch: float
    until: float
    runs: int
    engine: Engine
    coverage: Mode
    reading: Reading
    parent: int
    kernels: tuple[str, ...]
    first: bool = False
    source: Path | None = None

    def command(self) -> list[str]:
        """The command line that starts such a worker."""
        return [
            *(sys.executable, "-P", "-m", "fuzz.search.worker"),
            *("--campaign", str(self.campaign)),
            *("--index", str(self.index)),
            *("--seed", str(self.seed)),
            *("--epoch", repr(self.epoch)),
            *("--until", repr(self.until)),
            *("--runs", str(self.runs)),
            *("--engine", self.engine.value),
            *("--coverage", self.coverage.value),
            *("--reading", self.reading.value),
            *("--parent", str(self.parent)),
            *(word for kernel in self.kernels for word in ("--kernel", kernel)),
            *(("--first",) if self.first else ()),
            *(("--source", str(self.source)) if self.source is not None else ()),
        ]


def parsed(arguments: Sequence[str]) -> Orders:
    """The orders of a command line."""
    parser = argparse.ArgumentParser(prog="fuzz.search.worker")
    parser.add_argument("--campaign", type=Path, required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epoch", type=float, required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--engine", type=Engine, default=Engine.ATHERIS)
    parser.add_argument("--coverage", type=Mode, required=True)
    parser.add_argument("--reading", type=Reading, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--kernel", action="append", dest="kernels", required=True)
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--source", type=Path)
    given = vars(parser.parse_args(arguments))
    return Orders(**{**given, "kernels": tuple(given["kernels"])})
