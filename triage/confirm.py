"""A finding on a real kernel: its smallest case played some times, and what was seen of it."""

from collections import Counter
from typing import Final

import msgspec

from emu import text
from emu.abi import errno_name, reason_name
from emu.case import Case
from emu.kernels import KERNELS
from emu.live.pair import Machine
from emu.live.trouble import BoxError
from emu.live.unsupported import Unsupported
from emu.model import Model
from emu.outcome import Outcomes, RunOutcome
from fuzz.directory.finding import Confirmation, Finding
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.search.sighting import Sighting, sightings
from triage.ending import UserError
from triage.observation import modelled, said

NO_OUTCOME: Final = "no outcome"
_READING: Final = Reading.PARANOID  # what another reading asks for, this one asks for too


Answer = Outcomes | Unsupported


class Seen(msgspec.Struct, frozen=True):
    """The ret, errno and exit_reason of the KVM_RUN in question, and how often they were seen."""

    outcome: str
    count: int


class Confirmed(msgspec.Struct, frozen=True):
    """What a kernel made of a finding.

    ``own``: it is of the version that the finding is a claim about. ``unsupported``: why its case
    was not played, or "". ``complaints``: what the kernel said on its console meanwhile, a finding
    of its own.
    """

    confirmation: Confirmation
    own: bool
    unsupported: str
    seen: tuple[Seen, ...]
    complaints: tuple[str, ...]

    @property
    def observed(self) -> bool:
        """Whether this makes the finding one that a real kernel showed."""
        return self.own and bool(self.confirmation.shown)


class Subject:
    """A finding, and the KVM_RUN of its smallest case that the model breaks the contract in."""

    def __init__(self, finding: Finding) -> None:
        if finding.kernel not in KERNELS:
            raise UserError(f"{finding.name}: there is no kernel {finding.kernel} any more")
        self.finding: Final = finding
        self.case: Final = text.load(finding.smallest, finding.name)
        outcomes = Model().run(self.case, KERNELS[finding.kernel])
        seen = _shown(finding, self.case, outcomes)
        if seen is None:
            raise UserError(f"{finding.name}: the model shows it no more")
        self._run = seen.breach.run
        self.outcome: Final = tuple_of(outcomes.runs[self._run])

    def confirm(self, machine: Machine, image: str, times: int) -> Confirmed:
        """Play it that often."""
        host = machine.host.kernel
        shown, seen = 0, Counter[str]()
        for _ in range(times):
            try:
                answer = machine.run(self.case)
            except BoxError as error:
                seen[f"{NO_OUTCOME}: {error}"] += 1
                continue
            if isinstance(answer, Unsupported):
                nothing = Confirmation(image, host, 0, 0)
                return Confirmed(nothing, self._own(host), str(answer), (), said(machine))
            shown += self._shows(answer)
            seen[tuple_of(answer.runs[self._run])] += 1
        told = tuple(Seen(*each) for each in seen.most_common())
        confirmation = Confirmation(image, host, shown, times)
        return Confirmed(confirmation, self._own(host), "", told, said(machine))

    def _own(self, linux: str) -> bool:
        return modelled(linux) == self.finding.kernel

    def _shows(self, outcomes: Outcomes) -> bool:
        seen = _shown(self.finding, self.case, outcomes)
        return seen is not None and tuple_of(outcomes.runs[seen.breach.run]) == self.outcome


def tuple_of(run: RunOutcome) -> str:
    """What makes a KVM_RUN's outcome observed: ret, errno, exit_reason, or that that was kept."""
    words = ["hang" if run.stuck else str(run.ret)]
    words += [errno_name(run.errno)] if run.ret < 0 else []
    kept = "" if run.fresh or run.exit_reason != run.before else " kept"
    return f"{' '.join(words)} {reason_name(run.exit_reason)}{kept}"


def _shown(finding: Finding, case: Case, outcomes: Outcomes) -> Sighting | None:
    """The finding, if these outcomes show it."""
    breaches = judge(case, outcomes, _READING)
    found = sightings(finding.kernel, case, outcomes, breaches)
    return next((each for each in found if str(each.signature) == finding.signature), None)
