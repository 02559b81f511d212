"""The mutator: cases made from cases, on their wire form, without decoding what stays as it is.

An operator changes a list of records in place and says whether it did. ``Weights`` says how often
each is drawn. Every choice comes from the ``Random`` that the mutator was made with.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from random import Random
from struct import Struct
from typing import Final, TypeVar

from emu import wire
from emu.case import Case, Fail, ForceAbort, ForceExit, Guest, Run, SetMemslot, Step, VmConfig
from emu.wire import HEADER, RECORD, decode_record, encode_step
from fuzz.alter import altered, altered_vm
from fuzz.fresh import ACCESSES, byte_offset, chance, fresh_step, one_of
from fuzz.motifs import generated, motif

MAX_STEPS: Final = 64
MAX_SIZE: Final = HEADER + MAX_STEPS * RECORD
POOL_SIZE: Final = 512
RENEWED: Final = 1 / 16
ROOMY: Final = 9  # steps; above that a case gets shorter, again and again with this chance:
SHORTENED: Final = 0.75
_INJECTIONS: Final = (Fail, ForceAbort, ForceExit)
_SPLITTERS: Final = tuple(Struct(f"{RECORD}s" * count) for count in range(MAX_STEPS + 1))
_PLAIN_HEADER: Final = wire.encode(Case(VmConfig(), ()))
_PLAIN_RUN: Final = encode_step(Run(0))

Records = list[bytes]
Operator = Callable[[Records, "Source"], bool]
StepKind = TypeVar("StepKind", bound=Step)


@dataclass(frozen=True, slots=True)
class Weights:
    """How often each operator is drawn; 0 is never."""

    insert_step: int = 6
    insert_motif: int = 14
    delete_step: int = 8
    delete_range: int = 4
    duplicate_step: int = 3
    swap_steps: int = 3
    move_step: int = 4
    alter_step: int = 24
    repoint_access: int = 6
    change_access: int = 8
    append_run: int = 2
    drop_injections: int = 3
    start_over: int = 3


class Pool:
    """Ready-made records of one generator, which is much slower than a draw.

    Now and then a draw puts a new entry in the place of the old one.
    """

    def __init__(self, make: Callable[[Random], tuple[Step, ...]]) -> None:
        self._make = make
        self._entries: list[tuple[bytes, ...] | None] = [None] * POOL_SIZE

    def draw(self, rng: Random) -> tuple[bytes, ...]:
        """The records of one of the generator's results."""
        at = int(rng.random() * POOL_SIZE)
        entry = self._entries[at]
        if entry is None or rng.random() < RENEWED:
            entry = self._entries[at] = tuple(map(encode_step, self._make(rng)))
        return entry


class Source:
    """Where an operator takes its choices and its new steps from."""

    __slots__ = ("cases", "motifs", "rng", "steps")

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.steps = Pool(lambda rng: (fresh_step(rng),))
        self.motifs = Pool(motif)
        self.cases = Pool(generated)


class Mutator:
    """Mutates and crosses over; ``incidents`` counts what went wrong in here."""

    def __init__(self, rng: Random, weights: Weights | None = None) -> None:
        self.incidents = 0
        self._rng = rng
        self._source = Source(rng)
        self._operators = _table(weights or Weights())

    def mutate(self, data: bytes) -> bytes:
        """Another case, a few changes away."""
        header, records = split(data)
        rng = self._rng
        if chance(rng, 40):
            header = _altered_header(header, rng)
        if records:
            self._change(records)
        else:
            start_over(records, self._source)
        return header + b"".join(records[:MAX_STEPS])

    def _change(self, records: Records) -> None:
        """Shortens what has become long, and applies an operator or two."""
        rng = self._rng
        while len(records) > ROOMY and rng.random() < SHORTENED:
            delete_range(records, self._source)
        changes = 1 + chance(rng, 3) + chance(rng, 9)
        for _ in range(8 * changes):  # an operator may find nothing to change
            if one_of(rng, self._operators)(records, self._source):
                changes -= 1
                if not changes:
                    return

    def cross_over(self, data: bytes, other: bytes) -> bytes:
        """A part of ``other`` in ``data``, in place of a part of it or between."""
        rng = self._rng
        header, records = split(data)
        _, donor = split(other)
        if not donor:
            return self.mutate(data)
        first, last = _range(donor, rng, len(donor))
        start, end = _range(records, rng, len(records)) if records else (0, 0)
        if chance(rng, 3):
            end = start
        records[start:end] = donor[first:last]
        return header + b"".join(records[:MAX_STEPS])

    # LIBFUZZER'S SIDE: an exception or one byte too many hangs the process for good.

    def custom_mutator(self, data: bytes, max_size: int, _seed: int) -> bytes:
        """For libFuzzer: never raises, never longer than ``max_size``."""
        try:
            made = self.mutate(data)
        except Exception:  # noqa: BLE001 - see above; the status shows the count
            self.incidents += 1
            made = data
        return cut(made, max_size)

    def custom_crossover(self, data: bytes, other: bytes, max_size: int, _seed: int) -> bytes:
        """For libFuzzer: never raises, never longer than ``max_size``.

        libFuzzer asks for as many crossovers as mutations; half of them are mutations here.
        """
        try:
            made = self.cross_over(data, other) if chance(self._rng, 2) else self.mutate(data)
        except Exception:  # noqa: BLE001 - see above; the status shows the count
            self.incidents += 1
            made = data
        return cut(made, max_size)


def split(data: bytes) -> tuple[bytes, Records]:
    """The header, made whole, and the whole records of any bytes."""
    count = min((len(data) - HEADER) // RECORD, MAX_STEPS)
    if count < 0:
        return _PLAIN_HEADER, []
    end = HEADER + count * RECORD
    return data[:HEADER], list(_SPLITTERS[count].unpack(data[HEADER:end]))


def cut(data: bytes, max_size: int) -> bytes:
    """At most ``max_size`` bytes of ``data``, in whole records where there is room for one."""
    if len(data) <= max_size:
        return data
    whole = (max_size - HEADER) // RECORD * RECORD + HEADER
    return data[: max(whole, 0)]


# OPERATORS


def insert_step(records: Records, source: Source) -> bool:
    """A fresh step anywhere."""
    at = _gap(records, source.rng)
    records[at:at] = source.steps.draw(source.rng)
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
    """Several steps in a row."""
    if not records:
        return False
    start, end = _range(records, source.rng, 6)
    del records[start:end]
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


def _table(weights: Weights) -> tuple[Operator, ...]:
    """Each operator as often as its weight says, so that one draw chooses."""
    return tuple(
        OPERATORS[field.name]
        for field in fields(weights)
        for _ in range(getattr(weights, field.name))
    )


def _altered_header(header: bytes, rng: Random) -> bytes:
    return wire.encode(Case(altered_vm(wire.decode(header).vm, rng), ()))


def _put(records: Records, at: int, step: Step) -> bool:
    before, records[at] = records[at], encode_step(step)
    return records[at] != before


def _at(records: Records, rng: Random) -> int:
    return int(rng.random() * len(records))


def _gap(records: Records, rng: Random) -> int:
    return int(rng.random() * (len(records) + 1))


def _range(records: Records, rng: Random, longest: int) -> tuple[int, int]:
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
