"""The VMM's threads: one for each vCPU, and others whose calls fall into a vCPU's fault path.

A case that names neither a second vCPU nor a point is played by ``emu.model`` alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from emu.injection import At, ForceAbort, ForceExit, Point
from emu.kvm.state import KvmRun, Vcpu
from emu.outcome import Outcomes, Refusal, RunOutcome
from emu.races import Deferred, Races
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
    L1Map,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    PoisonGmem,
    PoisonMem,
    Protect,
    PunchHole,
    ReleaseGmem,
    Run,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
    Userfault,
    effective_address,
)
from emu.vmm import Vmm

if TYPE_CHECKING:
    from emu.model import Model

THREADED: Final = frozenset({At, SelectVcpu})

# What another thread can do. The rest is the guest's own doing, or the harness's; of it, another
# vCPU of L1's can change L1's tables.
_MOVABLE: Final = frozenset(
    {
        Age,
        Allocate,
        CreateGmem,
        CreateMem,
        GetDirtyLog,
        IoEventFd,
        MemlockLimit,
        MemoryLimit,
        PoisonGmem,
        PoisonMem,
        Protect,
        PunchHole,
        ReleaseGmem,
        Run,
        SetMemslot,
        Truncate,
        Unmap,
        Userfault,
    }
)
# What a vCPU's own thread does, or its guest, and so in the order of the case.
_OWN: Final = frozenset({ForceAbort, ForceExit, Guest, GuestL2, MmioData, Run, Skip})
_SLOTS_LOCK: Final = (SetMemslot, GetDirtyLog, IoEventFd)  # who takes kvm->slots_lock


class Threads:
    """Plays a case from its first ``vcpu`` or ``at`` on; the first vCPU's thread is there."""

    __slots__ = ("_model", "_races", "_refusals", "_runs", "_vmm")

    def __init__(self, model: "Model", vmm: Vmm, done: Outcomes) -> None:
        self._model = model
        self._vmm = vmm
        self._races = vmm.kvm.races = Races(vmm.vcpu)
        self._runs = list(done.runs)
        self._refusals = list(done.refusals)

    def play(self, steps: Sequence[Step], start: int) -> Outcomes:
        """The steps from ``start`` on; what came of the whole case, in the order of its steps."""
        point: Point | None = None
        for index, step in enumerate(steps[start:], start):
            if isinstance(step, At):
                point = step.point
            elif isinstance(step, SelectVcpu):
                self._select(step.index)
            elif point is not None and self._is_moved(step, point):
                self._defer(point, index, step)
                point = None
            else:
                self._do_now(index, step)
                point = None
        self._catch_up(None)
        return Outcomes(
            tuple(sorted(self._runs, key=lambda run: run.step)),
            tuple(sorted(self._refusals, key=lambda refusal: refusal.step)),
            tuple(sorted(self._vmm.logs, key=lambda log: log.step)),
        )

    def _select(self, index: int) -> None:
        """The steps that follow are this vCPU's."""
        for vcpu in self._races.vcpus:
            if vcpu.index == index:
                break
        else:
            vcpu = self._model.add_vcpu(self._vmm.kvm, index)
            self._races.vcpus.append(vcpu)
        self._vmm.vcpu, self._vmm.guest = vcpu, vcpu.guest

    def _is_moved(self, step: Step, point: Point) -> bool:
        """KVM_RUN only where there is another vCPU whose path it can fall into."""
        if type(step) is L1Map:
            return point is Point.SWAP
        return type(step) in _MOVABLE and (type(step) is not Run or len(self._races.vcpus) > 1)

    def _defer(self, point: Point, index: int, step: Step) -> None:
        if isinstance(step, SetMemslot):
            self._vmm.bases[step.slot] = step.gpa  # for the accesses named after it
        elif isinstance(step, L1Map):
            step = replace(step, slot=None, address=effective_address(step, self._vmm.bases))
        vcpu = self._vmm.vcpu
        take = partial(self._do_deferred, vcpu, index, step)
        owner = vcpu.index if isinstance(step, Run) else None
        self._races.defer(Deferred(point, owner, take))

    def _do_now(self, index: int, step: Step) -> None:
        if type(step) in _OWN:
            self._catch_up(self._vmm.vcpu.index)
        self._do(self._vmm.vcpu, index, step)

    def _do_deferred(self, vcpu: Vcpu, index: int, step: Step) -> None:
        if isinstance(step, _SLOTS_LOCK) and self._races.waiting:
            self._races.synchronize(partial(self._do_moved, vcpu, index, step))
        else:
            self._do_moved(vcpu, index, step)

    def _do_moved(self, vcpu: Vcpu, index: int, step: Step) -> None:
        """Its turn has come, though more may wait behind it."""
        bases = self._vmm.bases.copy()
        self._do(vcpu, index, step)
        self._vmm.bases = bases

    def _do(self, vcpu: Vcpu, index: int, step: Step) -> None:
        if isinstance(step, Run):
            self._runs.append(self._kvm_run(vcpu, index, step.flags))
        elif errno := self._vmm.do(index, step):
            self._refusals.append(Refusal(index, -errno))

    def _kvm_run(self, vcpu: Vcpu, index: int, flags: int) -> RunOutcome:
        """One KVM_RUN, without what others did that took place in its midst."""
        others = [other for other in self._races.vcpus if other is not vcpu]
        if not others:
            return self._model.kvm_run(self._vmm.kernel, vcpu, index, flags)
        before, first = [_contents(other.run) for other in others], len(self._runs)
        self._races.inside.append(vcpu.index)
        outcome = self._model.kvm_run(self._vmm.kernel, vcpu, index, flags)
        self._races.inside.pop()
        inner = self._runs[first:]
        ran = {run.vcpu for run in inner}
        others_changed = any(
            _contents(other.run) != old and other.index not in ran
            for other, old in zip(others, before, strict=True)
        )
        if not inner and not others_changed:
            return outcome
        return msgspec.structs.replace(
            outcome,
            userfaults=outcome.userfaults - sum(run.userfaults for run in inner),
            others_changed=others_changed,
        )

    def _catch_up(self, vcpu: int | None) -> None:
        """KVM_RUNs that no other vCPU's path had room for take place at last."""
        for late in self._races.late(vcpu):
            late.take()


def _contents(run: KvmRun) -> tuple[int, ...]:
    return run.exit_reason, run.flags, run.u0, run.u1, run.u2, run.u3
