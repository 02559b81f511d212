"""A case on a real kernel: what was seen, in the corpus' words, beside what a file expects."""

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from emu.expectation import ExpectedRun
from emu.live import box, build, images
from emu.live.fleet import LIMIT, Fleet
from emu.live.machine import LiveMachine
from emu.live.pool import Pool
from emu.live.process import Process
from emu.live.unsupported import Unsupported
from triage.case_input import CaseInput
from triage.ending import MissingError
from triage.live import live_errors
from triage.replay import Difference, differences, lines_of, spell

HOST: Final = "host"  # in place of an image: this machine's own KVM
_RELEASE: Final = re.compile(r"(\d+\.\d+)\b")


class Observation(msgspec.Struct, frozen=True):
    """A case on a real kernel.

    ``linux`` is the kernel's own version, ``kernel`` the modelled one that a file's expectation is
    taken from, "" where it has none. ``unsupported``: why the case was not played, or "".
    """

    file: str
    image: str
    linux: str
    kernel: str
    unsupported: str
    observed: tuple[str, ...]
    broken: bool
    differences: tuple[Difference, ...]


@contextmanager
def live_machine(image: str) -> Iterator[LiveMachine]:
    """The machine for the image of that name, or for this host; UserError, MissingError."""
    if image == HOST and platform.machine() != "aarch64":
        raise MissingError(f"--live {HOST}: this is no arm64 machine")
    with live_errors():
        found = None if image == HOST else images.image(image)
        program = build.executor(build.folder())
        port = Process(program) if found is None else box.start(found, program)
        with port as started:
            yield LiveMachine(started)


@contextmanager
def live_fleet(image: str, boxes: int) -> Iterator[Fleet]:
    """Boxes of the image of that name; UserError, MissingError."""
    with live_errors():
        program = build.executor(build.folder())
        with Pool(images.image(image), program, boxes=boxes, limit=LIMIT) as pool:
            yield Fleet(pool)


def modelled(linux: str) -> str:
    """The name that a modelled kernel of such a version, 7.3.4+deb13-cloud-arm64, would have."""
    found = _RELEASE.match(linux)
    return f"v{found[1]}" if found else ""


def observe(machine: LiveMachine, image: str, given: CaseInput) -> Observation:
    """Play the case, judge what came out, and compare."""
    kernel = modelled(machine.host.kernel)
    expectation = given.file.expected_of(kernel) if given.file else None
    answer = machine.run(given.case)
    played = not isinstance(answer, Unsupported)
    lines = () if isinstance(answer, Unsupported) else lines_of(given.case, answer)
    return Observation(
        file=given.name,
        image=image,
        linux=machine.host.kernel,
        kernel=kernel if expectation else "",
        unsupported="" if played else str(answer),
        observed=tuple(spell(line) for line in lines),
        broken=any(isinstance(line, ExpectedRun) and line.clauses for line in lines),
        differences=differences(expectation.lines, lines) if expectation and played else (),
    )
