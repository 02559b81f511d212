"""The CPU's registers, read and written where Unicorn keeps them."""

import ctypes
import os
from io import FileIO
from typing import Final

from emu.abi import U64
from emu.engine import EmulatorError, Engine, X
from emu.layout import SALTS, Layout

_MEMORY: Final = "/proc/self/mem"  # reading from there does not crash where no memory is
_RECORD_SIZE: Final = 4096  # of Unicorn's record of an engine, as far as is looked at
_REACH: Final = 65536  # from the start of a CPU to its registers: 41 KiB in 2.1.4
_ADDRESSES: Final = range(1 << 16, 1 << 47, 8)  # that a pointer may hold


class Registers:
    """The CPU's state in place.

    ``words`` and ``halves`` are the whole of it, with the indices of ``layout``. ``general`` is x0
    to x30 and sp, ``vectors`` all vector registers, ``flags`` NZCV.
    """

    __slots__ = ("_engine", "flags", "general", "halves", "vectors", "words")

    def __init__(self, engine: Engine, layout: Layout) -> None:
        self._engine = engine  # the memory is the engine's
        size = engine.snapshot().words.nbytes
        memory = (ctypes.c_char * size).from_address(_locate(engine, layout))
        octets = memoryview(memory).cast("B")
        self.words = octets.cast("Q")
        self.halves = octets.cast("I")
        self.general = part(self.words, layout.general)
        self.vectors = part(self.words, layout.vectors)
        self.flags = part(self.words, layout.flags)
        self._check(layout.general.start)

    def _check(self, x: int) -> None:
        """Writing in place must be writing to the CPU: what it saves then is what is here."""
        mark = _mark(next(SALTS), 3)
        self.general[3] = mark
        saved = self._engine.snapshot().words
        if saved[x + 3] != mark or saved[x:] != self.words[x:]:
            raise EmulatorError("Unicorn's saved context is not a copy of the CPU's state")


def part(words: memoryview, places: range) -> memoryview:
    """The words at ``places``, as a view."""
    return words[places.start : places.stop]


def _mark(salt: int, number: int) -> int:
    return 0x9E37_79B9_7F4A_7C15 * (salt << 6 | number) & U64


def _locate(engine: Engine, layout: Layout) -> int:
    """The address of the state, less what a context has before it.

    Behind one of the pointers in the engine's record is the CPU, and in it, the registers.
    """
    salt = next(SALTS)
    marks = [_mark(salt, number) for number in range(len(X))]
    for mark, register in zip(marks, X, strict=True):
        engine.set_register(register, mark)
    # In halves, and read into one place that is wiped, so that no copy of ours is ever found.
    first, second = (_bytes(half) for half in (marks[:16], marks[16:]))
    buffer = bytearray(_REACH)
    places: set[int] = set()
    with _own_memory() as memory:
        record = memoryview(_read(memory, engine.address, _RECORD_SIZE)).cast("Q")
        for word in record:
            if word in _ADDRESSES and _read_into(memory, word, buffer):
                offset = buffer.find(first)
                if offset >= 0 and buffer.startswith(second, offset + len(first)):
                    places.add(word + offset)
                    buffer[:] = bytes(_REACH)
    if len(places) != 1:
        raise EmulatorError(
            f"Unicorn's CPU has its registers in {len(places)} places, and one was expected:"
            " this is not the Unicorn 2.1.4 that this project knows"
        )
    return places.pop() - 8 * layout.general.start


def _bytes(marks: list[int]) -> bytes:
    return b"".join(mark.to_bytes(8, "little") for mark in marks)


def _own_memory() -> FileIO:
    try:
        return FileIO(_MEMORY)
    except OSError as error:
        raise EmulatorError(f"cannot look for the emulated CPU's state: {error}") from error


def _read(memory: FileIO, address: int, size: int) -> bytes:
    """What is at ``address``; shorter, or nothing, where no memory is."""
    buffer = bytearray(size)
    return bytes(buffer[: _read_into(memory, address, buffer)])


def _read_into(memory: FileIO, address: int, buffer: bytearray) -> int:
    """How many bytes at ``address`` are there to be read; the rest of the buffer keeps."""
    try:
        return os.preadv(memory.fileno(), [buffer], address)
    except OSError:
        return 0
