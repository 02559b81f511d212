"""How far the guest's program came in each KVM_RUN, as the outcomes tell it.

A vCPU's program is the accesses of its Guest steps, in order. Where a KVM_RUN found the guest is
known if it was at an access or rang the doorbell; what lies between two such places was gone past.
"""

from emu.abi import DOORBELL, ExitReason
from emu.case import Case
from emu.outcome import IDLE, Outcomes, RunOutcome
from emu.steps import Guest, GuestL2, SelectVcpu, Skip, Step


def is_doorbell(run: RunOutcome) -> bool:
    """Whether the guest rang its doorbell, which is the harness's own and no clause's matter."""
    return run.ret == 0 and run.exit_reason == ExitReason.MMIO and run.union[0] == DOORBELL


class Course:
    """``past`` and ``done`` of every KVM_RUN, by its number in the outcomes."""

    __slots__ = ("_done", "_past")

    def __init__(self, case: Case, outcomes: Outcomes) -> None:
        programs = _programs(case.steps, {refusal.step for refusal in outcomes.refusals})
        self._past: list[tuple[int, ...]] = []
        self._done: list[tuple[int, ...]] = []
        last: dict[int, RunOutcome] = {}
        left: dict[int, set[int]] = {}
        places: dict[int, int | None] = {}
        for run in outcomes.runs:
            program = [step for step in programs.get(run.vcpu, ()) if step < run.step]
            start, end = places.get(run.vcpu, 0), _place(run, program)
            past = tuple(program[start:end]) if start is not None and end is not None else ()
            taken = {step for step, _ in run.exceptions}
            emulated = _given_up(
                last.get(run.vcpu), left.get(run.vcpu, set()), case.steps, run.step
            )
            self._past.append((*past, *(step for step, _ in run.exceptions)))
            self._done.append(tuple(step for step in past if step not in taken | emulated))
            last[run.vcpu], left[run.vcpu], places[run.vcpu] = run, emulated, end

    def past(self, number: int) -> tuple[int, ...]:
        """The steps whose accesses the guest went past, one way or another."""
        return self._past[number]

    def done(self, number: int) -> tuple[int, ...]:
        """Those that it finished itself, as far as is certain."""
        return self._done[number]


def _programs(steps: tuple[Step, ...], refused: set[int]) -> dict[int, list[int]]:
    vcpu, programs = 0, dict[int, list[int]]()
    for index, step in enumerate(steps):
        if isinstance(step, SelectVcpu):
            vcpu = vcpu if index in refused else step.index
        elif isinstance(step, Guest | GuestL2) and index not in refused:
            programs.setdefault(vcpu, []).append(index)
    return programs


def _place(run: RunOutcome, program: list[int]) -> int | None:
    """The number in the program of the access that the guest is at; None where that is unknown."""
    if run.access != IDLE:
        return program.index(run.access) if run.access in program else None
    return len(program) if is_doorbell(run) else None


def _given_up(
    last: RunOutcome | None, before: set[int], steps: tuple[Step, ...], now: int
) -> set[int]:
    """The access that the KVM_RUN before ended at, where the guest did not finish it itself: the
    VMM emulated it or skipped it, or an exception is on its way. So it was ``before`` that one,
    if that ended before the guest ran.
    """
    if last is None or last.access == IDLE:
        return set()
    emulated = last.ret >= 0 or last.moved or last.access in before
    skipped = any(isinstance(step, Skip) for step in steps[last.step : now])
    return {last.access} if emulated or skipped else set()
