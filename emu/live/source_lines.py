"""Where in the source a kernel's instrumented places are: a file beside the image of a built one.

It has names and line numbers, and nothing of the source itself.
"""

from typing import Final, NamedTuple

import msgspec

from emu.live import cache
from emu.live.trouble import MissingPartError

FILE: Final = "lines.json"


class Place(NamedTuple):
    """``pc``: the lower half of what KCOV tells, the address after its call."""

    pc: int
    line: int


class Function(msgspec.Struct, frozen=True):
    """A function of the source, wherever the compiler put its code."""

    file: str
    name: str
    places: tuple[Place, ...]

    @property
    def lines(self) -> frozenset[int]:
        """Those that have a place."""
        return frozenset(place.line for place in self.places)

    def reached(self, pcs: frozenset[int]) -> frozenset[int]:
        """Those of its lines that have a place among these."""
        return frozenset(place.line for place in self.places if place.pc in pcs)


def encoded(functions: tuple[Function, ...]) -> bytes:
    """What the file has."""
    return msgspec.json.encode(functions)


def load(image: str) -> tuple[Function, ...]:
    """Those of the image of that name."""
    path = cache.images() / image / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Function, ...])
    except FileNotFoundError:
        raise MissingPartError(
            f"{image} does not tell what is reached: gff live build v7.3-kcov"
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise MissingPartError(f"{path}: {error}; build it again") from None
