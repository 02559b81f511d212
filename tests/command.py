"""``gff`` called in this process, and the case that the tests of its commands share."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from emu.access import Access
from fuzz.directory.configuration import FORMAT, Configuration, Versions
from fuzz.directory.finding import Backing, Finding, Machine, Size, State
from fuzz.directory.opening import create_store
from fuzz.directory.store import Store

LEAK: Final = """create gmem0 size=0x1000 flags=mmap
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
memory-limit on
guest read64 slot0+0x0
run
"""


class Ended(NamedTuple):
    """A command that came to its end: its exit status, and what it printed."""

    status: int
    out: str
    err: str


class Gff(Protocol):
    """The command line as a function."""

    def __call__(self, *arguments: str) -> Ended:
        """Run one command."""


def started(program: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``gff`` in a process of its own, after some statements."""
    return subprocess.run(
        [sys.executable, "-c", f"{program}; from triage.cli import main; main()", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )


def finding(signature: str, kernel: str, after: float, *, count: int = 1) -> Finding:
    """A finding with that signature, made up."""
    clause, site, cause = signature.split("-")
    return Finding(
        signature=signature,
        clause=clause,
        title="a title",
        site=site,
        natural=cause == "natural",
        kernel=kernel,
        machine=Machine.MODEL,
        state=State.CLAIM,
        errno="ENOMEM",
        exit_reason="MEMORY_FAULT",
        access=Access.READ64,
        backing=Backing.GUEST_MEMFD,
        outcome="-1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0",
        reason="MEMORY_FAULT was filled under ENOMEM",
        found_after_s=after,
        found_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        count=count,
        size=Size(steps=5, disorder=0, complexity=0),
        first=LEAK,
        smallest=LEAK,
    )


def campaign(root: Path, *findings: Finding) -> Store:
    """A campaign directory with these findings."""
    configuration = Configuration(
        format=FORMAT,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        kernels=("v7.3",),
        reading="strict",
        coverage="counters",
        workers=1,
        seed=1,
        versions=Versions(gff="0", python="3", unicorn="2", atheris="3"),
    )
    store = create_store(root, configuration)
    for each in findings:
        store.record(each)
    return store
