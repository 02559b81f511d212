"""What makes one step simpler than another, and the simpler steps to try in its place.

``complexity`` is 0 for the plainest step of each kind and grows with everything that a reader
would have to ask about: a second page, an offset, a flag, an access that is not a plain load.
``simpler`` proposes; the shrinker keeps a proposal only if it is less complex and still shows the
finding, so a proposal may be anything that is a step.
"""

from collections.abc import Iterator
from dataclasses import fields, replace
from enum import Enum
from typing import Final, TypeVar

from emu.abi import PAGE_MASK, PAGE_SIZE, U64
from emu.access import Access
from emu.case import VcpuState, VmConfig
from emu.steps import (
    Guest,
    IoEventFd,
    MemKind,
    Protection,
    Ref,
    SetMemslot,
    Step,
    Truncate,
    UserfaultMode,
)

# The value of a field that nobody asks about. A field that stands in none of these tables (an
# errno, a site) says what the case is about, and is left alone.
PLAIN: Final[dict[str, int]] = {
    "size": PAGE_SIZE,
    "gpa": 0x4000_0000,
    "address": 0,
    "offset": 0,
    "nth": 1,
    "fsc": 0x07,  # translation fault, level 3
    "value": 0,
    "ipa_bits": 40,
    "page_size": PAGE_SIZE,
    "ipa": 0x1_0000,
    "prot": 7,
    "level": 3,
}
PLAIN_IN: Final[dict[tuple[type, str], int]] = {
    (Truncate, "size"): 0,
    (IoEventFd, "size"): 4,
    (IoEventFd, "gpa"): 0x0900_0000,
}
BITS: Final = frozenset({"flags", "bits"})
NUMBERS: Final = frozenset({"index", "slot"})
# Few values are legal in these: nothing between the present one and the plain one is proposed.
CHOICES: Final = frozenset({(IoEventFd, "size"), (VmConfig, "ipa_bits"), (VmConfig, "page_size")})
# Zero deletes a slot, and makes a call that does nothing: as plain as can be.
PLAIN_AT_ZERO: Final = frozenset({"size", "gpa"})
SECOND_GPA: Final = 0x8000_0000
SIGN: Final = 1 << 63

# Plainest first; what is not listed comes behind what is.
PREFERRED: Final[dict[type[Enum], tuple[Enum, ...]]] = {
    Access: (
        Access.READ64,
        Access.WRITE64,
        Access.READ_PAIR,
        Access.WRITE_PAIR,
        Access.CAS,
        Access.FETCH,
        Access.DC_ZVA,
        Access.DC_CIVAC,
        Access.WALK,
    ),
    MemKind: (MemKind.ANONYMOUS, MemKind.FILE),
    UserfaultMode: (UserfaultMode.MISSING,),
    Protection: (Protection.NONE, Protection.READ, Protection.READ_WRITE),
    VcpuState: (VcpuState.READY, VcpuState.UNINITIALIZED, VcpuState.UNFINALIZED),
}

Record = Step | VmConfig | Ref
AnyRecord = TypeVar("AnyRecord", bound=Record)
Value = int | Enum | Ref | None


def complexity(record: Record) -> int:
    """The sum over the record's fields of how far each is from its plain value."""
    return sum(_cost(record, name, value) for name, value in _items(record))


def simpler(record: AnyRecord) -> Iterator[AnyRecord]:
    """The record with one field changed, the boldest change of each field first."""
    if isinstance(record, Guest) and record.slot is None:
        yield replace(record, slot=0, address=0)
    for name, value in _items(record):
        for proposal in _proposals(record, name, value):
            # The name and the value come from this very record, which their types cannot say.
            yield replace(record, **{name: proposal})  # type: ignore[arg-type]  # see above


def _items(record: Record) -> Iterator[tuple[str, Value]]:
    for field in fields(record):
        yield field.name, getattr(record, field.name)


def _cost(record: Record, name: str, value: Value) -> int:
    match value:
        case None:
            return 2 if name == "slot" else 0  # an absolute address; else nothing there
        case Ref():
            return 1 + complexity(value)
        case int() if name in BITS:
            return value.bit_count()
        case Enum():
            order = PREFERRED.get(type(value), (value,))
            return order.index(value) if value in order else len(order)
        case bool():
            return int(value)
        case int() if name in NUMBERS:
            return value
        case int() if value == 0 and name in PLAIN_AT_ZERO:
            return 0
        case int():
            return _distance(value, _plain(record, name))


def _distance(value: int, plain: int) -> int:
    """0 for the plain number, small for round ones; below 0 (modulo 2**64) costs a little more."""
    if value == plain:
        return 0
    if value > SIGN:
        return 2 + _distance(U64 + 1 - value, plain)
    return 1 + value.bit_length() + value.bit_count()


def _proposals(record: Record, name: str, value: Value) -> Iterator[Value]:
    match value:
        case None:
            return
        case Ref():
            if isinstance(record, SetMemslot):
                yield None  # a slot can do without; nothing else can
            yield from simpler(value)
        case int() if name in BITS:
            yield 0
            yield from (value & ~(1 << bit) for bit in range(value.bit_length()))
        case Enum():
            yield from PREFERRED.get(type(value), ())
        case bool():
            yield False
        case int() if name in NUMBERS:
            return  # numbers go together: the shrinker changes all that name one thing at once
        case int():
            yield _plain(record, name)
            if (type(record), name) not in CHOICES:
                yield from _rounder(name, value)


def _rounder(name: str, value: int) -> Iterator[int]:
    """Numbers near ``value`` that are easier to read."""
    if name == "gpa":
        yield SECOND_GPA
    if value > SIGN:
        yield from ((U64 + 1 - number) & U64 for number in _rounder(name, U64 + 1 - value))
        return
    if value:
        yield 1 << value.bit_length() - 1
    if value > PAGE_SIZE:
        yield value & PAGE_MASK
        yield value >> 1 & PAGE_MASK


def _plain(record: Record, name: str) -> int:
    return PLAIN_IN.get((type(record), name), PLAIN[name])
