"""One KVM_RUN as a clause of the contract sees it."""

from collections.abc import Iterator
from typing import Final

from emu.abi import Errno, ExitReason
from emu.case import Case, VmConfig
from emu.injection import At
from emu.outcome import Outcomes, RunOutcome
from emu.steps import Run, SetMemslot
from fuzz.oracle.course import Course
from fuzz.oracle.race import Race, World, race
from fuzz.oracle.reach import Target
from fuzz.oracle.scene import CHANGES, Scene

# The errnos with which api.rst lets MEMORY_FAULT be delivered.
DOCUMENTED: Final = (Errno.EFAULT, Errno.EHWPOISON)


class Timeline:
    """A case and its outcomes, with the scene at any step. Going forward costs least.

    ``elsewhere``: the same in the other worlds that a race may have led to. ``kinds``: of steps.
    """

    __slots__ = (
        "_course",
        "_next",
        "_race",
        "_refused",
        "_scene",
        "_world",
        "case",
        "elsewhere",
        "kinds",
        "outcomes",
    )

    def __init__(self, case: Case, outcomes: Outcomes, world: World = World.DONE) -> None:
        self.case = case
        self.outcomes = outcomes
        self.elsewhere: tuple[Timeline, ...] = ()
        self._scene = Scene(case.vm.page_size)
        self._next = 0
        self._refused = {refusal.step for refusal in outcomes.refusals}
        self._course: Course | None = None
        self._world = world
        self.kinds: frozenset[type] = frozenset(map(type, case.steps))
        self._race: Race | None = race(case) if At in self.kinds else None
        if self._race is not None and world is World.DONE:
            self.elsewhere = tuple(Timeline(case, outcomes, each) for each in self._race.worlds)

    def at(self, step: int) -> Scene:
        """The scene before the step at this index. It changes when another is asked for."""
        if step < self._next:
            self._scene, self._next = Scene(self.case.vm.page_size), 0
        if step > self._next:
            refused, apply = self._refused, self._scene.apply
            moved = -1 if self._race is None else self._race.moved
            for index, each in enumerate(self.case.steps[self._next : step], self._next):
                if type(each) not in CHANGES:
                    continue
                if index == moved:
                    self._apply_moved(index, refused=index in refused)
                else:
                    apply(index, each, refused=index in refused)
            self._next = step
        return self._scene

    def _apply_moved(self, index: int, *, refused: bool) -> None:
        step, scene = self.case.steps[index], self._scene
        if self._world is World.DONE:
            scene.apply(index, step, refused=refused)
        elif isinstance(step, SetMemslot) and self._world is World.GONE:
            scene.slots.pop(step.slot, None)

    @property
    def course(self) -> Course:
        """What the guest's program did in each KVM_RUN."""
        if self._course is None:
            self._course = Course(self.case, self.outcomes)
        return self._course

    @property
    def has_race(self) -> bool:
        """Whether the case moves a step to a point of the fault path."""
        return self._race is not None

    def is_raced(self, step: int) -> bool:
        """Whether a step was moved before this one, or this one itself is."""
        return self._race is not None and step >= self._race.moved

    def is_certain(self, step: int) -> bool:
        """Whether the worlds are all that the VM may be at this KVM_RUN."""
        return self._race is None or (step < self._race.certain_until and step != self._race.moved)


class View:
    """One KVM_RUN and what is known around it. What costs something is found out when asked for."""

    __slots__ = ("_scene", "_target", "number", "run", "timeline")

    def __init__(self, timeline: Timeline, number: int) -> None:
        self.timeline = timeline
        self.number = number
        self.run: RunOutcome = timeline.outcomes.runs[number]
        self._scene: Scene | None = None
        self._target: Target | None = None

    @property
    def elsewhere(self) -> "Iterator[View]":
        """The same KVM_RUN in the other worlds that a race may have led to."""
        return (View(other, self.number) for other in self.timeline.elsewhere)

    @property
    def is_certain(self) -> bool:
        """Whether the scene, here or elsewhere, is what the VM was."""
        return self.timeline.is_certain(self.run.step)

    @property
    def is_raced(self) -> bool:
        """Whether a race comes before this KVM_RUN, or moves it."""
        return self.timeline.is_raced(self.run.step)

    @property
    def flags(self) -> int:
        """What was special about the call: ``RunFlag`` bits."""
        step = self.timeline.case.steps[self.run.step]
        return step.flags if isinstance(step, Run) else 0

    @property
    def vm(self) -> VmConfig:
        """How the VM was made."""
        return self.timeline.case.vm

    @property
    def scene(self) -> Scene:
        """The VM at the moment of the call."""
        if self._scene is None:
            self._scene = self.timeline.at(self.run.step)
        return self._scene

    @property
    def target(self) -> Target | None:
        """The access that the guest was at when the call returned, if it was at one."""
        if self._target is None:
            self._target = self.scene.target(self.run.access)
        return self._target

    @property
    def next(self) -> RunOutcome | None:
        """The same vCPU's next KVM_RUN."""
        later = self.timeline.outcomes.runs[self.number + 1 :]
        return next((run for run in later if run.vcpu == self.run.vcpu), None)

    @property
    def was_emulated(self) -> bool:
        """Whether this call, or an earlier one, began by completing the access that the guest is
        at: the VMM emulated it, and what fails is what comes after.
        """
        access, is_mmio = self.run.access, False
        for run in reversed(self.timeline.outcomes.runs[: self.number + 1]):
            if run.vcpu != self.run.vcpu:
                continue
            if run.access != access:
                return False
            if is_mmio:
                return True
            is_mmio = run.before == ExitReason.MMIO
        return False

    @property
    def is_of_an_earlier_fault(self) -> bool:
        """Whether the report names a page of an access that the guest went past in the same call,
        and none of the present one's, not even by L2's own address.
        """
        target = self.target
        page = self.run.union[1] & -self.vm.page_size
        if target is not None and target.is_named_by(page):
            return False
        past = (self.scene.target(step) for step in self.timeline.course.past(self.number))
        return any(target is not None and target.known and page in target.pages for target in past)


def views(case: Case, outcomes: Outcomes) -> Iterator[View]:
    """Every KVM_RUN of a case, in order; each is good until the next is asked for."""
    timeline = Timeline(case, outcomes)
    return (View(timeline, number) for number in range(len(outcomes.runs)))
