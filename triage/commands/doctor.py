"""``gff doctor``: what is installed here, and what is missing."""

from typing import Final

import msgspec

from triage.commands.options import Json
from triage.ending import Status
from triage.installation import Part, State, parts
from triage.screen import show, show_json
from triage.tables import Table, columns, styled

_STYLES: Final = {State.WORKS: "green", State.ABSENT: "yellow", State.BROKEN: "bold red"}


class Diagnosis(msgspec.Struct, frozen=True):
    """What ``--json`` prints."""

    works: bool
    parts: tuple[Part, ...]


def doctor(json: Json = False) -> Status:
    """Say what is installed here, what is missing, and what takes over.

    Exit status 3 where something is broken that the model machine needs.

    Example: gff doctor
    """
    found = parts()
    works = all(part.state is not State.BROKEN for part in found)
    if json:
        show_json(Diagnosis(works, found))
    else:
        show(rows(found))
        show("Everything that the model needs works." if works else "Not everything works here.")
    return Status.CLEAN if works else Status.MISSING


def rows(found: tuple[Part, ...]) -> Table:
    """The parts below one another."""
    table = columns("part", "state", "found", wide="found")
    for part in found:
        text = f"{part.found}; instead: {part.instead}" if part.instead else part.found
        table.add_row(part.name, styled(part.state.value, _STYLES[part.state]), text)
    return table
