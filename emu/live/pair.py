"""Two live machines as one: what needs a guest with EL2 is played in a box of its own.

That box is slower, and is booted each time that it starts anew.
"""

from typing import Protocol

from emu.case import Case
from emu.live.console import ConsoleFinding
from emu.live.unsupported import Host, Unsupported
from emu.outcome import Outcomes


class Machine(Protocol):
    """What plays a case; see ``emu.live.machine.LiveMachine``."""

    host: Host

    def run(self, case: Case) -> Outcomes | Unsupported:
        """What came of it; BoxError."""

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        """What the kernel complained of on its console since this was last asked."""


class Pair:
    """``nested`` plays the cases whose VM is so, ``plain`` the others."""

    def __init__(self, plain: Machine, nested: Machine) -> None:
        self.host = plain.host
        self._plain = plain
        self._nested = nested

    def run(self, case: Case) -> Outcomes | Unsupported:
        """What came of it, on the one or the other."""
        return (self._nested if case.vm.nested else self._plain).run(case)

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        """Of either kernel."""
        return (*self._plain.complaints(), *self._nested.complaints())
