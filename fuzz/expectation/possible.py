"""What may be true of the VM where a race decides: one set of premises for each order of things.

A step that waits for a point of the fault path takes place in some later KVM_RUN, or never. After
each KVM_RUN the VM is one in which it has, or one in which it has not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, NamedTuple

from emu.case import VmConfig
from emu.steps import SetMemslot, Step
from fuzz.expectation.premises import Premises

MOST: Final = 8  # worlds; with more of them nearly anything may come of an access


class Event(NamedTuple):
    """A step, and whether it was refused."""

    step: Step
    refused: bool


@dataclass(slots=True)
class _World:
    """One order of things: what took place, and what still waits for its point."""

    premises: Premises
    done: list[Event] = field(default_factory=list)
    waiting: list[Event] = field(default_factory=list)

    def apply(self, event: Event) -> None:
        self.done.append(event)
        self.premises.apply(event.step, refused=event.refused)

    def followed_by(self, event: Event) -> "_World":
        """The world in which this comes next, and nothing waits."""
        other = _World(Premises(self.premises.vm))
        for each in (*self.done, event):
            other.apply(each)
        return other


class Possible:
    """All worlds that the case so far allows. Feed it every step in order.

    ``unsettled``: something happened whose time or effect the case does not tell.
    """

    __slots__ = ("_worlds", "unsettled")

    def __init__(self, vm: VmConfig) -> None:
        self._worlds = [_World(Premises(vm))]
        self.unsettled = False

    @property
    def premises(self) -> list[Premises]:
        """What may be true now, or for a moment while a slot is changed."""
        changing = chain.from_iterable(map(_between, self._worlds))
        return [*(world.premises for world in self._worlds), *changing]

    def apply(self, step: Step, *, refused: bool) -> None:
        """A step that took place now."""
        for world in self._worlds:
            world.apply(Event(step, refused))
        self.unsettled |= any(world.premises.unsettled for world in self._worlds)

    def defer(self, step: Step, *, refused: bool) -> None:
        """A step that waits for its point; ``refused``: it was, when it took place."""
        for world in self._worlds:
            world.waiting.append(Event(step, refused))

    def pass_points(self) -> None:
        """A vCPU runs: each step that waits may take place, in any order of their points."""
        fresh = self._worlds
        while fresh:
            fresh = list(chain.from_iterable(map(_successors, fresh)))
            self._worlds = self._worlds + fresh
            if len(self._worlds) > MOST:
                self.unsettled = True
                return
        self.unsettled |= any(world.premises.unsettled for world in self._worlds)


def _successors(world: _World) -> Iterator[_World]:
    """The worlds in which one of the waiting steps comes next."""
    for number, event in enumerate(world.waiting):
        other = world.followed_by(event)
        other.waiting = world.waiting[:number] + world.waiting[number + 1 :]
        yield other


def _between(world: _World) -> Iterator[Premises]:
    """A slot is not there while it is deleted or moved, even if that is refused in the end."""
    for event in world.waiting:
        if isinstance(event.step, SetMemslot) and event.step.slot in world.premises.regions:
            gone = replace(event.step, size=0)
            yield world.followed_by(Event(gone, refused=False)).premises
