"""One KVM_RUN as a clause of the contract sees it."""

from collections.abc import Iterator
from typing import Final

from emu.abi import PAGE_MASK, Errno
from emu.case import Case, Run, VmConfig
from emu.outcome import Outcomes
from fuzz.scene import CHANGES, Scene, Target

# The errnos with which api.rst lets MEMORY_FAULT be delivered.
DOCUMENTED: Final = (Errno.EFAULT, Errno.EHWPOISON)


class Timeline:
    """A case and its outcomes, with the scene at any step. Going forward costs least."""

    __slots__ = ("_next", "_scene", "case", "outcomes")

    def __init__(self, case: Case, outcomes: Outcomes) -> None:
        self.case = case
        self.outcomes = outcomes
        self._scene = Scene()
        self._next = 0

    def at(self, step: int) -> Scene:
        """The scene before the step at this index. It changes when another is asked for."""
        if step < self._next:
            self._scene, self._next = Scene(), 0
        if step > self._next:
            refused = {refusal.step for refusal in self.outcomes.refusals}
            steps, scene = self.case.steps, self._scene
            for index in range(self._next, step):
                if type(steps[index]) in CHANGES:
                    scene.apply(index, steps[index], refused=index in refused)
            self._next = step
        return self._scene


class View:
    """One KVM_RUN and what is known around it. What costs something is found out when asked for."""

    __slots__ = ("_timeline", "run")

    def __init__(self, timeline: Timeline, number: int) -> None:
        self._timeline = timeline
        self.run = timeline.outcomes.runs[number]

    @property
    def flags(self) -> int:
        """What was special about the call: ``RunFlag`` bits."""
        step = self._timeline.case.steps[self.run.step]
        return step.flags if isinstance(step, Run) else 0

    @property
    def vm(self) -> VmConfig:
        """How the VM was made."""
        return self._timeline.case.vm

    @property
    def scene(self) -> Scene:
        """The VM at the moment of the call."""
        return self._timeline.at(self.run.step)

    @property
    def target(self) -> Target | None:
        """The access that the guest was at when the call returned, if it was at one."""
        return self.scene.target(self.run.access)

    @property
    def is_of_an_earlier_fault(self) -> bool:
        """Whether the report names a page of an access that ended in a guest exception, in the same
        call, and none of the present one's.
        """
        page = self.run.union[1] & PAGE_MASK
        target = self.target
        if target is not None and page in target.pages:
            return False
        earlier = (self.scene.target(step) for step, _ in self.run.exceptions)
        return any(target is not None and page in target.pages for target in earlier)


def views(case: Case, outcomes: Outcomes) -> Iterator[View]:
    """Every KVM_RUN of a case, in order; each is good until the next is asked for."""
    timeline = Timeline(case, outcomes)
    return (View(timeline, number) for number in range(len(outcomes.runs)))
