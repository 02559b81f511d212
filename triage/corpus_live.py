"""The corpus on a real kernel: each case that it can play against what its file expects."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from emu.expectation import Basis
from emu.kernels import KERNELS
from emu.live.pair import Machine
from emu.live.trouble import BoxError
from emu.live.unsupported import Unsupported
from emu.model import Model
from emu.outcome import Outcomes
from triage.case_input import CaseInput
from triage.conform_divergence import divergence
from triage.conform_known import explanation
from triage.conform_report import Count, Lost
from triage.durations import counted
from triage.explained import diff
from triage.observation import Observation, modelled, observation, said
from triage.remedies import larger_pages
from triage.replay import differences, lines_of
from triage.screen import printable


class LiveMismatch(msgspec.Struct, frozen=True):
    """A case whose outcome is not what its file says, and how the file knows it."""

    basis: Basis
    observation: Observation


class Said(msgspec.Struct, frozen=True):
    """A line of the console in which the kernel complains, and the file that was played then."""

    file: str
    line: str


class LiveChecked(msgspec.Struct, frozen=True):
    """What ``check --live --json`` prints.

    ``silent``: files that expect nothing of this version. ``explained``: cases that differ for a
    reason of ``conform_known``. ``lost``: cases without an outcome, by the name of their file.
    ``complaints``: findings of their own, as what ``gff run --live`` shows. ``unsupported`` and
    ``reasons``: cases not played, and why.
    """

    image: str
    linux: str
    files: int
    played: int
    mismatches: tuple[LiveMismatch, ...]
    explained: tuple[Lost, ...]
    lost: tuple[Lost, ...]
    complaints: tuple[Said, ...]
    silent: tuple[str, ...]
    unsupported: tuple[Lost, ...]
    reasons: tuple[Count, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing has to be looked into."""
        return not (self.mismatches or self.lost or self.complaints)


@dataclass(slots=True)
class _Tally:
    """What came of the files so far."""

    played: int = 0
    mismatches: list[LiveMismatch] = field(default_factory=list)
    explained: list[Lost] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    complaints: list[Said] = field(default_factory=list)
    unsupported: list[Lost] = field(default_factory=list)


def check_live(machine: Machine, image: str, given: Iterable[CaseInput]) -> LiveChecked:
    """Play all that expects something of the machine's version: what was observed goes first."""
    kernel = modelled(machine.host.kernel)
    bases = [(_basis(each, kernel), each) for each in given]
    silent = tuple(each.name for basis, each in bases if basis is None)
    told = [(basis, each) for basis, each in bases if basis is not None]
    tally = _Tally()
    for basis, each in sorted(told, key=lambda it: (list(Basis).index(it[0]), it[1].name)):
        lines = _play(machine, image, basis, each, tally)
        # Those of a case that was lost are its own too.
        tally.complaints += [Said(each.name, line) for line in (*lines, *said(machine))]
    # Not the step, so that equal reasons are counted together.
    reasons = Counter(each.reason.rpartition(": ")[2] for each in tally.unsupported)
    return LiveChecked(
        image=image,
        linux=machine.host.kernel,
        files=len(bases),
        played=tally.played,
        mismatches=tuple(tally.mismatches),
        explained=tuple(tally.explained),
        lost=tuple(tally.lost),
        complaints=tuple(tally.complaints),
        silent=silent,
        unsupported=tuple(tally.unsupported),
        reasons=tuple(Count(*each) for each in reasons.most_common()),
    )


def _play(
    machine: Machine, image: str, basis: Basis, given: CaseInput, tally: _Tally
) -> tuple[str, ...]:
    """What the kernel complained of when the case was played."""
    try:
        answer = machine.run(given.case)
    except BoxError as error:
        tally.lost.append(Lost(given.name, str(error)))
        return ()
    seen = observation(machine, image, given, answer)
    if isinstance(answer, Unsupported):
        tally.unsupported.append(Lost(given.name, seen.unsupported))
        return seen.complaints
    tally.played += 1
    if seen.differences:
        known = _explained(given, seen.kernel, answer)
        if known:
            tally.explained.append(Lost(given.name, known))
        else:
            tally.mismatches.append(LiveMismatch(basis, seen))
    return seen.complaints


def live_report(checked: LiveChecked) -> RenderableType:
    """What differs, then the counts."""
    parts: list[RenderableType] = [_mismatch(each) for each in checked.mismatches]
    parts += [
        Text(f"{each.case}: explained, {each.reason}", "yellow") for each in checked.explained
    ]
    parts += [Text(f"{each.case}: no outcome: {each.reason}", "red") for each in checked.lost]
    parts += [
        Text(f"{each.file}: console: {printable(each.line)}", "bold red")
        for each in checked.complaints
    ]
    parts += [
        Text(f"{counted(each.count, 'case')} unsupported: {each.reason}{larger_pages(each.reason)}")
        for each in checked.reasons
    ]
    if checked.silent:
        parts.append(Text(f"{counted(len(checked.silent), 'file')} with no word on this version"))
    wrong, lines = len(checked.mismatches) + len(checked.lost), len(checked.complaints)
    found = f"{wrong} not as expected" if wrong else "all as expected"
    found += f", {counted(lines, 'complaint')} of the kernel" if lines else ""
    done = f"{counted(checked.files, 'file')}, {checked.played:,} played on {checked.image}"
    style = "green" if checked.clean else "bold red"
    return Group(*parts, Text(f"{done}, Linux {checked.linux}: {found}", style=style))


def _basis(given: CaseInput, kernel: str) -> Basis | None:
    expected = given.file.expected_of(kernel) if given.file else None
    return None if expected is None else expected.basis


def _explained(given: CaseInput, kernel: str, live: Outcomes) -> str:
    """The name of what explains that the machine and the model differ; "" where nothing does, or
    where it is the file that differs from the model.
    """
    expected = given.file.expected_of(kernel) if given.file else None
    if kernel not in KERNELS or expected is None:
        return ""
    model = Model().run(given.case, KERNELS[kernel])
    if differences(expected.lines, lines_of(given.case, model)):
        return ""
    found = divergence(given.case, model, live)
    known = found and explanation(given.case, found)
    return known.name if known else ""


def _mismatch(found: LiveMismatch) -> RenderableType:
    seen = found.observation
    head = Text(f"{seen.file}, expected of {seen.kernel} ({found.basis.value})", style="bold")
    return Group(head, diff(seen.differences))
