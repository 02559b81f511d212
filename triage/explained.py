"""An explanation on the screen."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from emu.abi import ExitReason
from emu.expectation import Basis
from fuzz.oracle.pins import PINNED
from triage.durations import counted
from triage.explanation import AbortView, AccessView, ExceptionView, Explanation, RunView, StepView
from triage.passage import Passed
from triage.replay import Difference
from triage.slots import Slot
from triage.syndrome_words import is_for_el2
from triage.tables import Table, columns, rows
from triage.verdicts import Ruling, Verdict


def explained(explanation: Explanation, *, trace: bool) -> RenderableType:
    """The whole explanation; ``trace``: with every kernel function."""
    parts: list[RenderableType] = [_title(explanation)]
    slots: tuple[Slot, ...] = ()
    alone = not any(run.vcpu for run in explanation.runs)
    for run in explanation.runs:
        whose = "" if alone else f", vCPU {run.vcpu}"
        title = Text(f"\nKVM_RUN {run.number}{whose}", style="bold")
        parts += [title, _run(run, slots, trace=trace)]
        slots = run.memslots_after
    if explanation.after:
        head = "after the last KVM_RUN" if explanation.runs else "steps"
        parts += [Text(f"\n{head}", style="bold"), rows(_steps(explanation.after))]
    if not explanation.runs:
        parts.append(_without_runs(explanation))
    return Group(*parts, *_comparison(explanation))


def _without_runs(explanation: Explanation) -> Text:
    what = "The case has no KVM_RUN" if explanation.after else "The case has no step"
    return Text(f"\n{what}: nothing was judged.", style="yellow")


def _title(explanation: Explanation) -> Text:
    words = Text(explanation.file, style="bold")
    words.append(f" on {explanation.kernel}, {explanation.reading} reading", style="not bold")
    return words.append("".join(f"\n{fact}" for fact in explanation.vm), style="not bold")


# A row is a label and what it labels.
Row = tuple[str | Text, RenderableType]


def _run(run: RunView, slots_before: Sequence[Slot], *, trace: bool) -> Padding:
    def told() -> Iterator[Row]:
        yield from _steps((*run.before, run.step))
        if _taken(run.memslots) != _taken(slots_before) or run.memslots != _taken(run.memslots):
            yield "slots", _slots(run.memslots)
        yield from _guest(run, trace=trace)
        if trace:
            yield "passed", _functions(run.functions)
        elif not run.aborts:
            yield "kernel", run.way
        if run.memslots_after != _taken(run.memslots):
            yield "slots", _slots(run.memslots_after)
        yield "result", _result(run)
        yield from _verdicts(run.clauses)
        for note in run.notes:
            yield note.pin, Text(f"differs from {PINNED}: {note.reason}", style="cyan")

    return rows(told())


def _steps(steps: Sequence[StepView]) -> Iterator[Row]:
    for step in steps:
        text = Text(step.text)
        if step.refused:
            text.append(f"  refused: {step.refused}", style="yellow")
        if step.log:
            text.append(f"  {step.log}", style="green")
        yield Text(f"{step.number:>6}", style="dim"), text


def _taken(slots: Sequence[Slot]) -> tuple[Slot, ...]:
    return tuple(slot for slot in slots if not slot.refused)


_SLOT_COLUMNS: Final = ("slot", "guest-physical range", "size", "flags", "backing", "")


def _slots(slots: Sequence[Slot]) -> RenderableType:
    if not slots:
        return "none"
    table = columns(*_SLOT_COLUMNS, wide="backing", spare=("size",))
    for slot in slots:
        span = f"{slot.gpa:#x}-{slot.gpa + slot.size - 1:#x}" if slot.size else f"{slot.gpa:#x}"
        refused = Text(f"refused: {slot.refused}" if slot.refused else "", style="yellow")
        table.add_row(str(slot.slot), span, f"{slot.size:#x}", slot.flags, slot.backing, refused)
    return table


def _guest(run: RunView, *, trace: bool) -> Iterator[Row]:
    exceptions = list(run.exceptions)
    for access, aborts in groupby(run.aborts, key=lambda abort: abort.access):
        for abort, same in groupby(aborts):
            yield "guest", _at(abort)
            if trace or not abort.own:
                yield "abort", _abort(abort, len(list(same)))
        # The handler of an exception gives the access up: nothing of it can follow.
        while access is not None and exceptions and exceptions[0].access == access:
            yield from _exception(exceptions.pop(0))
    for exception in exceptions:
        yield from _exception(exception)


def _exception(exception: ExceptionView) -> Iterator[Row]:
    level = 2 if is_for_el2(exception.esr) else 1
    yield "guest", f"{_access(exception.access)}: an exception at EL{level}, the access is given up"
    yield "except", f"ESR_EL{level} {exception.esr:#010x}: {exception.syndrome}"


def _at(abort: AbortView) -> str:
    if abort.own == "doorbell":
        return "has no access left and rings the doorbell"
    if abort.own or abort.access is None:
        return f"is at its own {abort.own}"
    return f"{_access(abort.access)}: {abort.access.instruction}"


def _access(access: AccessView | None) -> str:
    return "no access" if access is None else f"{access.access} at {access.address:#x}"


def _abort(abort: AbortView, times: int) -> Text:
    again = f" ({times} times)" if times > 1 else ""
    ipa = "not valid" if abort.hpfar is None else f"{abort.hpfar:#x}: IPA {abort.ipa:#x}"
    return Text(
        f"ESR_EL2 {abort.esr:#010x}: {abort.syndrome}{again}\n"
        f"FAR_EL2 {abort.far:#x}, HPFAR_EL2 {ipa}\n{abort.way}"
    )


def _functions(functions: Sequence[Passed]) -> Text:
    return Text("\n").join(
        Text("  " * each.depth + each.function + (f" = {each.result}" if each.result else ""))
        for each in functions
    )


def _result(run: RunView) -> Text:
    claim = run.knowledge == Basis.CLAIM.value
    observed = run.knowledge == Basis.OBSERVED.value
    text = Text(f"{run.outcome}\n", style="bold")
    known = "claim (model)" if claim else run.knowledge
    text.append(known, style="not bold green" if observed else "not bold yellow")
    if run.exit_reason == ExitReason.MEMORY_FAULT.name:
        text.append(f"; record {'fresh' if run.fresh else 'kept'}", "not bold")
    text.append(f"; exit_reason before {run.exit_reason_before}", "not bold")
    if run.at is not None:
        text.append(f"; guest at {_access(run.at)}", "not bold")
    if run.userfaults:
        text.append(f"; userfaultfd told the VMM of {counted(run.userfaults, 'fault')}", "not bold")
    return text


def _verdicts(clauses: Sequence[Verdict]) -> Iterator[Row]:
    for ruling, style in ((Ruling.BROKEN, "bold red"), (Ruling.EXCUSED, "yellow")):
        for each in clauses:
            if each.ruling is ruling:
                text = Text(f"{ruling.value}: {each.reason}", style=style)
                yield each.clause, text.append(f"\n{each.title}", style="not bold default")
    for ruling in (Ruling.HELD, Ruling.NOT_APPLICABLE):
        names = [each.clause for each in clauses if each.ruling is ruling]
        if names:
            yield "", f"{ruling.value}: {' '.join(names)}"


def _comparison(explanation: Explanation) -> Iterator[RenderableType]:
    if explanation.differences:
        yield Text("\nThe file expects something else (-) than the model gives (+):", "bold red")
        yield diff(explanation.differences)
    elif explanation.expected:
        yield Text("\nAs the file expects.", style="green")


def overview(told: Sequence[Explanation]) -> Table:
    """Every explanation's verdict, below one another."""
    cases = len({each.file for each in told}) > 1
    table = columns(*(["case"] if cases else []), "kernel", "verdict", wide="verdict")
    for each in told:
        named = [Text(each.file)] if cases else []
        table.add_row(*named, each.kernel, _verdict(each))
    return table


def _verdict(explanation: Explanation) -> Text:
    broken = dict.fromkeys(
        each.clause
        for run in explanation.runs
        for each in run.clauses
        if each.ruling is Ruling.BROKEN
    )
    if broken:
        text = Text(f"breaks {' '.join(broken)}", style="bold red")
    elif explanation.runs:
        text = Text("keeps the contract", style="green")
    else:
        text = Text("no KVM_RUN", style="yellow")
    differs = ", not as the file expects" if explanation.differences else ""
    return text.append(differs, "bold red")


def diff(differences: Sequence[Difference]) -> Text:
    """Lines of the file against lines of the model."""
    lines = []
    for each in differences:
        lines += [Text(f"- {each.expected}", style="red")] if each.expected else []
        lines += [Text(f"+ {each.actual}", style="green")] if each.actual else []
    return Text("\n").join(lines)
