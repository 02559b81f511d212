"""What a correct KVM may show of a case: told from layout, events and accesses alone.

A loose oracle. For each access there is a set of things that may come of it; which one it was is
read from the outcome, and everything that follows is held to that. Where a case does not settle
what a KVM may do there is no opinion: a forced abort, memory of a device, a stage-1 walk of L2's,
more races than can be told apart. Written from api.rst and the facts on the fault path, not from
the model: a disagreement is a question about us, and no finding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, get_args

from emu.abi import DOORBELL, ExitReason, errno_name
from emu.access import ACCESS_FACTS, Access, Direction
from emu.case import Case
from emu.injection import At, Fail, ForceAbort, ForceExit, Point
from emu.outcome import IDLE, Outcomes, RunOutcome
from emu.steps import (
    Guest,
    GuestL2,
    L1Map,
    L1Table,
    L1Vtcr,
    MmioData,
    Run,
    RunFlag,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
    effective_address,
)
from fuzz.expectation.answers import answers
from fuzz.expectation.effects import Effects, Exit, effects
from fuzz.expectation.effects_nested import L1Tables, l2_effects, vncr_effects
from fuzz.expectation.endings import may_end, must_end
from fuzz.expectation.possible import Possible
from fuzz.expectation.premises import Premises

# docs/case-format.md, Points and threads: what "at" does not move.
_Unmoved: TypeAlias = (
    Guest | GuestL2 | Skip | MmioData | Fail | ForceExit | ForceAbort | L1Map | L1Table | L1Vtcr
)
_NOT_MOVED: Final = get_args(_Unmoved)


class Question(NamedTuple):
    """A step of the case, from 0, of which the outcome shows what was not expected."""

    step: int
    reason: str


class _Access(NamedTuple):
    """An access of a vCPU's program: the step that asked for it, what, where, and whose."""

    step: int
    access: Access
    address: int
    is_l2: bool

    def __str__(self) -> str:
        return f"{'l2 ' if self.is_l2 else ''}{self.access.value} at {self.address:#x}"


@dataclass(slots=True)
class _Vcpu:
    """The accesses of a vCPU's program that are not done yet.

    ``standing``: the guest is before the first of them; until a KVM_RUN it is before its program.
    ``emulated``: the first waits for its MMIO to be completed.
    """

    queue: list[_Access] = field(default_factory=list)
    standing: bool = False
    emulated: bool = False


def questions(case: Case, outcomes: Outcomes) -> tuple[Question, ...]:
    """The first step that shows what was not expected, if there is one before nothing can be
    expected any more: what was not expected once says nothing of what comes after.
    """
    return _Follower(case, outcomes).questions()


