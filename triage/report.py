"""What a campaign's report tells: its findings with their cases played again, and its troubles."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from emu import text
from emu.kernels import KERNELS
from emu.model import Model
from emu.text import CaseSyntaxError
from fuzz.directory import records
from fuzz.directory.finding import Finding, Size, Standing
from fuzz.directory.records import RecordError
from fuzz.directory.store import HARNESS, QUESTIONS
from fuzz.oracle.contract import CLAUSES, Reading
from triage import inputs
from triage.advice import advice
from triage.campaigns import case_path, ordered
from triage.case_input import CaseInput
from triage.explain import explain
from triage.explanation import AbortView, Explanation, RunView
from triage.overview import Overview
from triage.verdicts import Ruling

SHOWN: Final = 20  # questions, and harness crashes; the directory has them all
_LONGEST: Final = 4000  # characters of a file


@dataclass(frozen=True, slots=True)
class RunLine:
    """One KVM_RUN of a smallest case: the aborts that led to it, its outcome, what it breaks."""

    number: int
    aborts: tuple[str, ...]
    outcome: str
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A signature, with what it is on each kernel. ``shown``: the finding whose case is smallest.

    ``known``: its clause is one of today's. ``runs`` is empty where the case or its kernel is of
    another version of gff.
    """

    shown: Finding
    findings: tuple[Finding, ...]
    known: bool
    case: Path
    runs: tuple[RunLine, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A file that tells of a trouble, and how it begins."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page needs. ``questions`` and ``crashes``: the first of them, and how many."""

    made_at: datetime
    overview: Overview
    entries: tuple[Entry, ...]
    widening: tuple[str, ...]
    questions: tuple[Trouble, ...]
    questions_kept: int
    crashes: tuple[Trouble, ...]
    crashes_kept: int


def report(now: Overview) -> Report:
    """The report of a campaign as it stands."""
    findings = ordered(now.snapshot.findings)
    questions = sorted((now.directory / QUESTIONS).glob("[!.]*.case"))
    crashes = sorted((now.directory / HARNESS).glob("[!.]*.txt"))
    return Report(
        made_at=datetime.now(UTC),
        overview=now,
        entries=tuple(_entries(now, findings)),
        widening=advice(now),
        questions=tuple(map(_trouble, questions[:SHOWN])),
        questions_kept=len(questions),
        crashes=tuple(map(_trouble, crashes[:SHOWN])),
        crashes_kept=len(crashes),
    )


def _entries(now: Overview, findings: Sequence[Finding]) -> Iterator[Entry]:
    clauses = {clause.id for clause in CLAUSES}
    reading = inputs.reading(now.configuration.reading)
    model = Model() if findings else None
    alike: dict[str, list[Finding]] = {}
    for finding in findings:
        alike.setdefault(finding.signature, []).append(finding)
    asked = {kernel: rank for rank, kernel in enumerate(now.configuration.kernels)}
    for each in alike.values():
        each.sort(key=lambda finding: asked.get(finding.kernel, len(asked)))
        shown = min(each, key=_telling_least)
        runs = _runs(shown, reading, model) if model else ()
        case = case_path(str(now.directory), shown)
        yield Entry(shown, tuple(each), shown.clause in clauses, case, runs)


def _telling_least(finding: Finding) -> tuple[bool, Size]:
    """The smallest case that still shows it comes first."""
    return finding.standing is not Standing.THERE, finding.size


def _runs(finding: Finding, reading: Reading, model: Model) -> tuple[RunLine, ...]:
    """What its smallest case does, from which one sees why."""
    if finding.kernel not in KERNELS:
        return ()
    try:
        case = text.load(finding.smallest)
    except CaseSyntaxError:
        return ()
    told = explain(CaseInput(finding.name, case, None), finding.kernel, reading, model)
    return tuple(map(_run, _telling(told)))


def _telling(told: Explanation) -> Sequence[RunView]:
    """The KVM_RUNs up to the last that breaks something."""
    last = max((run.number for run in told.runs if _broken(run)), default=0)
    return [run for run in told.runs if run.number <= last]


def _run(run: RunView) -> RunLine:
    aborts = dict.fromkeys(_abort(each) for each in run.aborts if not each.own)
    return RunLine(run.number, tuple(aborts), run.outcome, _broken(run))


def _broken(run: RunView) -> tuple[str, ...]:
    return tuple(
        f"{each.clause}: {each.reason}" for each in run.clauses if each.ruling is Ruling.BROKEN
    )


def _abort(abort: AbortView) -> str:
    at = "" if abort.ipa is None else f", IPA {abort.ipa:#x}"
    return f"ESR_EL2 {abort.esr:#010x}: {abort.syndrome}; FAR {abort.far:#x}{at}"


def _trouble(path: Path) -> Trouble:
    try:
        content = records.content(path).decode(errors="backslashreplace")
    except (FileNotFoundError, RecordError) as error:
        return Trouble(path.name, str(error))
    if len(content) > _LONGEST:
        content = f"{content[:_LONGEST]}\n... {len(content) - _LONGEST:,} characters more"
    return Trouble(path.name, content)
