"""What real kernels made of a finding, on the screen."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from fuzz.directory.finding import Finding, State
from triage.confirm import Confirmed
from triage.remedies import larger_pages
from triage.screen import printable
from triage.tables import columns


def confirmed(finding: Finding, model: str, told: Sequence[Confirmed]) -> RenderableType:
    """The model's ret, errno and exit_reason, those of every kernel below, and what it means."""
    table = columns("machine", "times", "ret, errno, exit_reason", right=("times",))
    table.add_row(f"model of {finding.kernel}", "", model)
    for each in told:
        at = each.confirmation
        machine = f"{at.image}, Linux {at.linux}"
        if each.unsupported:
            table.add_row(machine, "-", Text(f"unsupported: {each.unsupported}", style="yellow"))
        for seen in each.seen:
            table.add_row(machine, f"{seen.count} of {at.played}", printable(seen.outcome))
    verdicts = [line for each in told for line in (*_said(each), _verdict(each))]
    return Group(Text(finding.name, style="bold"), table, *verdicts, _state(finding))


def _said(told: Confirmed) -> list[Text]:
    image = told.confirmation.image
    return [Text(f"{image}: console: {printable(each)}", "bold red") for each in told.complaints]


def _verdict(told: Confirmed) -> Text:
    at = told.confirmation
    if told.unsupported:
        return Text(f"{at.image}: not played{larger_pages(told.unsupported)}")
    text = Text(f"{at.image}: shows it {at.shown} of {at.played} times")
    return text if told.own else text.append(", but is another kernel than the finding's")


def _state(finding: Finding) -> Text:
    observed = finding.state is State.OBSERVED
    return Text(f"state: {finding.state.value}", style="bold green" if observed else "bold yellow")
