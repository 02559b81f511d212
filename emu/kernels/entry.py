"""What the catalogue says of a kernel."""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from emu.kvm.kvm_main import Kernel


@unique
class Kind(Enum):
    """Why a kernel is here."""

    RELEASE = "release"
    PROPOSAL = "proposal"
    CLEAN = "clean"
    KNOWN_BAD = "known bad"
    TWIN = "twin"


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel, its kind, and the signatures that the paranoid reading finds in it.

    ``breaks`` is what tests hold the judge to: all of these, and no other.
    """

    kernel: Kernel
    kind: Kind
    breaks: tuple[str, ...]


_HOWS: Final = ("-natural", "-injected")


def both(*causes: str) -> tuple[str, ...]:
    """The signatures of these causes: each natural and injected, where it does not say which."""
    return tuple(
        cause + how for cause in causes for how in ([""] if cause.endswith(_HOWS) else _HOWS)
    )


def bad(kernel: Kernel, *causes: str) -> Entry:
    """A known-bad kernel, and its causes as for ``both``."""
    return Entry(kernel, Kind.KNOWN_BAD, both(*causes))


def twin(kernel: Kernel) -> Entry:
    """A change that looks like a slip and that no clause forbids."""
    return Entry(kernel, Kind.TWIN, ())
