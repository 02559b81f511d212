"""The judge: which clauses of the contract a machine broke in a case."""

from typing import Final, NamedTuple

from emu.abi import DOORBELL, ExitReason
from emu.case import Case
from emu.outcome import IDLE, Outcomes, RunOutcome
from fuzz.oracle.clauses import took_external_abort
from fuzz.oracle.contract import CLAUSES, Clause, Reading
from fuzz.oracle.view import Timeline, View

_MMIO: Final = ExitReason.MMIO  # a plain name, for the hot path


class Breach(NamedTuple):
    """A broken clause: its id, the index of the KVM_RUN in the outcomes, and why."""

    clause: str
    run: int
    reason: str


def judge(case: Case, outcomes: Outcomes, reading: Reading = Reading.STRICT) -> tuple[Breach, ...]:
    """Every breach of the reading's clauses, in the order of the KVM_RUNs."""
    breaches: list[Breach] = []
    remembered = _ASKED[reading]
    logs = bool(outcomes.logs)
    timeline: Timeline | None = None
    for number, run in enumerate(outcomes.runs):
        rang = run.union[0] == DOORBELL
        if rang and run.exit_reason == _MMIO and not (run.exceptions or logs or run.others_changed):
            continue  # the end of most calls, about which no clause is
        key = (
            run.ret,
            run.errno,
            run.exit_reason,
            run.fresh,
            rang,
            run.access == IDLE,
            run.moved or run.changed,
            run.exceptions != () and (2 if took_external_abort(run) else 1),
            run.stuck,
            run.others_changed,
            logs,
        )
        asked = remembered.get(key)
        if asked is None:
            asked = remembered[key] = _asked(run, reading, logs=logs)
        if asked:
            timeline = timeline or Timeline(case, outcomes)
            view = View(timeline, number)
            for clause in asked:
                reason = clause.broken(view)
                if reason is not None:
                    breaches.append(Breach(clause.id, number, reason))
    return tuple(breaches)


def _asked(run: RunOutcome, reading: Reading, *, logs: bool) -> tuple[Clause, ...]:
    """The clauses of a reading that have something to say about an outcome."""
    clauses = (clause for clause in CLAUSES if reading in clause.readings)
    return tuple(clause for clause in clauses if clause.asks(run, logs=logs))


# Remembered for all outcomes that are alike in what a clause's ``when`` may look at: there are some
# hundreds, and a campaign asks tens of thousands of times a second.
_Alike = tuple[int, int, int, bool, bool, bool, bool, int, bool, bool, bool]
_ASKED: Final[dict[Reading, dict[_Alike, tuple[Clause, ...]]]] = {
    reading: {} for reading in Reading
}
