"""An observation on the screen."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from triage.explained import diff
from triage.observation import Observation
from triage.remedies import larger_pages
from triage.screen import printable


def observed(observation: Observation) -> RenderableType:
    """All that was seen of a case, and how it compares."""
    title = Text(observation.file, style="bold")
    title.append(f" on {observation.image}, Linux {observation.linux}", style="not bold")
    if observation.unsupported:
        reason = observation.unsupported
        return Group(title, Text(f"unsupported: {reason}{larger_pages(reason)}", style="yellow"))
    lines = list(_lines(observation)) or [
        Text("The case has no KVM_RUN: nothing was judged.", style="yellow")
    ]
    said = [Text(f"  console   {printable(line)}", "bold red") for line in observation.complaints]
    return Group(title, *lines, *said, *_comparison(observation))


def _lines(observation: Observation) -> Iterator[Text]:
    """What came of each KVM_RUN, and below it why a clause is broken."""
    for number, line in enumerate(observation.observed):
        yield Text(f"  observed  {line}")
        for each in observation.breaches:
            if each.line == number:
                yield Text(f"            {each.clause} broken: {each.reason}", style="bold red")


def _comparison(observation: Observation) -> list[Text]:
    if observation.differences:
        kernel = observation.kernel
        words = f"The file expects of {kernel} something else (-) than was observed (+):"
        return [Text(words, style="bold red"), diff(observation.differences)]
    if observation.kernel:
        return [Text(f"As the file expects of {observation.kernel}.", style="green")]
    return []
