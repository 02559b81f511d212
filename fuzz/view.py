"""One KVM_RUN as a clause of the contract sees it."""

from collections.abc import Iterator
from functools import cached_property
from typing import Final

from emu.abi import PAGE_MASK, Errno
from emu.case import Case, Run
from emu.outcome import Outcomes
from fuzz.scene import Scene, Target

# The errnos with which api.rst lets MEMORY_FAULT be delivered.
DOCUMENTED: Final = (Errno.EFAULT, Errno.EHWPOISON)


class View:
    """One KVM_RUN and what is known around it. What costs something is found out when asked for."""

    def __init__(self, case: Case, outcomes: Outcomes, number: int) -> None:
        self._case = case
        self._outcomes = outcomes
        self.run = outcomes.runs[number]

    @property
    def flags(self) -> int:
        """What was special about the call: ``RunFlag`` bits."""
        step = self._case.steps[self.run.step]
        return step.flags if isinstance(step, Run) else 0

    @cached_property
    def scene(self) -> Scene:
        """The VM at the moment of the call."""
        refused = {refusal.step for refusal in self._outcomes.refusals}
        scene = Scene()
        for index, step in enumerate(self._case.steps[: self.run.step]):
            scene.apply(index, step, refused=index in refused)
        return scene

    @cached_property
    def target(self) -> Target | None:
        """The access that the guest was at when the call returned, if it was at one."""
        return self.scene.target(self.run.access)

    @property
    def is_of_an_earlier_fault(self) -> bool:
        """Whether the report names a page of an access that ended in a guest exception, in the same
        call, and none of the present one's.
        """
        page = self.run.union[1] & PAGE_MASK
        if self.target is not None and page in self.target.pages:
            return False
        earlier = (self.scene.target(step) for step, _ in self.run.exceptions)
        return any(target is not None and page in target.pages for target in earlier)


def views(case: Case, outcomes: Outcomes) -> Iterator[View]:
    """Every KVM_RUN of a case, in order."""
    return (View(case, outcomes, number) for number in range(len(outcomes.runs)))
