"""Findings on the screen: one line, a table, or one of them whole."""

import inspect
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from fuzz.directory.finding import Confirmation, Finding, State
from fuzz.oracle.contract import CLAUSES, Clause
from triage.durations import counted, span
from triage.invocation import own_name
from triage.screen import printable
from triage.tables import Table, columns, rows

_COLUMNS: Final = ("id", "kernel", "errno", "exit_reason", "count", "after", "state")
_SPARE: Final = ("state", "after", "count", "exit_reason", "errno", "kernel")


def one_line(finding: Finding) -> str:
    """A finding as it is announced."""
    name = f"{finding.signature} on {finding.kernel}"
    return printable(f"{span(finding.found_after_s):>8}  {name}: {finding.outcome}")


def listing(findings: Mapping[str, Finding]) -> Table:
    """Findings, each with its id, below one another."""
    table = columns(*_COLUMNS, right=("count", "after"), spare=_SPARE)
    for name, each in findings.items():
        table.add_row(
            printable(name),
            printable(each.kernel),
            printable(each.errno or "-"),
            printable(each.exit_reason),
            f"{each.count:,}",
            span(each.found_after_s),
            Text(each.state.value, style=_state_style(each.state)),
        )
    return table


def summaries(findings: Sequence[Finding]) -> RenderableType:
    """Each finding with what it breaks, its outcome, and its smallest case."""
    return Group(*(part for each in findings for part in (_summary(each), "")))


def _summary(finding: Finding) -> RenderableType:
    outcome = Padding(Text(printable(finding.outcome)), (0, 0, 0, 2))
    case = Padding(_case(finding), (0, 0, 0, 4))
    return Group(_title(finding), outcome, case)


def whole(finding: Finding, case: Path) -> RenderableType:
    """Everything that is known of a finding; ``case`` is the file of its smallest case."""
    clause = next((each for each in CLAUSES if each.id == finding.clause), None)
    command = printable(shlex.join([own_name(), "run", str(case), "--kernel", finding.kernel]))
    seen = f"{counted(finding.count, 'time')}, first after {span(finding.found_after_s)}"
    at = finding.access.value if finding.access else "no access"
    behind = finding.backing.value if finding.backing else "nothing known"
    facts: list[tuple[str | Text, RenderableType]] = [
        ("outcome", Text(printable(finding.outcome), style="bold")),
        ("broken", Text(printable(finding.reason), style="red")),
        ("cause", "natural" if finding.natural else "shown only with an injected error"),
        ("guest", f"{at}, backed by {behind}"),
        ("seen", f"{seen}, on {finding.found_at:%Y-%m-%d %H:%M} UTC"),
        *(("live", _confirmation(each)) for each in finding.confirmations),
        *([("clause", _clause(clause))] if clause else []),
        ("case", _case(finding)),
        ("replay", command),
    ]
    return Group(_title(finding), rows(facts))


def _confirmation(told: Confirmation) -> str:
    return f"{told.shown} of {told.played} times on {told.image}, Linux {told.linux}"


def _title(finding: Finding) -> Text:
    text = Text(f"{finding.signature}", style="bold").append(f" on {finding.kernel}", "not bold")
    text.append(f"  {_known(finding.state)}", f"not bold {_state_style(finding.state)}")
    text.append("" if finding.shrunk else ", case not shrunk yet", "not bold yellow")
    return text.append(f"\n  {printable(finding.title)}", "not bold")


def _case(finding: Finding) -> Text:
    return Text("\n".join(map(printable, finding.smallest.rstrip().split("\n"))))


def _known(state: State) -> str:
    return "claim (model)" if state is State.CLAIM else state.value


def _state_style(state: State) -> str:
    return "yellow" if state is State.CLAIM else "green"


def clause_says(clause: Clause) -> str:
    """Its docstring, as one paragraph."""
    return " ".join((inspect.getdoc(clause.check) or "").replace("``", "").split())


def _clause(clause: Clause) -> str:
    readings = ", ".join(sorted(reading.value for reading in clause.readings))
    return f"{clause_says(clause)} Basis: {clause.basis.value}. Asked for by: {readings}."
