"""The mutator: cases made from cases, on their wire form, without decoding what stays as it is.

The changes are those of ``operators``; ``Weights`` says how often each is drawn. Every choice comes
from the ``Random`` that the mutator was made with.
"""

from dataclasses import dataclass, fields
from random import Random
from struct import Struct
from typing import Final

from emu import wire
from emu.case import Case, VmConfig
from emu.wire import HEADER, RECORD
from fuzz.mutation import worlds
from fuzz.mutation.alter import altered_vm
from fuzz.mutation.fresh import chance, one_of
from fuzz.mutation.operators import (
    OPERATORS,
    Operator,
    Pool,
    Records,
    Source,
    delete_range,
    start_over,
    stretch,
)

MAX_STEPS: Final = 64
MAX_SIZE: Final = HEADER + MAX_STEPS * RECORD
ROOMY: Final = 9  # steps; above that a case gets shorter, again and again with this chance:
SHORTENED: Final = 0.75
OTHER_VM: Final = 1 / 40
OTHER_WORLD: Final = 1 / 16
CHANGES: Final = (1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
ATTEMPTS: Final = 16
_SPLITTERS: Final = tuple(Struct(f"{RECORD}s" * count) for count in range(MAX_STEPS + 1))
_PLAIN_HEADER: Final = wire.encode(Case(VmConfig(), ()))


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
    start_over: int = 14


class Mutator:
    """Mutates and crosses over; ``incidents`` counts what went wrong in here."""

    def __init__(self, rng: Random, weights: Weights | None = None) -> None:
        self.incidents = 0
        self._rng = rng
        self._source = Source(rng)
        self._worlds = Pool(lambda rng: wire.encode(Case(*worlds.generated(rng))))
        weights = weights or Weights()
        self._operators = _table(weights)
        # To start over in another VM is to start over.
        self._elsewhere = OTHER_WORLD if weights.start_over else 0

    def mutate(self, data: bytes) -> bytes:
        """Another case, a few changes away."""
        rng = self._rng
        if rng.random() < self._elsewhere:
            return self._worlds.draw(rng)
        header, records = split(data)
        if rng.random() < OTHER_VM:
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
        changes = one_of(rng, CHANGES)
        for _ in range(ATTEMPTS):  # an operator may find nothing to change
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
        first, last = stretch(donor, rng, len(donor))
        start, end = stretch(records, rng, len(records)) if records else (0, 0)
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


def _table(weights: Weights) -> tuple[Operator, ...]:
    """Each operator as often as its weight says, so that one draw chooses."""
    return tuple(
        OPERATORS[field.name]
        for field in fields(weights)
        for _ in range(getattr(weights, field.name))
    )


def _altered_header(header: bytes, rng: Random) -> bytes:
    return wire.encode(Case(altered_vm(wire.decode(header).vm, rng), ()))
