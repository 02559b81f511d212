"""Runs a case, watched, and puts together what can be said of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from emu.abi import (
    DOORBELL,
    HARNESS_BASE,
    HARNESS_SIZE,
    PAGE_MASK,
    errno_name,
    reason_name,
)
from emu.access import Access
from emu.asm import SNIPPETS
from emu.case import Case
from emu.expectation import Basis, Expectation, ExpectedLine
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import describe
from emu.steps import Guest, GuestL2, SetMemslot, effective_address
from emu.syndrome import fault_ipa
from emu.text import dump, dump_step
from emu.trace import Abort, Call, RunTrace, run_traced
from fuzz.oracle.contract import Reading
from fuzz.oracle.pins import notes
from fuzz.oracle.view import View, views
from triage.case_input import CaseInput
from triage.explanation import (
    AbortView,
    AccessView,
    ExceptionView,
    Explanation,
    RunView,
    StepView,
)
from triage.passage import aborts, in_one_line, of_the_kernel, passed, short_way
from triage.replay import differences, lines_of
from triage.slots import Slot, region, slots_after
from triage.syndrome_words import syndrome
from triage.verdicts import verdicts


@dataclass(frozen=True, slots=True)
class _Context:
    """What is the same for all KVM_RUNs of a case. ``accesses`` has one for each guest step."""

    case: Case
    refused: Mapping[int, int]
    logs: Mapping[int, tuple[int, ...]]
    accesses: Mapping[int, AccessView]
    reading: Reading
    expectation: Expectation | None


def explain(given: CaseInput, kernel: str, reading: Reading, model: Model) -> Explanation:
    """Run the case on the kernel of that name, watched."""
    case = given.case
    outcomes, traces = run_traced(model, case, KERNELS[kernel])
    expectation = given.file.expected_of(kernel) if given.file else None
    refused = {each.step: each.errno for each in outcomes.refusals}
    logs = {each.step: each.pages for each in outcomes.logs}
    context = _Context(case, refused, logs, _accesses(case), reading, expectation)
    lines = lines_of(case, outcomes)
    ends = [run.step for run in outcomes.runs]
    starts = [0, *(end + 1 for end in ends)]
    runs = zip(starts[:-1], views(case, outcomes), traces, lines[: len(ends)], strict=True)
    return Explanation(
        file=given.name,
        kernel=kernel,
        reading=reading.value,
        vm=tuple(dump(Case(case.vm, ())).splitlines()),
        runs=tuple(_run(context, *each) for each in runs),
        after=_steps(context, range(starts[-1], len(case.steps))),
        expected=expectation is not None,
        differences=differences(expectation.lines, lines) if expectation else (),
    )


def _run(context: _Context, start: int, view: View, trace: RunTrace, line: ExpectedLine) -> RunView:
    run, calls = view.run, of_the_kernel(trace.calls)
    before = range(start, run.step)
    return RunView(
        number=line.number,
        step=_step(context, run.step),
        before=_steps(context, before),
        memslots=(*slots_after(trace.regions), *_refused_regions(context, before)),
        memslots_after=slots_after(trace.regions_after),
        aborts=_aborts(context, trace.aborts, calls),
        exceptions=tuple(
            ExceptionView(context.accesses.get(step), esr, syndrome(esr))
            for step, esr in run.exceptions
        ),
        way=in_one_line(short_way(calls)),
        functions=passed(calls),
        outcome=describe(run),
        knowledge=_knowledge(context.expectation, line),
        ret=run.ret,
        errno=errno_name(run.errno) if run.ret < 0 else "",
        exit_reason=reason_name(run.exit_reason),
        exit_reason_before=reason_name(run.before),
        union=run.union,
        fresh=run.fresh,
        at=context.accesses.get(run.access),
        vcpu=run.vcpu,
        userfaults=run.userfaults,
        clauses=verdicts(view, context.reading),
        notes=notes(view),
    )


def _knowledge(expectation: Expectation | None, line: ExpectedLine) -> str:
    """How the outcome is known: what the file says of it, if the model agrees."""
    agreed = expectation is not None and line in expectation.lines
    return expectation.basis.value if expectation is not None and agreed else Basis.CLAIM.value


def _steps(context: _Context, indices: range) -> tuple[StepView, ...]:
    return tuple(_step(context, index) for index in indices)


def _step(context: _Context, index: int) -> StepView:
    errno = context.refused.get(index)
    text = dump_step(context.case.steps[index])
    log = _log(context.logs[index]) if index in context.logs else ""
    return StepView(index + 1, text, errno_name(errno) if errno else "", log)


def _log(pages: tuple[int, ...]) -> str:
    if not pages:
        return "clean"
    return f"dirty: {'page' if len(pages) == 1 else 'pages'} {', '.join(map(str, pages))}"


def _refused_regions(context: _Context, before: range) -> Iterator[Slot]:
    steps = context.case.steps
    for index in before:
        if index in context.refused and isinstance(step := steps[index], SetMemslot):
            yield region(step, context.refused[index])


def _aborts(
    context: _Context, taken: Sequence[Abort], calls: Sequence[Call]
) -> tuple[AbortView, ...]:
    told = zip(taken, aborts(calls), strict=True)
    return tuple(_abort(context, abort, calls) for abort, calls in told)


def _abort(context: _Context, abort: Abort, calls: Sequence[Call]) -> AbortView:
    ipa = None if abort.hpfar is None else fault_ipa(abort.hpfar)
    own = "" if ipa is None else _harness(ipa | abort.far & ~PAGE_MASK)
    return AbortView(
        access=None if own else context.accesses.get(abort.step),
        own=own,
        esr=abort.esr,
        syndrome=syndrome(abort.esr),
        far=abort.far,
        hpfar=abort.hpfar,
        ipa=ipa,
        way=in_one_line(short_way(calls)),
    )


def _harness(ipa: int) -> str:
    """What of the harness lies at an address; "" where it is the case's."""
    if ipa == DOORBELL:
        return "doorbell"
    inside = HARNESS_BASE <= ipa < HARNESS_BASE + HARNESS_SIZE
    return "code or stage-1 tables" if inside else ""


def _accesses(case: Case) -> dict[int, AccessView]:
    bases: dict[int, int] = {}
    accesses = {}
    for index, step in enumerate(case.steps):
        if isinstance(step, SetMemslot):
            bases[step.slot] = step.gpa
        elif isinstance(step, Guest):
            address = effective_address(step, bases)
            accesses[index] = AccessView(step.access.value, _instruction(step.access), address)
        elif isinstance(step, GuestL2):
            name = f"l2 {step.access.value}"
            accesses[index] = AccessView(name, _instruction(step.access), step.address)
    return accesses


def _instruction(access: Access) -> str:
    match access:
        case Access.VNCR_READ:
            return "MRS of an EL2 register"
        case Access.VNCR_WRITE:
            return "MSR to an EL2 register"
        case _:
            return SNIPPETS[access].text
