"""A case on a real kernel: what was seen, in the corpus' words, beside what a file expects."""

import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from emu.case import Case
from emu.expectation import ExpectedRun
from emu.live import box, build, build_variants, images
from emu.live.box import Box
from emu.live.fleet import LIMIT, NESTED_LIMIT, Fleet
from emu.live.images import Image
from emu.live.machine import LiveMachine
from emu.live.needs import Needs, needs
from emu.live.pair import Machine, Pair
from emu.live.pool import Pool
from emu.live.process import Process
from emu.live.protocol import Kind
from emu.live.unsupported import Unsupported
from emu.outcome import Outcomes
from fuzz.oracle.judge import judge
from triage.case_input import CaseInput
from triage.ending import MissingError, UserError
from triage.inputs import unknown
from triage.live import live_errors
from triage.replay import CORPUS_READING, Difference, differences, lines_of, spell

HOST: Final = "host"  # in place of an image: this machine's own KVM
_RELEASE: Final = re.compile(r"(\d+\.\d+)\b")


class Broken(msgspec.Struct, frozen=True):
    """A broken clause: the place of its KVM_RUN's line in ``observed``, and why."""

    line: int
    clause: str
    reason: str


class Observation(msgspec.Struct, frozen=True):
    """A case on a real kernel.

    ``linux`` is the kernel's own version, ``kernel`` the modelled one that a file's expectation is
    taken from, "" where it has none. ``unsupported``: why the case was not played, or "".
    ``complaints``: what the kernel said on its console meanwhile, a finding of its own.
    ``breaches``: why each clause named in ``observed`` is broken.
    """

    file: str
    image: str
    linux: str
    kernel: str
    unsupported: str
    observed: tuple[str, ...]
    broken: bool
    differences: tuple[Difference, ...]
    complaints: tuple[str, ...]
    breaches: tuple[Broken, ...] = ()


class Injector(Enum):
    """What makes the functions of a real kernel fail."""

    BREAKPOINT = "breakpoint"  # QEMU's gdbstub: any kernel's
    DEBUGFS = "debugfs"  # the kernel itself, where it was built for it
    ALLOCATION = "allocation"  # an allocation that fails


def injector(name: str | None) -> Injector:
    """The one that has this name; UserError."""
    known = {each.value: each for each in Injector}
    if name is None:
        return Injector.BREAKPOINT
    if name not in known:
        raise UserError(unknown("injector", name, known))
    return known[name]


@contextmanager
def live_machine(
    image: str, cases: Sequence[Case], by: Injector = Injector.BREAKPOINT
) -> Iterator[Machine]:
    """The machine for the image of that name, or for this host, with what the cases need;
    UserError, MissingError.
    """
    if image == HOST and platform.machine() != "aarch64":
        raise MissingError(f"--live {HOST}: this is no arm64 machine")
    with live_errors(), ExitStack() as stack:
        if image == HOST:
            program = build.executor(build.folder())
            yield LiveMachine(stack.enter_context(Process(program)), _kind(by))
            return
        found = images.image(image)  # first: the program takes long to be built
        program = build.executor(build.folder())
        groups = _groups(cases) if found.nests else [cases]
        machines = [
            LiveMachine(
                stack.enter_context(_box(found, program, _needs(group, by), found.nests)),
                _kind(by),
            )
            for group in groups
        ]
        yield machines[0] if len(machines) == 1 else Pair(*machines)


def _groups(cases: Sequence[Case]) -> list[list[Case]]:
    """Those without nested guests and those with them, where there are any."""
    plain = [case for case in cases if not case.vm.nested]
    nested = [case for case in cases if case.vm.nested]
    return [group for group in (plain, nested) if group] or [[]]


@contextmanager
def live_fleet(image: str, boxes: int, needed: Needs) -> Iterator[Fleet]:
    """Boxes of the image of that name; UserError, MissingError."""
    with live_errors():
        found = images.image(image)
        program = build.executor(build.folder())
        with Pool(
            found.newer() if needed.updating else found,
            program,
            needed,
            boxes=boxes,
            limit=NESTED_LIMIT if needed.nested else LIMIT,
        ) as pool:
            yield Fleet(pool)


def _kind(by: Injector) -> Kind:
    return Kind.ALLOCATING if by is Injector.ALLOCATION else Kind.CASE


def _needs(cases: Sequence[Case], by: Injector) -> Needs:
    needed = needs(cases)
    return needed if by is Injector.BREAKPOINT else needed._replace(injecting=False)


def _box(image: Image, program: Path, needed: Needs, nests: bool) -> Box:
    # Where it cannot nest, the cases that need it are unsupported.
    given = needed._replace(nested=needed.nested and nests)
    chosen = image.newer() if needed.updating else image
    return box.start(chosen, program, given)


def modelled(linux: str) -> str:
    """The name that a modelled kernel of such a version, 7.3.4+deb13-cloud-arm64, would have.

    One that gff built says its own.
    """
    found = _RELEASE.match(linux)
    return build_variants.modelled(linux) or (f"v{found[1]}" if found else "")


def observe(machine: Machine, image: str, given: CaseInput) -> Observation:
    """Play the case, judge what came out, and compare."""
    return observation(machine, image, given, machine.run(given.case))


def observation(
    machine: Machine, image: str, given: CaseInput, answer: Outcomes | Unsupported
) -> Observation:
    """What the machine's answer is worth."""
    kernel = modelled(machine.host.kernel)
    expectation = given.file.expected_of(kernel) if given.file else None
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
        complaints=said(machine),
        breaches=() if isinstance(answer, Unsupported) else _breaches(given.case, answer),
    )


def _breaches(case: Case, outcomes: Outcomes) -> tuple[Broken, ...]:
    # The lines of the KVM_RUNs come first, in their order.
    found = judge(case, outcomes, CORPUS_READING)
    return tuple(Broken(each.run, each.clause, each.reason) for each in found)


def said(machine: Machine) -> tuple[str, ...]:
    """What the kernel complained of on its console since this was last asked."""
    return tuple(f"{each.complaint.value}: {each.line}" for each in machine.complaints())
