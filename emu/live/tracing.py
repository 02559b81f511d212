"""Cases played on boxes whose kernel tells what of it they reached."""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from emu import wire
from emu.case import Case
from emu.live import protocol
from emu.live.console import ConsoleFinding
from emu.live.fleet import Fleet, Lost
from emu.live.protocol import Failed, Kind, ProtocolError
from emu.live.unsupported import Unsupported, objection

_WORD: Final = struct.Struct("<I")
_CUT: Final = 1 << 31


class Reached(NamedTuple):
    """Lower halves of the addresses after KCOV's calls.

    ``cut``: there were more than there was room for.
    """

    pcs: frozenset[int]
    cut: bool


class Traced(NamedTuple):
    """A case by its place among those asked, what it reached or why it reached nothing, and what
    the kernel complained of at about that time.
    """

    number: int
    result: Reached | Unsupported | Lost
    complaints: tuple[ConsoleFinding, ...] = ()


def traced(kind: int, body: bytes) -> Reached | Unsupported | Lost:
    """What the answer to a traced case says: outcomes, PCs, and the count of these."""
    if kind != Kind.REACHED:
        told = protocol.answer(kind, body)
        if isinstance(told, Failed):
            return Lost(str(told))
        if isinstance(told, Unsupported):
            return told
        raise ProtocolError("the executor does not tell what is reached")
    if len(body) < _WORD.size:
        raise ProtocolError("an answer to a traced case without a count")
    (word,) = _WORD.unpack_from(body, len(body) - _WORD.size)
    start = len(body) - _WORD.size * ((word & ~_CUT) + 1)
    if start < 0:
        raise ProtocolError(f"{word & ~_CUT} places reached do not fit into {len(body)} bytes")
    protocol.answer(Kind.OUTCOMES, body[:start])  # it is one, or there is a ProtocolError
    pcs = (pc for (pc,) in _WORD.iter_unpack(body[start : -_WORD.size]))
    return Reached(frozenset(pcs), bool(word & _CUT))


def trace(fleet: Fleet, cases: Iterable[Case]) -> Iterator[Traced]:
    """What each reached, as the answers come."""
    numbers: list[int] = []
    frames: list[bytes] = []
    for number, case in enumerate(cases):
        reason = objection(case, fleet.host)
        if reason is not None:
            yield Traced(number, reason)
            continue
        frames.append(protocol.unframed(Kind.TRACED, len(numbers), wire.encode(case)))
        numbers.append(number)
    for answer in fleet.pool.run(frames):
        if answer.body is None:
            yield Traced(numbers[answer.number], Lost(answer.lost), answer.complaints)
            continue
        kind, number, body = protocol.opened(answer.body)
        if number != answer.number:
            raise ProtocolError(f"an answer to {number}, expected one to {answer.number}")
        yield Traced(numbers[number], traced(kind, body), answer.complaints)
