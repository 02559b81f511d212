"""What a box must have so that cases can be played in it, beyond what every box has."""

from collections.abc import Iterable
from typing import NamedTuple

from emu.case import Case
from emu.injection import Fail


class Needs(NamedTuple):
    """``nested``: a CPU and a kernel for guests with EL2. ``injecting``: a debugger's injector."""

    nested: bool = False
    injecting: bool = False


def needs(cases: Iterable[Case]) -> Needs:
    """Those of all."""
    nested = injecting = False
    for case in cases:
        nested = nested or case.vm.nested
        injecting = injecting or any(isinstance(step, Fail) for step in case.steps)
    return Needs(nested, injecting)
