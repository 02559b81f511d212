"""The corpus on a real kernel: each case that it can play against what its file expects."""

from collections import Counter
from collections.abc import Iterable

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from emu.expectation import Basis
from emu.kernels import KERNELS
from emu.live.pair import Machine
from emu.live.trouble import BoxError
from emu.live.unsupported import Unsupported
from emu.model import Model
from triage.case_input import CaseInput
from triage.conform import spelled
from triage.conform_divergence import divergence
from triage.conform_known import explanation
from triage.conform_report import Count, Lost
from triage.durations import counted
from triage.explained import diff
from triage.observation import Observation, modelled, observe
from triage.replay import differences, lines_of


class LiveMismatch(msgspec.Struct, frozen=True):
    """A case whose outcome is not what its file says, and how the file knows it."""

    basis: Basis
    observation: Observation


class LiveChecked(msgspec.Struct, frozen=True):
    """What ``check --live --json`` prints.

    ``silent``: files that expect nothing of this version. ``explained``: cases that differ for a
    reason of ``conform_known``. ``lost``: cases without an outcome, by
    the name of their file. ``unsupported`` and ``reasons``: cases not played, and why.
    """

    image: str
    linux: str
    files: int
    played: int
    mismatches: tuple[LiveMismatch, ...]
    explained: tuple[Lost, ...]
    lost: tuple[Lost, ...]
    silent: tuple[str, ...]
    unsupported: tuple[Lost, ...]
    reasons: tuple[Count, ...]


def check_live(machine: Machine, image: str, given: Iterable[CaseInput]) -> LiveChecked:
    """Play all that expects something of the machine's version: what was observed goes first."""
    kernel = modelled(machine.host.kernel)
    bases = [(_basis(each, kernel), each) for each in given]
    silent = tuple(each.name for basis, each in bases if basis is None)
    told = [(basis, each) for basis, each in bases if basis is not None]
    played, mismatches, explained, lost, unsupported = 0, [], [], [], []
    for basis, each in sorted(told, key=lambda it: (list(Basis).index(it[0]), it[1].name)):
        try:
            seen = observe(machine, image, each)
        except BoxError as error:
            lost.append(Lost(each.name, str(error)))
            continue
        if seen.unsupported:
            unsupported.append(Lost(each.name, seen.unsupported))
            continue
        played += 1
        if seen.differences:
            known = _explained(machine, each, kernel, seen)
            if known:
                explained.append(Lost(each.name, known))
            else:
                mismatches.append(LiveMismatch(basis, seen))
    # Not the step, so that equal reasons are counted together.
    reasons = Counter(each.reason.rpartition(": ")[2] for each in unsupported)
    return LiveChecked(
        image=image,
        linux=machine.host.kernel,
        files=len(bases),
        played=played,
        mismatches=tuple(mismatches),
        explained=tuple(explained),
        lost=tuple(lost),
        silent=silent,
        unsupported=tuple(unsupported),
        reasons=tuple(Count(*each) for each in reasons.most_common()),
    )


def live_report(checked: LiveChecked) -> RenderableType:
    """What differs, then the counts."""
    parts: list[RenderableType] = [_mismatch(each) for each in checked.mismatches]
    parts += [
        Text(f"{each.case}: explained, {each.reason}", "yellow") for each in checked.explained
    ]
    parts += [Text(f"{each.case}: no outcome: {each.reason}", "red") for each in checked.lost]
    parts += [
        Text(f"{counted(each.count, 'case')} unsupported: {each.reason}")
        for each in checked.reasons
    ]
    if checked.silent:
        parts.append(Text(f"{counted(len(checked.silent), 'file')} with no word on this version"))
    wrong = len(checked.mismatches) + len(checked.lost)
    found = f"{wrong} not as expected" if wrong else "all as expected"
    done = f"{counted(checked.files, 'file')}, {checked.played:,} played on {checked.image}"
    style = "bold red" if wrong else "green"
    return Group(*parts, Text(f"{done}, Linux {checked.linux}: {found}", style=style))


def _basis(given: CaseInput, kernel: str) -> Basis | None:
    expected = given.file.expected_of(kernel) if given.file else None
    return None if expected is None else expected.basis


def _explained(machine: Machine, given: CaseInput, kernel: str, seen: Observation) -> str:
    """The name of what explains that the machine and the model differ; "" where nothing does, or
    where it is the file that differs from the model.
    """
    expected = given.file.expected_of(kernel) if given.file else None
    if kernel not in KERNELS or expected is None:
        return ""
    model = Model().run(given.case, KERNELS[kernel])
    try:
        live = machine.run(given.case)
    except BoxError:
        return ""  # what was seen differs nevertheless
    if isinstance(live, Unsupported) or spelled(given.case, live) != seen.observed:
        return ""
    if differences(expected.lines, lines_of(given.case, model)):
        return ""
    found = divergence(given.case, model, live)
    known = found and explanation(given.case, found)
    return known.name if known else ""


def _mismatch(found: LiveMismatch) -> RenderableType:
    seen = found.observation
    head = Text(f"{seen.file}, expected of {seen.kernel} ({found.basis.value})", style="bold")
    return Group(head, diff(seen.differences))
