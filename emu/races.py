"""What other threads of the VMM do while a vCPU is in the fault path, and who waits for whom.

A case's ``at`` names a point of the path; the step after it is kept here until a vCPU gets there.
Nothing of this exists in a VM whose case names no point.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from emu.injection import Point

if TYPE_CHECKING:
    from emu.kvm.state import Vcpu

_ENTRY: Final = Point.ENTRY  # the one point outside the path's SRCU read side


class Deferred(NamedTuple):
    """A step that waits for a point; ``vcpu``: whose KVM_RUN it is, None for any other step."""

    point: Point
    vcpu: int | None
    take: Callable[[], None]


class Races:
    """The steps that wait, and the read side of kvm->srcu that memory slots wait for.

    ``vcpus``: the VM's. ``inside``: the numbers of those in KVM_RUN at this moment, outermost
    first.
    """

    __slots__ = ("_deferred", "_readers", "_waiting", "inside", "vcpus")

    def __init__(self, vcpu: "Vcpu") -> None:
        self.vcpus = [vcpu]
        self.inside: list[int] = []
        self._deferred: list[Deferred] = []
        self._readers = 0
        self._waiting: list[Callable[[], None]] = []

    # STEPS

    def defer(self, deferred: Deferred) -> None:
        """Keep a step until a vCPU reaches its point."""
        self._deferred.append(deferred)

    def reach(self, point: Point) -> None:
        """A vCPU is at ``point``: what waits for that takes place now, in order."""
        if not self._deferred or not (due := self._due(point)):
            return
        self._deferred = [each for each in self._deferred if each not in due]
        reading = point is not _ENTRY
        self._readers += reading
        for each in due:
            each.take()
        self._readers -= reading

    def _due(self, point: Point) -> list[Deferred]:
        """A vCPU's KVM_RUNs are one thread's: not at once, and in their order."""
        due, busy = [], set[int | None](self.inside)
        for each in self._deferred:
            if each.point is point and each.vcpu not in busy:
                due.append(each)
            elif each.vcpu is not None:
                busy.add(each.vcpu)
        return due

    def late(self, vcpu: int | None) -> list[Deferred]:
        """The KVM_RUNs that never were at their point, of this vCPU or of all; kept no longer."""
        if not self._deferred:
            return []
        late = [
            each
            for each in self._deferred
            if each.vcpu is not None and (vcpu is None or each.vcpu == vcpu)
        ]
        self._deferred = [each for each in self._deferred if each not in late]
        return late

    # SRCU

    @property
    def reading(self) -> bool:
        """Whether what takes place now falls into a vCPU's fault path."""
        return self._readers > 0

    @property
    def waiting(self) -> bool:
        """Whether a change of the memory slots, and with it slots_lock, waits for a vCPU."""
        return bool(self._waiting)

    def synchronize(self, then: Callable[[], None]) -> None:
        """Do ``then`` when no vCPU is in the fault path any more, after what waits already."""
        if self._readers:
            self._waiting.append(then)
        else:
            then()

    def leave(self) -> None:
        """A vCPU has left the fault path."""
        while self._waiting and not self._readers:
            self._waiting.pop(0)()
