"""The memslots of a case as they stand after some of its steps."""

from collections.abc import Iterable
from typing import Final

import msgspec

from emu.abi import errno_name
from emu.steps import Ref, SetMemslot
from emu.words import MEM_FLAGS, spell_bits

_KNOWN_FLAGS: Final = sum(MEM_FLAGS.values())


class Slot(msgspec.Struct, frozen=True):
    """A memslot, or a region that was ``refused``: then with the errno's name, else ""."""

    slot: int
    gpa: int
    size: int
    flags: str
    backing: str
    refused: str


def slots_after(steps: Iterable[SetMemslot]) -> tuple[Slot, ...]:
    """The slots that exist after ``steps``, which KVM has done."""
    slots: dict[int, Slot] = {}
    for step in steps:
        if step.size:
            slots[step.slot] = region(step, 0)
        else:
            slots.pop(step.slot, None)
    return tuple(slots[number] for number in sorted(slots))


def region(step: SetMemslot, errno: int) -> Slot:
    """What a step asks for, and the errno that it got."""
    named = (_spell("mem", step.mem), _spell("gmem", step.gmem))
    return Slot(
        slot=step.slot,
        gpa=step.gpa,
        size=step.size,
        flags=_flags(step.flags),
        backing=" ".join(name for name in named if name) or "-",
        refused=errno_name(errno) if errno else "",
    )


def _spell(kind: str, ref: Ref | None) -> str:
    return "" if ref is None else f"{kind}{ref.index}+{ref.offset:#x}"


def _flags(flags: int) -> str:
    """As a case spells them: a number where a bit has no name."""
    if flags & ~_KNOWN_FLAGS:
        return f"{flags:#x}"
    return ",".join(spell_bits(flags, MEM_FLAGS)) or "-"
