"""A case explained: every KVM_RUN of it, with what led there, what came out, and the verdicts.

The records that ``gff run --json`` prints. ``triage.explain`` makes them, ``triage.explained``
puts them on the screen.
"""

import msgspec

from fuzz.oracle.pins import Note
from triage.passage import Passed
from triage.replay import Difference
from triage.slots import Slot
from triage.verdicts import Ruling, Verdict


class StepView(msgspec.Struct, frozen=True):
    """A step of the VMM: its number in the case, counted from 1, the errno it got or "", and what
    a dirty log said or "".
    """

    number: int
    text: str
    refused: str
    log: str


class AccessView(msgspec.Struct, frozen=True):
    """An access of the guest, or of its own guest (``l2``); the instructions that make it, and its
    effective address.
    """

    access: str
    instruction: str
    address: int


class AbortView(msgspec.Struct, frozen=True):
    """An abort to EL2. ``own``: what of the harness it is of, and then no ``access``; or "".
    ``hpfar`` and ``ipa`` are None where HPFAR_EL2 is not valid.
    """

    access: AccessView | None
    own: str
    esr: int
    syndrome: str
    far: int
    hpfar: int | None
    ipa: int | None
    way: str


class ExceptionView(msgspec.Struct, frozen=True):
    """An exception that the guest took for an access: at EL1, or as a hypervisor at EL2."""

    access: AccessView | None
    esr: int
    syndrome: str


class RunView(msgspec.Struct, frozen=True):
    """One KVM_RUN.

    ``before``: the steps since the KVM_RUN before. ``memslots``: all that exist at the call, and
    the regions refused since the KVM_RUN before. ``memslots_after``: all that exist at its return;
    others, where a memslot step was moved into it. ``knowledge``: claim, observed or inferred.
    ``fresh``: as in RunOutcome, a matter of MEMORY_FAULT. ``at``: the access that the guest was at
    when the call returned. ``vcpu``, ``userfaults``: as in RunOutcome. ``notes``: in what it
    differs from what today's source does.
    """

    number: int
    step: StepView
    before: tuple[StepView, ...]
    memslots: tuple[Slot, ...]
    memslots_after: tuple[Slot, ...]
    aborts: tuple[AbortView, ...]
    exceptions: tuple[ExceptionView, ...]
    way: str
    functions: tuple[Passed, ...]
    outcome: str
    knowledge: str
    ret: int
    errno: str
    exit_reason: str
    exit_reason_before: str
    union: tuple[int, int, int, int]
    fresh: bool
    at: AccessView | None
    vcpu: int
    userfaults: int
    clauses: tuple[Verdict, ...]
    notes: tuple[Note, ...]


class Explanation(msgspec.Struct, frozen=True):
    """A case on a kernel. ``expected``: whether the file expects anything of this kernel."""

    file: str
    kernel: str
    reading: str
    vm: tuple[str, ...]
    runs: tuple[RunView, ...]
    after: tuple[StepView, ...]
    expected: bool
    differences: tuple[Difference, ...]

    @property
    def broken(self) -> bool:
        """Whether a clause that the reading asks for is broken."""
        return any(each.ruling is Ruling.BROKEN for run in self.runs for each in run.clauses)