class _Follower:
    """Goes through a case and its outcomes side by side."""

    def __init__(self, case: Case, outcomes: Outcomes) -> None:
        self._case = case
        self._outcomes = outcomes
        self._possible = Possible(case.vm)
        self._l1 = L1Tables()
        self._bases: dict[int, int] = {}
        self._vcpus = {0: _Vcpu()}
        self._selected = 0
        self._waits: Point | None = None  # the next step that can be moved waits for it
        self._dead = False

    def questions(self) -> tuple[Question, ...]:
        refused = {refusal.step: refusal.errno for refusal in self._outcomes.refusals}
        number = 0
        for index, step in enumerate(self._case.steps):
            if isinstance(step, Run):
                if self._waits is not None and len(self._vcpus) > 1:
                    break  # another vCPU's, in the midst of this one's
                self._waits = None
                reason = self._surprise(self._outcomes.runs[number], step.flags)
                number += 1
            else:
                errno = refused.get(index, 0)
                reason = (
                    "" if self._waits is not None or self._dead else self._answered(step, errno)
                )
                self._apply(index, step, refused=errno != 0)
            if reason:
                return (Question(index, reason),)
            if self._possible.unsettled:
                break
        return ()

    @property
    def _vcpu(self) -> _Vcpu:
        return self._vcpus[self._selected]

    @property
    def _may_lack_code(self) -> bool:
        """Whether the guest's own code may be out of stage 2; L2's may be at any time."""
        has_l2 = any(isinstance(step, GuestL2) for step in self._case.steps)
        return self._case.vm.cold or self._selected != 0 or has_l2

    # STEPS

    def _answered(self, step: Step, errno: int) -> str:
        allowed = answers(self._possible.premises, step)
        if allowed is None or errno in allowed:
            return ""
        expected = " or ".join(sorted(errno_name(each) if each else "done" for each in allowed))
        return f"{errno_name(errno) if errno else 'done'}: expected {expected}"

    def _apply(self, index: int, step: Step, *, refused: bool) -> None:
        if isinstance(step, SetMemslot):
            self._bases[step.slot] = step.gpa
        if isinstance(step, At):
            self._waits = step.point
        elif self._waits is Point.SWAP and isinstance(step, L1Map):
            self._possible.unsettled = True  # L1's tables are one thing or the other
        elif isinstance(step, SelectVcpu):
            if not refused:
                self._selected = step.index
                self._vcpus.setdefault(step.index, _Vcpu())
        elif isinstance(step, _NOT_MOVED):
            self._waits = None
            if not refused:
                self._of_guest(index, step)
        else:
            happen = self._possible.defer if self._waits is not None else self._possible.apply
            happen(step, refused=refused)
            self._waits = None

    def _of_guest(self, index: int, step: _Unmoved) -> None:
        match step:
            case Guest() | GuestL2():
                self._ask(index, step)
            case L1Map():
                self._l1.map(step, effective_address(step, self._bases))
            case L1Table() | L1Vtcr():
                self._l1.disturb(step)
            case Skip():
                self._skip()
            case _:
                self._possible.apply(step, refused=False)

    def _ask(self, index: int, step: Guest | GuestL2) -> None:
        address = effective_address(step, self._bases) if isinstance(step, Guest) else step.address
        is_l2 = isinstance(step, GuestL2)
        self._vcpu.queue.append(_Access(index, step.access, address, is_l2))

    def _skip(self) -> None:
        vcpu = self._vcpu
        if vcpu.standing and not vcpu.emulated:
            del vcpu.queue[0]
            vcpu.standing = False

    # KVM_RUN

    def _surprise(self, run: RunOutcome, flags: int) -> str:
        """Why a KVM_RUN is not as expected; "" where it is, or where there is no opinion."""
        vcpu = self._vcpu
        self._possible.pass_points()
        worlds = self._possible.premises
        if any(map(_may_fail, worlds)) and self._may_lack_code:
            # The vCPU's first start, or the guest's own code, may be what fails.
            self._possible.unsettled = True
        if self._possible.unsettled:
            return ""
        if vcpu.emulated:
            del vcpu.queue[0]  # completed before anything else, or when it is next entered
            vcpu.emulated = vcpu.standing = False
        ends = must_end(worlds[0], flags, dead=self._dead)
        if ends:
            return self._ended(run, flags, ends)
        if any(_fits(run, exit_) for exit_ in may_end(worlds)):
            self._possible.unsettled = True  # anywhere in its program
            return ""
        return self._went(run)

    def _ended(self, run: RunOutcome, flags: int, ends: Iterable[Exit]) -> str:
        if not any(_fits(run, exit_) for exit_ in ends):
            return f"expected {_either(ends)}"
        if flags & RunFlag.VM_DEAD and not self._dead:
            self._dead = flags == RunFlag.VM_DEAD
            self._possible.unsettled = not self._dead  # another end may have come first
        return ""

    def _went(self, run: RunOutcome) -> str:
        """How far the guest came, and whether it may have come there."""
        vcpu = self._vcpu
        at = next((n for n, each in enumerate(vcpu.queue) if each.step == run.access), None)
        if at is None and run.access != IDLE:
            return "the guest is at an access that it was past"
        passed = len(vcpu.queue) if at is None else at
        reason = self._passed(run, passed) or self._left(run, at)
        gave_up = any(step == run.access for step, _ in run.exceptions)
        del vcpu.queue[: passed + gave_up]
        vcpu.standing = at is not None and not gave_up
        vcpu.emulated = vcpu.standing and run.ret == 0 and run.exit_reason == ExitReason.MMIO
        return reason

    def _passed(self, run: RunOutcome, count: int) -> str:
        """Whether the guest may have got past the accesses before the one that it is at."""
        taken = {step for step, _ in run.exceptions}
        for each in self._vcpu.queue[:count]:
            found = self._effects(each)
            if found is None:
                self._possible.unsettled = True
                return ""
            what = "an exception" if each.step in taken else "done"
            if not (found.exception if each.step in taken else found.served):
                return f"{each} came to {what}"
        return ""

    def _left(self, run: RunOutcome, at: int | None) -> str:
        """Whether KVM_RUN may have ended like this at the access that the guest is at."""
        if self._possible.unsettled:
            return ""
        if at is None:
            return (
                ""
                if _rang_doorbell(run)
                else "expected the doorbell at the end of the guest's program"
            )
        each = self._vcpu.queue[at]
        found = self._effects(each)
        if found is None:
            self._possible.unsettled = True
            return ""
        if run.stuck:
            return f"{each} comes to the same fault for ever"
        if any(_fits(run, exit_) for exit_ in found.exits):
            return ""
        return f"{each}: expected {_either(found.exits)}"

    def _effects(self, each: _Access) -> Effects | None:
        worlds = self._possible.premises
        if each.is_l2:
            return l2_effects(worlds, self._l1, each.access, each.address)
        if ACCESS_FACTS[each.access].direction in (Direction.VNCR_READ, Direction.VNCR_WRITE):
            return vncr_effects(worlds, each.access, each.address)
        return effects(worlds, each.access, each.address)


def _rang_doorbell(run: RunOutcome) -> bool:
    left = run.ret == 0 and run.exit_reason == ExitReason.MMIO and not run.stuck
    return left and run.union[0] == DOORBELL


def _may_fail(premises: Premises) -> bool:
    """Whether any fault may, for want of memory or by an injected error."""
    return bool(
        premises.limited
        or premises.failures
        or (premises.memlock_limited and premises.vm.protected)
    )


def _fits(run: RunOutcome, exit_: Exit) -> bool:
    if (run.ret, run.errno) != (exit_.ret, exit_.errno):
        return False
    filled = run.fresh and run.exit_reason == ExitReason.MEMORY_FAULT
    return not filled if exit_.reason is None else run.exit_reason == exit_.reason


def _either(exits: Iterable[Exit]) -> str:
    return " or ".join(sorted(map(str, exits))) or "no exit"
