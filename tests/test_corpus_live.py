"""``gff corpus check --live`` without a real kernel: a modelled one stands in for it."""

from contextlib import nullcontext
from pathlib import Path

import pytest

from emu.case import Case
from emu.kernels import KERNELS
from emu.live.console import Complaint, ConsoleFinding
from emu.live.trouble import BoxError
from emu.live.unsupported import Host
from emu.model import Model
from emu.outcome import Outcomes
from tests.command import LEAK, Gff
from triage.commands import corpus as command

LINE = ConsoleFinding(Complaint.WARN, "WARNING: at \x1b[2J")
EXPECTED = """---
observed v7.3
  run 1: -1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0  ! C2
"""


class StandIn:
    """A live machine of Linux 7.3, whose kernel does and says this."""

    def __init__(self, kernel: str, *said: ConsoleFinding, lost: bool = False) -> None:
        self.host = Host("7.3.4", 0x1000, kvm=True, ipa_bits=48, zva=64)
        self._kernel = KERNELS[kernel]
        self._said = said
        self._lost = lost

    def run(self, case: Case) -> Outcomes:
        if self._lost:
            raise BoxError("gone")
        return Model().run(case, self._kernel)

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        said, self._said = self._said, ()
        return said


CHECKED = [
    #  the machine               status, and the last lines of the report
    (StandIn("v7.3"), 0, ": all as expected"),
    (StandIn("clean"), 1, ": 1 not as expected"),
    (StandIn("v7.3", lost=True), 1, ": no outcome: gone", ": 1 not as expected"),
    (
        StandIn("v7.3", LINE),
        1,
        ": console: WARN: WARNING: at \\x1b[2J",
        ": all as expected, 1 complaint of the kernel",
    ),
    # What it says of a case that is lost is not lost.
    (
        StandIn("v7.3", LINE, lost=True),
        1,
        ": console: WARN: WARNING: at \\x1b[2J",
        ": 1 not as expected, 1 complaint of the kernel",
    ),
]


@pytest.mark.parametrize(("machine", "status", "lines"), [(m, s, ls) for m, s, *ls in CHECKED])
def test_a_difference_a_loss_and_a_complaint_are_told_and_are_findings(
    machine: StandIn,
    status: int,
    lines: list[str],
    call: Gff,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "live_machine", lambda *_: nullcontext(machine))
    Path("leak.case").write_text(LEAK + EXPECTED)
    ended = call("corpus", "check", "leak.case", "--live", "an-image")
    assert ended.status == status
    shown = ended.out.splitlines()[-len(lines) :]
    assert all(line.endswith(end) for line, end in zip(shown, lines, strict=True))
