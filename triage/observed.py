"""An observation on the screen."""

from rich.console import Group, RenderableType
from rich.text import Text

from triage.explained import diff
from triage.observation import Observation
from triage.screen import printable


def observed(observation: Observation) -> RenderableType:
    """All that was seen of a case, and how it compares."""
    title = Text(observation.file, style="bold")
    title.append(f" on {observation.image}, Linux {observation.linux}", style="not bold")
    if observation.unsupported:
        return Group(title, Text(f"unsupported: {observation.unsupported}", style="yellow"))
    lines = [Text(f"  observed  {line}") for line in observation.observed]
    if not lines:
        lines = [Text("The case has no KVM_RUN: nothing was judged.", style="yellow")]
    said = [Text(f"  console   {printable(line)}", "bold red") for line in observation.complaints]
    return Group(title, *lines, *said, *_comparison(observation))


def _comparison(observation: Observation) -> list[Text]:
    if observation.differences:
        kernel = observation.kernel
        words = f"The file expects of {kernel} something else (-) than was observed (+):"
        return [Text(words, style="bold red"), diff(observation.differences)]
    if observation.kernel:
        return [Text(f"As the file expects of {observation.kernel}.", style="green")]
    return []
