"""The model and a live machine side by side: where they differ, and whether it is so each time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from emu import text
from emu.case import Case
from emu.live.console import ConsoleFinding
from emu.live.fleet import Lost, Played
from emu.live.unsupported import Unsupported
from emu.outcome import Outcomes
from fuzz.mutation.shrink import shrink, sort_key
from triage.conform_divergence import Divergence, Kind, divergence, kind
from triage.conform_known import explanation
from triage.conform_report import Explained, Undetermined, Unexplained
from triage.replay import lines_of, spell

TIMES: Final = 3  # that a case with a difference is played
SHRINK_BUDGET: Final = 250  # cases played for one kind of difference: some seconds
SHRUNK_KINDS: Final = 16  # the others are shown with the smallest case that there was

Expect = Callable[[Case], Outcomes]
Heed = Callable[[int], None]


class Pair(NamedTuple):
    """A case on which the machines differ."""

    case: Case
    model: Outcomes
    live: Outcomes
    divergence: Divergence

    @property
    def kind(self) -> Kind:
        """The class of the difference."""
        return kind(self.case, self.divergence)


@dataclass(slots=True)
class Tally:
    """What came of cases so far."""

    cases: int = 0
    same: int = 0
    pairs: list[Pair] = field(default_factory=list)
    lost: list[tuple[Case, str]] = field(default_factory=list)
    complaints: list[tuple[Case, ConsoleFinding]] = field(default_factory=list)
    unsupported: Counter[str] = field(default_factory=Counter)


class Player(Protocol):
    """What plays cases; see ``emu.live.fleet.Fleet``."""

    def play(self, cases: Iterable[Case]) -> Iterator[Played]:
        """What came of each, in any order."""

    def one(self, case: Case) -> Played:
        """What came of one."""


class Conformance:
    """Plays cases on both machines. ``expect`` is the model's outcome of a case."""

    def __init__(self, fleet: Player, expect: Expect) -> None:
        self.tally: Final = Tally()
        self._fleet = fleet
        self._expect = expect

    def compare(self, cases: Iterable[Case], heed: Heed) -> None:
        """Play all; ``heed`` is told how many were played."""
        expected: dict[int, Outcomes] = {}
        for played in self._fleet.play(self._expected(cases, expected)):
            self._note(played, expected.pop(played.number))
            heed(self.tally.cases)

    def settle(self) -> list[Undetermined]:
        """Play again what differs, and take out the cases that do not come to the same."""
        pairs = self.tally.pairs
        again: list[list[Outcomes]] = [[pair.live] for pair in pairs]
        for played in self._fleet.play(pair.case for pair in pairs for _ in range(TIMES - 1)):
            self._complained(played)
            match played.result:
                case Outcomes() as live:
                    again[played.number // (TIMES - 1)].append(live)
                case Lost(reason) | Unsupported(reason):
                    self.tally.lost.append((played.case, reason))
        told = list(zip(pairs, again, strict=True))
        self.tally.pairs = [pair for pair, seen in told if seen == [pair.live] * TIMES]
        return [_undetermined(pair, seen) for pair, seen in told if seen != [pair.live] * TIMES]

    def explained(self) -> list[Explained]:
        """The differences of a known cause, by cause."""
        found: dict[str, list[Pair]] = {}
        whys = {}
        for pair in self.tally.pairs:
            if known := explanation(pair.case, pair.divergence):
                found.setdefault(known.name, []).append(pair)
                whys[known.name] = known.why
        return [
            Explained(name, whys[name], len(pairs), text.dump(_smallest(pairs).case))
            for name, pairs in found.items()
        ]

    def unexplained(self, heed: Heed) -> list[Unexplained]:
        """The other differences by kind, each with its smallest case, the frequent ones first."""
        found: dict[Kind, list[Pair]] = {}
        for pair in self.tally.pairs:
            if explanation(pair.case, pair.divergence) is None:
                found.setdefault(pair.kind, []).append(pair)
        ranked = sorted(found.values(), key=len, reverse=True)
        told: dict[str, Unexplained] = {}
        for number, pairs in enumerate(ranked):
            smallest = _smallest(pairs)
            if number < SHRUNK_KINDS:
                heed(number)
                smallest = self._shrunk(smallest)
            _add(told, smallest, len(pairs))
        return list(told.values())

    def _expected(self, cases: Iterable[Case], into: dict[int, Outcomes]) -> Iterator[Case]:
        for number, case in enumerate(cases):
            into[number] = self._expect(case)
            yield case

    def _note(self, played: Played, expected: Outcomes) -> None:
        tally, case = self.tally, played.case
        tally.cases += 1
        self._complained(played)
        match played.result:
            case Unsupported(reason):
                tally.unsupported[reason] += 1
            case Lost(reason):
                tally.lost.append((case, reason))
            case Outcomes() as live:
                found = divergence(case, expected, live)
                if found is None:
                    tally.same += 1
                else:
                    tally.pairs.append(Pair(case, expected, live, found))

    def _complained(self, played: Played) -> None:
        self.tally.complaints += [(played.case, each) for each in played.complaints]

    def _shrunk(self, pair: Pair) -> Pair:
        """A smaller case with a difference of the same words; ``pair`` where it is not for sure."""
        wanted = pair.kind
        case = shrink(pair.case, lambda each: self._shows(each, wanted), SHRINK_BUDGET)
        pairs = [self._pair(case) for _ in range(TIMES)]
        first = pairs[0]
        return first if first is not None and pairs == [first] * TIMES else pair

    def _shows(self, case: Case, wanted: Kind) -> bool:
        pair = self._pair(case)
        if pair is None or explanation(case, pair.divergence) is not None:
            return False
        # At a plainer access it is the same difference still.
        return pair.kind[1:] == wanted[1:] and pair.kind.where.split()[0] == wanted.where.split()[0]

    def _pair(self, case: Case) -> Pair | None:
        played = self._fleet.one(case)
        self._complained(played)
        if not isinstance(played.result, Outcomes):
            return None
        expected = self._expect(case)
        found = divergence(case, expected, played.result)
        return None if found is None else Pair(case, expected, played.result, found)


def spelled(case: Case, outcomes: Outcomes) -> tuple[str, ...]:
    """The outcomes as a corpus file has them."""
    return tuple(spell(line) for line in lines_of(case, outcomes))


def _smallest(pairs: Iterable[Pair]) -> Pair:
    return min(pairs, key=lambda pair: sort_key(pair.case))


def _add(told: dict[str, Unexplained], pair: Pair, count: int) -> None:
    """Kinds that come down to the same case are one."""
    case, kind_ = text.dump(pair.case), pair.kind
    if case in told:
        count += told[case].count
    lines = (spelled(pair.case, pair.model), spelled(pair.case, pair.live))
    told[case] = Unexplained(*kind_, count, case, *lines)


def _undetermined(pair: Pair, seen: Iterable[Outcomes]) -> Undetermined:
    variants = tuple(dict.fromkeys(spelled(pair.case, each) for each in seen))
    return Undetermined(text.dump(pair.case), spelled(pair.case, pair.model), variants)
