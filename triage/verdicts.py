"""What each clause says of one KVM_RUN, under a reading."""

from enum import Enum, unique

import msgspec

from fuzz.oracle.contract import CLAUSES, Clause, Reading
from fuzz.oracle.view import View


@unique
class Ruling(Enum):
    """``excused``: broken, but the reading does not ask for the clause."""

    BROKEN = "broken"
    EXCUSED = "excused"
    HELD = "held"
    NOT_APPLICABLE = "not applicable"


class Verdict(msgspec.Struct, frozen=True):
    """A clause, its ruling, and the reason where it is broken or excused."""

    clause: str
    title: str
    ruling: Ruling
    reason: str


def verdicts(view: View, reading: Reading) -> tuple[Verdict, ...]:
    """Every clause's verdict, in the order of the contract."""
    return tuple(_verdict(clause, view, reading) for clause in CLAUSES)


def _verdict(clause: Clause, view: View, reading: Reading) -> Verdict:
    asked = clause.asks(view.run, logs=bool(view.timeline.outcomes.logs))
    reason = clause.broken(view) if asked else None
    if reason is not None:
        ruling = Ruling.BROKEN if reading in clause.readings else Ruling.EXCUSED
    else:
        ruling = Ruling.HELD if asked else Ruling.NOT_APPLICABLE
    return Verdict(clause.id, clause.title, ruling, reason or "")
