"""What a box must have so that cases can be played in it, beyond what every box has."""

from collections.abc import Iterable
from typing import NamedTuple

from emu.access import Access
from emu.case import Case
from emu.injection import Fail
from emu.steps import Guest, Step


class Needs(NamedTuple):
    """``nested``: a CPU and a kernel for guests with EL2. ``injecting``: a debugger's injector.

    ``updating``: a CPU that sets access flags. ``debugfs``: the kernel's own means to fail, and to
    tell what is reached; with it every VM and vCPU takes longer to make.
    """

    nested: bool = False
    injecting: bool = False
    updating: bool = False
    debugfs: bool = False


def needs(cases: Iterable[Case]) -> Needs:
    """Those of all."""
    nested = injecting = updating = False
    for case in cases:
        nested = nested or case.vm.nested
        injecting = injecting or any(isinstance(step, Fail) for step in case.steps)
        updating = updating or any(_updates(step) for step in case.steps)
    return Needs(nested, injecting, updating, debugfs=injecting)


def _updates(step: Step) -> bool:
    return isinstance(step, Guest) and step.access is Access.WALK_AF
