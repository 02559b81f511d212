"""A case on several kernels at once: one execution for all that cannot but do the same.

Kernels share nearly all of their code. So a case runs on one of them, the base, with a watch on
each function that another kernel changes. A kernel none of whose hunks did anything that the base
does not (see ``hunk``) has the base's outcomes; the others run for themselves, and so does a
kernel whose difference cannot be watched: a constant, say, or another order of its parents.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import getattr_static
from types import FunctionType, MethodDescriptorType
from typing import Final, NamedTuple

from emu.case import Case
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.search.hunk import Steps, Walk, same, walk

_FUNCTIONS: Final = (FunctionType, MethodDescriptorType)  # of source, and compiled
# What every class has of its own and no code looks at.
_NO_BEHAVIOUR: Final = frozenset(
    {"__annotations__", "__doc__", "__firstlineno__", "__module__", "__static_attributes__"}
    # Of a class whose parent is compiled.
    | {"__dict__", "__weakref__"}
)


class Hunk(NamedTuple):
    """A function that a kernel has changed. ``bit``: the kernel's. ``walk``: if there is one."""

    bit: int
    kernel: Kernel
    walk: Walk | None


@dataclass(slots=True)
class Apart:
    """A bit for each kernel that goes its own way in the present case."""

    kernels: int


class Together:
    """Kernels, and the machine that runs cases on all of them."""

    def __init__(self, model: Model, kernels: Mapping[str, Kernel]) -> None:
        self._model = model
        self._base = min(kernels, key=lambda name: _distance(kernels[name], kernels.values()))
        others = [each for each in kernels.items() if each[0] != self._base]
        self._others = [(1 << bit, *each) for bit, each in enumerate(others)]
        self._apart = Apart(0)
        self._never = 0
        hunks: dict[str, list[Hunk]] = {}
        for bit, _, kernel in self._others:
            changes = _changes(kernels[self._base], kernel)
            if changes is None:
                self._never |= bit
                continue
            for name, walked in changes.items():
                hunks.setdefault(name, []).append(Hunk(bit, kernel, walked))
        self._watched = _watched(kernels[self._base], hunks, self._apart)

    def run(self, case: Case) -> dict[Outcomes, list[str]]:
        """All outcomes that there are, and the names of the kernels that have them."""
        apart = self._apart
        apart.kernels = self._never
        together = [self._base]
        found = {self._model.run(case, self._watched): together}
        for bit, name, kernel in self._others:
            if apart.kernels & bit:
                found.setdefault(self._model.run(case, kernel), []).append(name)
            else:
                together.append(name)
        return found

    @property
    def executions(self) -> int:
        """How often the latest case was run."""
        return 1 + self._apart.kernels.bit_count()

    def each(self, case: Case) -> dict[str, Outcomes]:
        """The outcomes of each kernel."""
        return {name: outcomes for outcomes, names in self.run(case).items() for name in names}


def _distance(kernel: Kernel, others: Iterable[Kernel]) -> int:
    """In how many functions it differs from the others, all in all."""
    return sum(len(_own(kernel, other)) + len(_own(other, kernel)) for other in others)


def _own(kernel: Kernel, other: Kernel) -> list[str]:
    """What the classes define that the other has not among its own; a name once for each."""
    theirs = type(other).__mro__
    classes = (each for each in type(kernel).__mro__ if each not in theirs)
    return [name for each in classes for name in vars(each) if name not in _NO_BEHAVIOUR]


def _changes(base: Kernel, kernel: Kernel) -> dict[str, Walk | None] | None:
    """The functions of the base that the kernel has changed; None where that is not all."""
    if _state(base) or _state(kernel) or not _have_one_trunk(type(base), type(kernel)):
        return None
    ours, theirs = _own(base, kernel), _own(kernel, base)
    changes: dict[str, Walk | None] = {}
    for name in {*ours, *theirs}:
        if not (hasattr(base, name) and hasattr(kernel, name)):
            continue  # only the hunks of the one that has it can come to it
        changed, unchanged = getattr_static(kernel, name), getattr_static(base, name)
        if not (isinstance(changed, _FUNCTIONS) and isinstance(unchanged, _FUNCTIONS)):
            return None
        # Its super() is the base's function only if nothing stands between the two.
        is_next = name not in ours and theirs.count(name) == 1 and changed.__name__ == name
        changes[name] = None
        if is_next and isinstance(changed, FunctionType):
            changes[name] = walk(changed, frozenset(theirs))
    return changes


def _have_one_trunk(one: type, other: type) -> bool:
    """Whether all that the two have in common comes after all that they have not.

    Then ``super()`` leads to the same function in both wherever a class is in both.
    """
    common = [each for each in one.__mro__ if each in other.__mro__]
    return one.__mro__[-len(common) :] == other.__mro__[-len(common) :] == tuple(common)


def _state(kernel: Kernel) -> Mapping[str, object]:
    """The attributes of its own; compiled code has no room for any."""
    state: Mapping[str, object] = getattr(kernel, "__dict__", {})
    return state


def _watched(base: Kernel, hunks: Mapping[str, Sequence[Hunk]], apart: Apart) -> Kernel:
    """The base with a watch on each function that is changed elsewhere."""
    if not hunks:
        return base
    functions = {name: _watch(getattr(type(base), name), hunks[name], apart) for name in hunks}
    watched: Kernel = type(f"Watched{type(base).__name__}", (type(base),), functions)()
    return watched


def _watch(
    function: FunctionType, hunks: Sequence[Hunk], apart: Apart
) -> Callable[[Kernel], object]:
    """The function, with all hunks that change it walked beside."""
    entered = sum(hunk.bit for hunk in hunks if hunk.walk is None)
    beside = [(hunk.bit, hunk.kernel, hunk.walk) for hunk in hunks if hunk.walk is not None]

    def only_entered(self: Kernel, *given: object, **named: object) -> object:
        apart.kernels |= entered
        return function(self, *given, **named)

    def watched(self: Kernel, *given: object, **named: object) -> object:
        gone = apart.kernels | entered
        walking: list[tuple[int, Steps]] = []
        for bit, kernel, begin in beside:
            if not gone & bit:
                steps = begin(kernel, *given, **named)
                if next(steps, False):
                    walking.append((bit, steps))
                else:
                    gone |= bit
        apart.kernels = gone
        result = function(self, *given, **named)
        for bit, steps in walking:
            if not _ends_with(steps, result):
                apart.kernels |= bit
        return result

    return watched if beside else only_entered


def _ends_with(steps: Steps, result: object) -> bool:
    """Whether a hunk that is told what ``super()`` returned only returns that."""
    try:
        steps.send(result)
    except StopIteration as end:
        return same(end.value, result)
    return False  # it calls again
