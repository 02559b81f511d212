"""Where the CPU's registers are in memory: found by experiment, never assumed.

Unicorn documents neither its saved context nor the CPU state that this is a copy of. Each field is
looked for in contexts, after runs of the guest to states in which it has known values; then the
state itself is looked for behind the engine's pointers. There each entry of the guest reads its
syndrome and writes its registers: to save and restore 12 KiB takes as long as to run the guest.
What is not in exactly one place is an EmulatorError.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emu.access import Access
from emu.engine import EXCEPTION, NZCV, SP, Context, EmulatorError, Engine, Q, SystemRegister, X
from emu.harness import TTBR0, TTBR1, Harness, Program

TTBR1_EL1: Final = SystemRegister(3, 0, 2, 0, 1)

# Two pages of an IPA space of 36 bits or more in which nothing is mapped. Odd bits all over, so
# that nothing else in a context has these values.
_HERE: Final = 0x5_6789_AB38
_THERE: Final = 0xA_9876_5468

_ABORTED_READ: Final = 0x93C0_8005  # 64-bit load to x0, translation fault, level 1
_ABORTED_WRITE: Final = 0x93C0_8045  # 64-bit store from x0
# A fresh one for each search: a context's padding, like any memory that was freed, may still hold
# what an earlier engine of this process was searched for.
SALTS: Final = itertools.count(1)
_NEAR: Final = 8  # words: what belongs together is not further apart
_MISALIGNED: Final = 0x9600_0021  # an alignment fault at EL1


@dataclass(frozen=True, slots=True)
class Layout:
    """Indices into a state's words, except where it says halves: 32 bits each.

    ``general``: x0 to x30 and sp. ``vectors``: all 32, with what SVE adds. ``flags``: NZCV.
    ``ttbr1``: TTBR1_EL1. ``exclusive``: the exclusive monitor's address. ``esr``, ``target_el``
    (halves): the latest exception's syndrome, and the exception level that it is for.
    """

    general: range
    vectors: range
    flags: range
    pc: int
    ttbr1: int
    exclusive: int
    far: int
    hpfar: int
    esr: int
    target_el: int


def find(engine: Engine, harness: Harness) -> Layout:
    """Find everything. The engine's stage 2 must map the harness and neither of the two pages."""
    general = _find_general(engine)
    read, write = harness.more[Access.READ64], harness.more[Access.WRITE64]
    exclusive = harness.more[Access.READ_EXCLUSIVE]
    aborts = (_run(engine, read, _HERE), _run(engine, write, _THERE))
    words = [context.words for context in aborts]
    halves = [context.halves for context in (*aborts, _run(engine, exclusive, _HERE + 1))]
    esr = _only("the syndrome", _find(halves, (_ABORTED_READ, _ABORTED_WRITE, _MISALIGNED)))
    levels = [place for place in _find(halves, (2, 2, 1)) if abs(place - esr) < _NEAR]
    return Layout(
        general=general,
        vectors=_find_vectors(engine),
        flags=_find_flags(engine, general),
        pc=_only("the PC", _find(words, (read.start, write.start))),
        ttbr1=_find_ttbr1(engine),
        exclusive=_find_exclusive(engine, exclusive, general),
        far=_only("the fault address", _outside(general, _find(words, (_HERE, _THERE)))),
        hpfar=_only("HPFAR_EL2", _find(words, (_HERE >> 12 << 4, _THERE >> 12 << 4))),
        esr=esr,
        target_el=_only("the target exception level", levels),
    )


def _run(engine: Engine, program: Program, address: int) -> Context:
    """The state after a run of ``program`` with x1 at ``address``."""
    engine.set_register(X[1], address)
    engine.entry.value = program.start
    if engine.start() != EXCEPTION:
        raise EmulatorError("Unicorn ran past the end of a probe")
    return engine.snapshot()


def _find_general(engine: Engine) -> range:
    states = []
    salts = (next(SALTS), next(SALTS))
    for salt in salts:
        for number, register in enumerate((*X, SP)):
            engine.set_register(register, _value(salt, number))
        states.append(engine.snapshot().words)
    start = _only("x0", _find(states, tuple(_value(salt, 0) for salt in salts)))
    found = range(start, start + 32)
    if [states[1][place] for place in found] != [_value(salts[1], number) for number in range(32)]:
        raise EmulatorError("Unicorn's saved context does not hold x0 to x30 and sp in order")
    return found


def _find_vectors(engine: Engine) -> range:
    low, high = next(SALTS), next(SALTS)
    for number, register in enumerate(Q):
        engine.set_register(register, _value(low, number) | _value(high, number) << 64)
    words = engine.snapshot().words
    places = [_only(f"q{number}", _find([words], (_value(low, number),))) for number in range(32)]
    stride = places[1] - places[0]
    end = places[0] + 32 * stride
    if places != list(range(places[0], end, stride)):
        raise EmulatorError("Unicorn's saved context does not hold q0 to q31 in order")
    return range(places[0], end)


def _find_flags(engine: Engine, general: range) -> range:
    engine.set_register(NZCV, 0)
    clear = engine.snapshot().words
    engine.set_register(NZCV, 0xF000_0000)
    pairs = zip(clear, engine.snapshot().words, strict=True)
    # What stands before x0 is Unicorn's own.
    flags = [n for n, (old, new) in enumerate(pairs) if old != new and n > general.start]
    if not flags or flags[-1] - flags[0] > _NEAR:
        raise EmulatorError(f"Unicorn's saved context holds NZCV in the words {flags}")
    return range(flags[0], flags[-1] + 1)


def _find_ttbr1(engine: Engine) -> int:
    values = (0x1234_5678_9000, 0x0FED_CBA9_8000)
    states = []
    for value in values:
        engine.set_system(TTBR1_EL1, value)
        states.append(engine.snapshot().words)
    return _only("TTBR1_EL1", _find(states, values))


def _find_exclusive(engine: Engine, program: Program, general: range) -> int:
    """By two loads that mark harness memory."""
    addresses = (TTBR0 + 0x128, TTBR1 + 0x340)
    states = [_run(engine, program, address).words for address in addresses]
    return _only("the exclusive monitor", _outside(general, _find(states, addresses)))


def _value(salt: int, number: int) -> int:
    return 0x5A00_0000_0000_0007 | (salt & 0xFFFF) << 40 | number << 16


def _find(states: Sequence[memoryview], values: tuple[int, ...]) -> list[int]:
    """The places at which ``states`` have ``values``, in this order."""
    return [place for place, found in enumerate(zip(*states, strict=True)) if found == values]


def _outside(general: range, places: list[int]) -> list[int]:
    """``places`` without the general-purpose registers: x1 holds the probe's address."""
    return [place for place in places if place not in general]


def _only(name: str, places: list[int]) -> int:
    if len(places) != 1:
        raise EmulatorError(
            f"Unicorn's saved context holds {name} in {len(places)} places, and one was expected:"
            " this is not the Unicorn 2.1.4 that this project knows"
        )
    return places[0]
