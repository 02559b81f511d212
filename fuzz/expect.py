"""What a correct KVM may show of a case: told from layout, events and accesses alone.

A loose oracle. For each access there is a set of things that may come of it; which one it was is
read from the outcome, and everything that follows is held to that. Where a case does not settle
what a KVM may do (an injected error, a lost race, a nested guest) there is no opinion. Written from
api.rst and the facts on the fault path, not from the model: a disagreement is a question about us,
and no finding.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from emu.abi import DOORBELL, PAGE_MASK, PAGE_SIZE, Errno, ExitReason, errno_name, reason_name
from emu.access import ACCESS_FACTS, Access, Direction, touched
from emu.case import (
    Case,
    Guest,
    GuestL2,
    Run,
    RunFlag,
    SelectVcpu,
    SetMemslot,
    Skip,
    VcpuState,
    VmConfig,
    effective_address,
)
from emu.outcome import IDLE, Outcomes, RunOutcome
from fuzz.premises import Page, Premises, Region


class Exit(NamedTuple):
    """A way to leave KVM_RUN. ``reason`` None: undefined, but no record was written."""

    ret: int
    errno: int
    reason: int | None

    def __str__(self) -> str:
        words = "0" if self.ret == 0 else f"-1 {errno_name(self.errno)}"
        return words if self.reason is None else f"{words} {reason_name(self.reason)}"


class Effects(NamedTuple):
    """What may come of an access: it is done or skipped, the guest gets an exception, an exit."""

    served: bool = False
    exception: bool = False
    exits: frozenset[Exit] = frozenset()

    def __or__(self, other: "Effects") -> "Effects":
        """For a second page: both must be served, either may end it."""
        return Effects(
            self.served and other.served,
            self.exception or other.exception,
            self.exits | other.exits,
        )


class Question(NamedTuple):
    """A KVM_RUN, by its place in the outcomes, that shows what was not expected."""

    run: int
    reason: str


SERVED: Final = Effects(served=True)
EXCEPTION: Final = Effects(exception=True)
MMIO: Final = Exit(0, 0, ExitReason.MMIO)
NISV: Final = Exit(0, 0, ExitReason.ARM_NISV)
NO_SYNDROME: Final = Exit(-1, Errno.ENOSYS, None)
NO_MEMORY: Final = Exit(-1, Errno.ENOMEM, None)
BAD_ADDRESS: Final = Exit(-1, Errno.EFAULT, None)
SIGBUS: Final = Exit(-1, Errno.EINTR, ExitReason.INTR)
FAULT: Final = Exit(-1, Errno.EFAULT, ExitReason.MEMORY_FAULT)
POISON: Final = Exit(-1, Errno.EHWPOISON, ExitReason.MEMORY_FAULT)

# api.rst, KVM_EXIT_MEMORY_FAULT and KVM_RUN; that a guest_memfd fault is told is the thread's.
OF_FILE: Final = {
    Page.FINE: SERVED,
    Page.GONE: Effects(exits=frozenset({FAULT})),
    Page.POISONED: Effects(exits=frozenset({POISON})),
}
OF_MEMORY: Final = {
    Page.FINE: SERVED,
    Page.DENIED: Effects(exits=frozenset({BAD_ADDRESS})),
    Page.POISONED: Effects(exits=frozenset({SIGBUS})),
}
_EARLY: Final = {
    RunFlag.OTHER_MM: Errno.EIO,
    RunFlag.KILLED: Errno.EINTR,
    RunFlag.BAD_ARGUMENT: Errno.EINVAL,
    RunFlag.IMMEDIATE_EXIT: Errno.EINTR,
    RunFlag.SIGNAL: Errno.EINTR,
}


def effects(premises: Premises, access: Access, address: int) -> Effects | None:
    """What may come of an access now; None: no opinion."""
    facts = ACCESS_FACTS[access]
    if facts.direction in (Direction.VNCR_READ, Direction.VNCR_WRITE):
        return None
    if facts.direction is Direction.HINT:
        return SERVED
    first, last = touched(access, address)
    found = SERVED
    for page in range(first & PAGE_MASK, last + 1, PAGE_SIZE):
        gpa = max(page, first)
        reading = _page_effects(premises, access, gpa, write=False)
        writing = _page_effects(premises, access, gpa, write=True)
        if reading is None or writing is None:
            return None
        found |= _both(facts.direction, access, reading, writing)
    # An address that the CPU itself does not take comes to an exception; so does a failed AT, or to
    # nothing, for it is PAR_EL1 that tells.
    if address % facts.aligned:
        return found | Effects(found.served, exception=True)
    return Effects(True, True, found.exits) if access is Access.AT_WALK else found


def _both(direction: Direction, access: Access, reading: Effects, writing: Effects) -> Effects:
    """What an access of this direction takes of the effects of reading and of writing."""
    if direction is Direction.MAINTENANCE:
        # It needs no more than a read does; but where nothing is mapped yet, KVM sees a write.
        return writing._replace(served=reading.served or writing.served)
    if direction is Direction.READ_WRITE or access is Access.WALK_AF:
        return reading | writing
    return writing if direction is Direction.WRITE else reading


def _page_effects(premises: Premises, access: Access, gpa: int, *, write: bool) -> Effects | None:
    if gpa >> premises.vm.ipa_bits:
        return EXCEPTION
    region = premises.region(gpa)
    if region is None or (write and region.readonly):
        return _unserved(premises, access, gpa, region)
    state = premises.page(region, gpa, write=write)
    if state is None:
        return None
    found = (OF_MEMORY if region.file is None else OF_FILE)[state]
    if premises.limited:
        # Tables and pages are charged; what is there already need not be charged again.
        more = {NO_MEMORY, BAD_ADDRESS} if region.file is None else {NO_MEMORY, FAULT}
        return found._replace(exits=found.exits | more)
    return found


def _unserved(premises: Premises, access: Access, gpa: int, region: Region | None) -> Effects:
    """api.rst, KVM_EXIT_MMIO, KVM_EXIT_ARM_NISV, and ENOSYS among KVM_RUN's errnos."""
    facts = ACCESS_FACTS[access]
    if facts.direction in (Direction.FETCH, Direction.WALK):
        return EXCEPTION
    if facts.direction is Direction.MAINTENANCE and region is None:
        return SERVED
    if not facts.syndrome:
        return Effects(exits=frozenset({NISV if premises.vm.nisv_to_user else NO_SYNDROME}))
    taken = facts.direction is Direction.WRITE and (gpa, facts.width) in premises.doorbells
    return Effects(served=taken, exits=frozenset({MMIO}))


