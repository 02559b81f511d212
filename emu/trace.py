"""The same run, watched: which kernel functions each KVM_RUN passed, which aborts the guest took.

Watching costs far more than running, so it is for people: ``gff run``, not the fuzzer. It needs no
help from the modelled kernel: the interpreter reports every call of a function of ``emu.kvm``.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

import emu.kernels
import emu.kvm
from emu.case import Case
from emu.kvm.kvm_main import Kernel
from emu.kvm.state import Vcpu
from emu.model import Model
from emu.outcome import Outcomes
from emu.steps import SetMemslot

_SOURCES: Final = tuple(str(Path(package.__path__[0])) for package in (emu.kvm, emu.kernels))
_ENTRY: Final = "kvm_vcpu_ioctl_run"
_REGION: Final = "kvm_vm_ioctl_set_memory_region"
_ABORTS: Final = ("kvm_handle_guest_abort", "kvm_handle_vncr_abort")


@dataclass(frozen=True, slots=True)
class Abort:
    """An abort to EL2 as the kernel read it, and the step whose access took it (or IDLE).

    ``hpfar`` is None where HPFAR_EL2 is not valid.
    """

    esr: int
    far: int
    hpfar: int | None
    step: int


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel function that was entered: its name, how deep, and what it returned if an int."""

    name: str
    depth: int
    result: int | None


@dataclass(slots=True)
class RunTrace:
    """What one KVM_RUN passed, in order, with what other threads did meanwhile.

    ``step`` is the index of its Run step. ``regions``: the memslot steps that KVM had done before
    the call, in that order; ``regions_after``: and until its end.
    """

    step: int
    regions: tuple[SetMemslot, ...]
    regions_after: tuple[SetMemslot, ...] = ()
    calls: list[Call] = field(default_factory=list)
    aborts: list[Abort] = field(default_factory=list)


class _Watcher:
    """A profile function for ``sys.setprofile``."""

    def __init__(self) -> None:
        self.runs: list[RunTrace] = []
        self._regions: list[SetMemslot] = []
        # The functions that have not returned: whose KVM_RUN, and the index in its calls.
        self._open: list[tuple[RunTrace, int]] = []

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if not _is_kernel(frame):
            return
        name = frame.f_code.co_name
        if name == _REGION and event == "return" and argument == 0:
            self._region(frame)
        if name.startswith(("_", "<")) or ("vcpu" not in frame.f_locals and not self._open):
            return
        if event == "call":
            self._enter(name, frame)
        elif event == "return" and self._open:
            self._leave(argument)

    def _enter(self, name: str, frame: FrameType) -> None:
        caller = frame.f_back
        if name == _ENTRY and caller is not None and not _is_kernel(caller):
            trace = RunTrace(caller.f_locals["index"], tuple(self._regions))
            self.runs.append(trace)
        elif self._open:
            trace = self._open[-1][0]
        else:
            return
        # A variant's function may call the one that it overrides: that is the same abort.
        if name in _ABORTS and name not in self._names(trace):
            trace.aborts.append(_abort(frame))
        depth = sum(other is trace for other, _ in self._open)
        self._open.append((trace, len(trace.calls)))
        trace.calls.append(Call(name, depth, None))

    def _names(self, trace: RunTrace) -> set[str]:
        """The functions of that KVM_RUN that have not returned."""
        return {trace.calls[index].name for other, index in self._open if other is trace}

    def _leave(self, result: object) -> None:
        trace, index = self._open.pop()
        calls = trace.calls
        if isinstance(result, int) and not isinstance(result, bool):
            calls[index] = Call(calls[index].name, calls[index].depth, int(result))
        if index == 0:  # KVM_RUN itself
            trace.regions_after = tuple(self._regions)

    def _region(self, frame: FrameType) -> None:
        caller = frame.f_back
        if caller is not None and not _is_kernel(caller):  # not a variant, which calls this one
            self._regions.append(caller.f_locals["step"])


def _is_kernel(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_SOURCES)


def _abort(frame: FrameType) -> Abort:
    vcpu: Vcpu = frame.f_locals["vcpu"]
    fault = vcpu.fault
    hpfar = fault.hpfar if fault.hpfar_valid else None
    return Abort(fault.esr, fault.far, hpfar, vcpu.guest.step)


def run_traced(model: Model, case: Case, kernel: Kernel) -> tuple[Outcomes, list[RunTrace]]:
    """``model.run(case, kernel)``, with one trace for each KVM_RUN."""
    watcher = _Watcher()
    sys.setprofile(watcher)
    try:
        outcomes = model.run(case, kernel)
    finally:
        sys.setprofile(None)
    return outcomes, sorted(watcher.runs, key=lambda run: run.step)
