"""The list of mutants that survive for a reason, and what of a run differs from it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from tests.mutants.mutant import Place

LISTED: Final = Path(__file__).with_name("survivors.toml")


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mutant that nothing can kill, and why: it judges as what it was made from."""

    file: str
    function: str
    old: str
    new: str
    number: int = 1
    reason: str

    @property
    def place(self) -> Place:
        """The place alone."""
        return Place(
            file=self.file,
            function=self.function,
            old=self.old,
            new=self.new,
            number=self.number,
        )


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    survivor: tuple[Entry, ...] = ()


class Odds(msgspec.Struct, frozen=True):
    """Survivors that are not explained; explained mutants that are killed, or are not there."""

    unexplained: tuple[Place, ...]
    killed: tuple[Place, ...]
    unknown: tuple[Place, ...]


def listed() -> Listed:
    """What is listed."""
    return msgspec.toml.decode(LISTED.read_bytes(), type=Listed)


def compare(
    survived: Iterable[Place], tried: Iterable[Place], every: Iterable[Place], known: Listed
) -> Odds:
    """What differs, as far as it was tried; ``every``: all mutants of the modules in question."""
    alive, all_tried, existing = list(survived), set(tried), set(every)
    files = {place.file for place in existing}
    explained = [entry.place for entry in known.survivor if entry.file in files]
    return Odds(
        tuple(place for place in alive if place not in explained),
        tuple(place for place in explained if place in all_tried and place not in alive),
        tuple(place for place in explained if place not in existing),
    )
