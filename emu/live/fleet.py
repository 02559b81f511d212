"""Cases played on several boxes at once: what each came to, in the order in which they end."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import Final, NamedTuple

from emu import wire
from emu.case import Case
from emu.live import probes, protocol
from emu.live.console import ConsoleFinding
from emu.live.pool import Answer, Pool
from emu.live.protocol import Failed, Kind, ProtocolError
from emu.live.trouble import BoxError
from emu.live.unsupported import Host, Unsupported, objection
from emu.outcome import Outcomes

LIMIT: Final = 75.0  # seconds for a case; the executor's own limit is shorter
NESTED_LIMIT: Final = 255.0


class Lost(NamedTuple):
    """A case without an outcome: the machine died, was late, or gave it up."""

    reason: str


Result = Outcomes | Unsupported | Lost
_UNANSWERED: Final = Lost("not answered")


class Played(NamedTuple):
    """A case, what came of it, and what the kernel complained of at about that time."""

    number: int
    case: Case
    result: Result
    complaints: tuple[ConsoleFinding, ...] = ()

    def told(self, answer: Answer) -> "Played":
        """With the box's answer."""
        return Played(self.number, self.case, _result(self.case, answer), answer.complaints)


class Fleet:
    """Boxes of one image, and what their host can do."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.host: Host = protocol.greeting(pool.saved.hello)
        if self.host.kvm:
            pages = self.host.page_size
            inert = probes.inert(self._probe, pages, pool.saved.lacking)
            lax = probes.lax(self._probe, pages)
            self.host = replace(self.host, inert=inert, lax=lax)

    @property
    def pool(self) -> Pool:
        """Its boxes, for whoever has other questions."""
        return self._pool

    @property
    def restarts(self) -> int:
        """How often a box had to start anew."""
        return self._pool.restarts

    def play(self, cases: Iterable[Case]) -> Generator[Played, None, None]:
        """What came of each; its number is its place among ``cases``, which are taken as needed.

        Whoever ends it early leaves cases behind: see ``Pool.run``.
        """
        refused: deque[Played] = deque()
        asked: dict[int, Played] = {}
        run = self._pool.run(self._frames(cases, refused, asked))
        try:
            for answer in run:
                while refused:
                    yield refused.popleft()
                yield asked.pop(answer.number).told(answer)
            yield from refused
        finally:
            run.close()

    def one(self, case: Case) -> Played:
        """What came of one case, while no others are under way."""
        (played,) = self.play([case])
        return played

    def _frames(
        self, cases: Iterable[Case], refused: deque[Played], asked: dict[int, Played]
    ) -> Iterator[bytes]:
        """A frame for each case that is not refused here."""
        numbers = count()
        for place, case in enumerate(cases):
            reason = objection(case, self.host)
            if reason is not None:
                refused.append(Played(place, case, reason))
                continue
            number = next(numbers)
            asked[number] = Played(place, case, _UNANSWERED)
            yield protocol.unframed(Kind.CASE, number, wire.encode(case))

    def _probe(self, case: Case) -> Outcomes:
        """What came of a case of ours, which any machine can play."""
        (answer,) = self._pool.run([protocol.unframed(Kind.CASE, 0, wire.encode(case))])
        result = _result(case, answer)
        if not isinstance(result, Outcomes):
            raise BoxError(f"the executor cannot play at all: {result}")
        return result


def _result(case: Case, answer: Answer) -> Result:
    if answer.body is None:
        return Lost(answer.lost)
    kind, number, body = protocol.opened(answer.body)
    if number != answer.number:
        raise ProtocolError(f"an answer to {number}, expected one to {answer.number}")
    told = protocol.answer(kind, body)
    if isinstance(told, Failed):
        return Lost(str(told))
    if isinstance(told, Unsupported) and told.step == len(case.steps):
        return Unsupported(told.reason, None)
    return told
