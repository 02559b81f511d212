"""A breach seen in one run of one case, and what a finding says of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from emu import text
from emu.abi import errno_name, reason_name
from emu.case import Case
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from emu.outcome import Outcomes, describe
from fuzz.directory.finding import Backing, Finding, Machine, State
from fuzz.mutation.shrink import sort_key
from fuzz.oracle.contract import CLAUSES, Reading
from fuzz.oracle.judge import Breach, judge
from fuzz.oracle.signature import Signature, signature
from fuzz.oracle.view import Timeline, View

_TITLES: Final = {clause.id: clause.title for clause in CLAUSES}


@dataclass(frozen=True, slots=True)
class Sighting:
    """A breach of one kernel in ``case``, with its signature."""

    kernel: str
    case: Case
    outcomes: Outcomes
    breach: Breach
    signature: Signature

    @property
    def name(self) -> str:
        """The name of the finding that this is a sighting of."""
        return f"{self.kernel}--{self.signature}"

    def finding(self, found_after_s: float, count: int, first: Case, *, shrunk: bool) -> Finding:
        """The finding, with this sighting's case as its smallest."""
        view = View(Timeline(self.case, self.outcomes), self.breach.run)
        run = view.run
        return Finding(
            signature=str(self.signature),
            clause=self.breach.clause,
            title=_TITLES[self.breach.clause],
            site=self.signature.site,
            natural=self.signature.natural,
            kernel=self.kernel,
            machine=Machine.MODEL,
            state=State.CLAIM,
            errno=errno_name(run.errno) if run.ret < 0 else "",
            exit_reason=reason_name(run.exit_reason),
            access=view.target.access if view.target is not None else None,
            backing=_backing(view),
            outcome=describe(run),
            reason=self.breach.reason,
            found_after_s=round(found_after_s, 3),
            found_at=datetime.now(UTC),
            count=count,
            size=sort_key(self.case),
            first=text.dump(first),
            smallest=text.dump(self.case),
            shrunk=shrunk,
        )


def sightings(
    kernels: str | Sequence[str], case: Case, outcomes: Outcomes, breaches: tuple[Breach, ...]
) -> list[Sighting]:
    """One sighting for each signature among the breaches, the first of each; for each kernel, where
    several have these outcomes.
    """
    found: dict[Signature, Breach] = {}
    timeline = Timeline(case, outcomes)
    for breach in breaches:
        found.setdefault(signature(timeline, breach), breach)
    return [
        Sighting(kernel, case, outcomes, breach, key)
        for kernel in ([kernels] if isinstance(kernels, str) else kernels)
        for key, breach in found.items()
    ]


@dataclass(frozen=True, slots=True)
class Observer:
    """Runs cases on one kernel of the model, and reports what it sees."""

    model: Model
    name: str
    kernel: Kernel
    reading: Reading

    def look(self, case: Case) -> list[Sighting]:
        """Everything that the case shows."""
        outcomes = self.model.run(case, self.kernel)
        return sightings(self.name, case, outcomes, judge(case, outcomes, self.reading))

    def look_for(self, wanted: Signature, case: Case) -> Sighting | None:
        """That one finding, if the case shows it."""
        return next((seen for seen in self.look(case) if seen.signature == wanted), None)


def _backing(view: View) -> Backing | None:
    if view.target is None:
        return None
    slot = view.scene.slot_at(view.target.first)
    if slot is None:
        return Backing.NOTHING
    return Backing.USER_MEMORY if slot.gmem is None else Backing.GUEST_MEMFD
