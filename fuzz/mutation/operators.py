"""The operators of the mutator: each changes a list of records a little, and says if it did.

Records are decoded only where they are changed. New ones come out of pools of ready-made ones,
which cost a tenth of making them. Every choice comes from the ``Random`` of the ``Source``.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Generic, TypeVar

from emu.injection import Fail, ForceAbort, ForceExit
from emu.steps import Guest, Run, SetMemslot, Step
from emu.wire import decode_record, encode_step
from fuzz.mutation.alter import altered
from fuzz.mutation.fresh import ACCESSES, byte_offset, chance, fresh_step, one_of
from fuzz.mutation.motifs import generated, motif

POOL_SIZE: Final = 512
RENEWED: Final = 1 / 4
LONGEST_CUT: Final = 6
_INJECTIONS: Final = (Fail, ForceAbort, ForceExit)
_PLAIN_RUN: Final = encode_step(Run(0))

Records = list[bytes]
Operator = Callable[[Records, "Source"], bool]
StepKind = TypeVar("StepKind", bound=Step)
Entry = TypeVar("Entry")


class Pool(Generic[Entry]):
    """Ready-made results of one generator, which is much slower than a draw.

    Now and then a draw puts a new entry in the place of the old one.
    """

    def __init__(self, make: Callable[[Random], Entry]) -> None:
        self._make = make
        self._entries: list[Entry | None] = [None] * POOL_SIZE

    def draw(self, rng: Random) -> Entry:
        """One of the generator's results."""
        at = int(rng.random() * POOL_SIZE)
        entry = self._entries[at]
        if entry is None or rng.random() < RENEWED:
            entry = self._entries[at] = self._make(rng)
        return entry


class Source:
    """Where an operator takes its choices and its new steps from."""

    __slots__ = ("cases", "motifs", "rng", "steps")

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.steps = Pool(lambda rng: encode_step(fresh_step(rng)))
        self.motifs = Pool(lambda rng: tuple(map(encode_step, motif(rng))))
        self.cases = Pool(lambda rng: tuple(map(encode_step, generated(rng))))


def insert_step(records: Records, source: Source) -> bool:
    """A fresh step anywhere."""
    at = _gap(records, source.rng)
    records.insert(at, source.steps.draw(source.rng))
    return True


def insert_motif(records: Records, source: Source) -> bool:
    """A motif, at the end or between."""
    at = len(records) if chance(source.rng, 2) else _gap(records, source.rng)
    records[at:at] = source.motifs.draw(source.rng)
    return True


def append_run(records: Records, source: Source) -> bool:
    """A plain KVM_RUN somewhere behind the first half."""
    records.insert(len(records) - int(source.rng.random() * (len(records) / 2)), _PLAIN_RUN)
    return True


def delete_step(records: Records, source: Source) -> bool:
    """One step."""
    if not records:
        return False
    del records[_at(records, source.rng)]
    return True


def delete_range(records: Records, source: Source) -> bool:
    """Several steps in a row; more often late ones, as a case begins with what the rest needs."""
    if not records:
        return False
    start = int(max(source.rng.random(), source.rng.random()) * len(records))
    length = 1 + int(source.rng.random() * LONGEST_CUT)
    del records[start : start + length]
    return True


def duplicate_step(records: Records, source: Source) -> bool:
    """A step once more, elsewhere."""
    if not records:
        return False
    records.insert(_gap(records, source.rng), records[_at(records, source.rng)])
    return True


def swap_steps(records: Records, source: Source) -> bool:
    """Two steps in each other's place."""
    if not records:
        return False
    one, other = _at(records, source.rng), _at(records, source.rng)
    records[one], records[other] = records[other], records[one]
    return records[one] != records[other]


def move_step(records: Records, source: Source) -> bool:
    """A step elsewhere."""
    if not records:
        return False
    start = _at(records, source.rng)
    record = records.pop(start)
    end = _gap(records, source.rng)
    records.insert(end, record)
    return start != end


def alter_step(records: Records, source: Source) -> bool:
    """One field of one step."""
    if not records:
        return False
    at = _at(records, source.rng)
    return _put(records, at, altered(decode_record(records[at]), source.rng))


def repoint_access(records: Records, source: Source) -> bool:
    """An access into a slot that the case does name."""
    access, memslot = _find(records, source.rng, Guest), _find(records, source.rng, SetMemslot)
    if access is None or memslot is None:
        return False
    at, step = access
    address = byte_offset(source.rng)
    return _put(records, at, Guest(step.access, memslot[1].slot, address))


def change_access(records: Records, source: Source) -> bool:
    """Another kind of access at the same place."""
    found = _find(records, source.rng, Guest)
    if found is None:
        return False
    at, step = found
    return _put(records, at, Guest(one_of(source.rng, ACCESSES), step.slot, step.address))


def drop_injections(records: Records, _source: Source) -> bool:
    """Only what can happen by itself."""
    kept = [record for record in records if not isinstance(decode_record(record), _INJECTIONS)]
    dropped = len(kept) < len(records)
    records[:] = kept
    return dropped


def start_over(records: Records, source: Source) -> bool:
    """A case out of nothing."""
    records[:] = source.cases.draw(source.rng)
    return True


OPERATORS: Final[dict[str, Operator]] = {
    operator.__name__: operator
    for operator in (
        insert_step,
        insert_motif,
        delete_step,
        delete_range,
        duplicate_step,
        swap_steps,
        move_step,
        alter_step,
        repoint_access,
        change_access,
        append_run,
        drop_injections,
        start_over,
    )
}


def _put(records: Records, at: int, step: Step) -> bool:
    before, records[at] = records[at], encode_step(step)
    return records[at] != before


def _at(records: Records, rng: Random) -> int:
    return int(rng.random() * len(records))


def _gap(records: Records, rng: Random) -> int:
    return int(rng.random() * (len(records) + 1))


def stretch(records: Records, rng: Random, longest: int) -> tuple[int, int]:
    """First and end index of some records in a row, at most ``longest`` of them."""
    start = _at(records, rng)
    return start, start + 1 + int(rng.random() * min(longest, len(records) - start))


def _find(records: Records, rng: Random, kind: type[StepKind]) -> tuple[int, StepKind] | None:
    """A step of one kind and its place; the next one behind a random place, around the end."""
    start = _at(records, rng)
    for at in (*range(start, len(records)), *range(start)):
        step = decode_record(records[at])
        if isinstance(step, kind):
            return at, step
    return None
