"""The cases of a scope, in a fixed order, each once: what symmetry makes superfluous is left out.

A sequence of letters is left out where a shorter one, or one of its length that comes before it in
the order of the letters, shows the same; that one is in the scope as well. So the first of all that
show the same always stays. The rules:

1. Commuting letters are written in one order: two neighbours of which neither changes what the
   other reads or changes are not swapped, and neither is what can come to be neighbours so.
2. Twice is once: a letter that settles is not written again before something that it reads or
   changes was changed. Neither is one that the set-up has settled already.
3. Nothing there: no letter that is refused because its file or its slot is not there (or is).
4. Nothing behind: no letter that can be moved past the last KVM_RUN, where nobody sees it.

The sequences are the paths of a graph in which those with the same continuations meet, so that they
are counted without being written out, and any of them can be found by its number.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from emu import text
from emu.case import Case, VmConfig
from emu.steps import (
    Age,
    L1Map,
    MemoryLimit,
    Protect,
    Protection,
    PunchHole,
    SetMemslot,
    Skip,
    Step,
)
from fuzz.exhaustive.footprint import Footprint, Presence, footprint
from fuzz.exhaustive.scope import Layout

_SETTLED_BY_A_SETUP: Final = (Age, PunchHole, Skip)


class Node(NamedTuple):
    """What can follow a sequence: ``ends``, if it is a case itself; then the longer ones.

    ``size`` counts all of them.
    """

    ends: bool
    size: int
    branches: "tuple[tuple[Step, Node], ...]"


_LEAF: Final = Node(ends=True, size=1, branches=())
_DEAD: Final = Node(ends=False, size=0, branches=())


class _State(NamedTuple):
    """What the rules know of a sequence, in bits: ``there`` of Presence, the others for letters.

    ``early``: that would belong further ahead (rule 1). ``settled``: that would change nothing (2).
    ``last``: that can be moved to the end (4).
    """

    early: int
    settled: int
    there: int
    last: int


class _Move(NamedTuple):
    """A letter's footprint in bits: the letters that do not commute with it or that it disturbs,
    whether it settles, and the rest of Presence.
    """

    depends: int
    disturbs: int
    settles: bool
    needs: int
    excludes: int
    takes: int
    brings: int


@dataclass(frozen=True, slots=True)
class Alphabet:
    """A layout's letters, with what the rules need to know of them. ``observers``: those with an
    outcome.
    """

    vm: VmConfig
    setup: tuple[Step, ...]
    letters: tuple[Step, ...]
    moves: tuple[_Move, ...]
    observers: tuple[int, ...]
    silent: int

    @property
    def all(self) -> range:
        """The numbers of the letters."""
        return range(len(self.letters))

    def start(self) -> _State:
        """Behind the set-up."""
        settled = _mask(self._is_settled(letter) for letter in self.letters)
        there = Presence(0)
        for step in self.setup:
            there |= footprint(step).brings
        return _State(0, settled, there.value, 0)

    def after(self, state: _State, letter: int) -> _State | None:
        """With one letter more; None if one of the rules 1 to 3 leaves that out."""
        early, settled, there, last = state
        bit, move = 1 << letter, self.moves[letter]
        if (early | settled) & bit:
            return None
        if move.needs & ~there or move.excludes & there:
            return None
        return _State(
            early=(early | bit - 1) & ~move.depends,
            settled=settled & ~move.disturbs | (bit if move.settles else 0),
            there=there & ~move.takes | move.brings,
            last=last & ~move.depends | bit,
        )

    def ends(self, state: _State) -> bool:
        """Whether everything that can be the last letter has an outcome (rule 4)."""
        return bool(state.last) and not state.last & self.silent

    def _is_settled(self, letter: Step) -> bool:
        match letter:
            case MemoryLimit(on=on):
                return not on
            case Protect(protection=protection):
                return protection is Protection.READ_WRITE
            case SetMemslot() | L1Map():
                return letter in self.setup
            case _:
                return isinstance(letter, _SETTLED_BY_A_SETUP)


def alphabet(layout: Layout) -> Alphabet:
    """Reads a layout's lines."""
    base = text.load(layout.setup)
    letters = tuple(text.load(line).steps[0] for line in layout.letters)
    prints = tuple(map(footprint, letters))
    return Alphabet(
        base.vm,
        base.steps,
        letters,
        tuple(_move(number, prints) for number in range(len(prints))),
        tuple(number for number, each in enumerate(prints) if each.observes),
        _mask(not each.observes for each in prints),
    )


def _move(number: int, prints: tuple[Footprint, ...]) -> _Move:
    own = prints[number]
    return _Move(
        depends=_mask(at == number or not own.commutes(each) for at, each in enumerate(prints)),
        disturbs=_mask(own.disturbs(each) for each in prints),
        settles=own.settles,
        needs=own.needs.value,
        excludes=own.excludes.value,
        takes=own.takes.value,
        brings=own.brings.value,
    )


def tree(letters: Alphabet, steps: int) -> Node:
    """All sequences of one letter and up to ``steps``."""
    known: dict[tuple[_State, int], Node] = {}

    def node(state: _State, left: int) -> Node:
        if left == 0:
            return _LEAF if letters.ends(state) else _DEAD
        found = known.get((state, left))
        if found is None:
            found = known[state, left] = made(state, left)
        return found

    def made(state: _State, left: int) -> Node:
        # The last letter always has an outcome.
        followers = (
            (letters.letters[number], node(after, left - 1))
            for number in (letters.observers if left == 1 else letters.all)
            if (after := letters.after(state, number)) is not None
        )
        branches = tuple((step, each) for step, each in followers if each.size)
        ends = letters.ends(state)
        return Node(ends, ends + sum(each.size for _, each in branches), branches)

    return node(letters.start(), steps)


class Enumeration:
    """The cases of one layout, numbered from 0: a sequence comes before its longer ones."""

    def __init__(self, layout: Layout, steps: int) -> None:
        self._alphabet = alphabet(layout)
        self._root = tree(self._alphabet, steps)

    @property
    def size(self) -> int:
        """How many cases there are."""
        return self._root.size

    def cases(self, first: int, end: int) -> Iterator[Case]:
        """Those with the numbers from ``first`` to before ``end``."""
        vm, setup = self._alphabet.vm, self._alphabet.setup
        for steps in islice(_sequences(self._root, first), end - first):
            yield Case(vm, setup + steps)


def _sequences(
    node: Node, skipped: int, steps: tuple[Step, ...] = ()
) -> Iterator[tuple[Step, ...]]:
    """The sequences that begin with ``steps``, without the first ``skipped`` of them."""
    if node.ends:
        if not skipped:
            yield steps
        skipped = max(skipped - 1, 0)
    for step, each in node.branches:
        if skipped < each.size:
            yield from _sequences(each, skipped, (*steps, step))
        skipped = max(skipped - each.size, 0)


def _mask(bits: Iterable[bool]) -> int:
    return sum(1 << number for number, bit in enumerate(bits) if bit)