@dataclass(slots=True)
class _Vcpu:
    """The accesses of a vCPU's program that are not done yet: step, access, address.

    ``standing``: the guest is before the first of them; until a KVM_RUN it is before its program.
    ``emulated``: the first waits for its MMIO to be completed.
    """

    queue: list[tuple[int, Access, int]] = field(default_factory=list)
    standing: bool = False
    emulated: bool = False


def questions(case: Case, outcomes: Outcomes) -> tuple[Question, ...]:
    """Every KVM_RUN that shows what was not expected, up to where nothing can be expected."""
    if not _has_opinion(case.vm):
        return ()
    return _Follower(case, outcomes).questions()


def _has_opinion(vm: VmConfig) -> bool:
    return vm.vcpu is VcpuState.READY and not vm.nested and not vm.protected


class _Follower:
    """Goes through a case and its outcomes side by side."""

    def __init__(self, case: Case, outcomes: Outcomes) -> None:
        self._case = case
        self._outcomes = outcomes
        self._premises = Premises(case.vm)
        self._bases: dict[int, int] = {}
        self._vcpus: dict[int, _Vcpu] = {}
        self._selected = 0

    def questions(self) -> tuple[Question, ...]:
        found: list[Question] = []
        refused = {refusal.step for refusal in self._outcomes.refusals}
        number = 0
        for index, step in enumerate(self._case.steps):
            if isinstance(step, Run):
                run = self._outcomes.runs[number]
                reason = self._surprise(run, step.flags)
                if reason:
                    found.append(Question(number, reason))
                if reason or self._premises.unsettled:
                    break  # what was not expected once says nothing of what comes after
                number += 1
            else:
                self._apply(index, refused=index in refused)
                if self._premises.unsettled:
                    break
        return tuple(found)

    @property
    def _vcpu(self) -> _Vcpu:
        return self._vcpus.setdefault(self._selected, _Vcpu())

    def _apply(self, index: int, *, refused: bool) -> None:
        step = self._case.steps[index]
        if isinstance(step, SetMemslot):
            self._bases[step.slot] = step.gpa
        match step:
            case Guest() if not refused:
                address = effective_address(step, self._bases)
                self._vcpu.queue.append((index, step.access, address))
            case GuestL2():
                self._premises.unsettled = True
            case SelectVcpu(number):
                self._selected = number
            case Skip():
                if self._vcpu.standing and not self._vcpu.emulated:
                    del self._vcpu.queue[0]
                    self._vcpu.standing = False
            case _:
                self._premises.apply(step, refused=refused)

    def _surprise(self, run: RunOutcome, flags: int) -> str:
        """Why a KVM_RUN is not as expected; "" where it is, or where there is no opinion."""
        vcpu = self._vcpu
        if vcpu.emulated and not flags & ~(RunFlag.IMMEDIATE_EXIT | RunFlag.SIGNAL):
            del vcpu.queue[0]  # completed before anything else
            vcpu.emulated = vcpu.standing = False
        if flags:
            return self._early(run, flags)
        if self._premises.limited and (self._case.vm.cold or self._selected):
            self._premises.unsettled = True  # the guest's own code may be what is not there
            return ""
        if run.stuck:
            return "the guest takes the same fault for ever"
        at = next((n for n, each in enumerate(vcpu.queue) if each[0] == run.access), None)
        if at is None and run.access != IDLE:
            return "the guest is at an access that it was past"
        passed = len(vcpu.queue) if at is None else at
        reason = self._passed(run, passed) or self._left(run, at)
        gave_up = any(step == run.access for step, _ in run.exceptions)
        del vcpu.queue[: passed + gave_up]
        vcpu.standing = at is not None and not gave_up
        vcpu.emulated = at is not None and run.ret == 0 and run.exit_reason == ExitReason.MMIO
        return reason

    def _early(self, run: RunOutcome, flags: int) -> str:
        allowed = {errno for flag, errno in _EARLY.items() if flags & flag}
        if flags & ~sum(_EARLY):
            self._premises.unsettled = True  # the VM may be dead
            return ""
        if run.ret == -1 and run.errno in allowed:
            return ""
        return f"expected -1 and one of {', '.join(sorted(errno.name for errno in allowed))}"

    def _passed(self, run: RunOutcome, count: int) -> str:
        """Whether the guest may have got past the accesses before the one that it is at."""
        taken = {step for step, _ in run.exceptions}
        for step, access, address in self._vcpu.queue[:count]:
            found = effects(self._premises, access, address)
            if found is None:
                self._premises.unsettled = True
                return ""
            what = "an exception" if step in taken else "done"
            if not (found.exception if step in taken else found.served):
                return f"{access.value} at {address:#x} came to {what}"
        return ""

    def _left(self, run: RunOutcome, at: int | None) -> str:
        """Whether KVM_RUN may have ended like this at the access that the guest is at."""
        if at is None:
            rung = run.ret == 0 and run.exit_reason == ExitReason.MMIO and run.union[0] == DOORBELL
            return "" if rung else "expected the doorbell at the end of the guest's program"
        _, access, address = self._vcpu.queue[at]
        found = effects(self._premises, access, address)
        if found is None:
            self._premises.unsettled = True
            return ""
        if any(_fits(run, each) for each in found.exits):
            return ""
        expected = " or ".join(sorted(map(str, found.exits))) or "no exit"
        return f"{access.value} at {address:#x}: expected {expected}"


def _fits(run: RunOutcome, exit_: Exit) -> bool:
    if (run.ret, run.errno) != (exit_.ret, exit_.errno):
        return False
    filled = run.fresh and run.exit_reason == ExitReason.MEMORY_FAULT
    return not filled if exit_.reason is None else run.exit_reason == exit_.reason
