"""A campaign's report as one HTML page that needs nothing else: no script, no other file."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from fuzz.directory.finding import Finding
from fuzz.directory.series import Sample
from fuzz.oracle.asked import SUCCESS
from fuzz.oracle.contract import CLAUSES
from fuzz.oracle.contract_coverage import Coverage
from triage.course import evenly
from triage.durations import span
from triage.findings import clause_says
from triage.matrix_text import INJECTED, NATURAL, rows_of
from triage.overview import Condition, Overview, rate
from triage.plots import BOX, Curve, Plot, plot, short
from triage.report import Entry, Report
from triage.status_screen import condition

_POINTS: Final = 240  # samples of a plot; a pixel or two each


def page(report: Report) -> str:
    """The page. Whatever a file of the campaign says is text in it, never markup."""
    environment = Environment(
        loader=PackageLoader("triage"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    now = report.overview
    findings = now.snapshot.findings
    return environment.get_template("report.html.j2").render(
        report=report,
        now=now,
        condition=condition(now),
        ended=now.condition is not Condition.RUNNING,
        plots=tuple(plots(now)),
        box=BOX,
        clauses=CLAUSES,
        errnos=errnos(now.coverage),
        runs=runs_of(now.coverage),
        marks=marks(findings),
        kernels=tuple(dict.fromkeys([*now.configuration.kernels, *(f.kernel for f in findings)])),
        on=on,
        each_once=each_once,
        places=tuple(rows_of(now.coverage)),
        rate=rate,
        span=span,
        short=short,
        says=clause_says,
        replay=replay,
    )


def plots(now: Overview) -> Iterator[Plot]:
    """How the campaign went: findings always, the rest where there are samples."""
    samples, seconds = evenly(now.samples, _POINTS), now.snapshot.seconds
    if samples:
        arms = Curve("branches", [(each.seconds, each.arms) for each in samples])
        yield plot("branches", "Branches of the model seen", "branches", [arms], seconds)
    found = [_found("all", now.snapshot.findings, seconds)]
    found.append(_found("natural", [f for f in now.snapshot.findings if f.natural], seconds))
    yield plot("findings", "Findings", "findings", found, seconds)
    if not samples:
        return
    speed = Curve("cases a second", list(_speeds(samples)))
    yield plot("speed", "Cases a second, all workers together", "cases a second", [speed], seconds)
    corpus = Curve("inputs", [(each.seconds, each.corpus) for each in samples])
    yield plot("corpus", "Inputs in the corpus", "inputs", [corpus], seconds)
    spoken = [each for each in samples if each.rss_mib]
    memory = Curve("memory", [(each.seconds, each.rss_mib) for each in spoken])
    yield plot("memory", "Memory of the largest worker", "MiB", [memory], seconds)


def _found(label: str, findings: Sequence[Finding], seconds: float) -> Curve:
    times = sorted(each.found_after_s for each in findings)
    steps = [(0.0, 0.0), *((at, float(number)) for number, at in enumerate(times, 1))]
    return Curve(label, [*steps, (max(seconds, steps[-1][0]), float(len(times)))], stepped=True)


def _speeds(samples: Sequence[Sample]) -> Iterator[tuple[float, float]]:
    """Between each sample and the next, told at the later one."""
    for before, after in pairwise(samples):
        if after.seconds > before.seconds:
            cases = max(after.cases - before.cases, 0)
            yield after.seconds, cases / (after.seconds - before.seconds)


def errnos(coverage: Coverage) -> tuple[str, ...]:
    """All under which a clause was put to the test; success first."""
    met = {each.errno for each in coverage.tested}
    return tuple(sorted(met, key=lambda errno: (errno != SUCCESS, errno)))


def runs_of(coverage: Coverage) -> dict[tuple[str, str], int]:
    """How many KVM_RUNs of the sample put a clause to the test under an errno."""
    runs: dict[tuple[str, str], int] = {}
    for each in coverage.tested:
        key = (each.clause, each.errno)
        runs[key] = runs.get(key, 0) + each.runs
    return runs


def marks(findings: Sequence[Finding]) -> dict[tuple[str, str], str]:
    """For a kernel and a clause: whether it is broken, and whether only by an injected error."""
    found: dict[tuple[str, str], str] = {}
    for each in findings:
        key = (each.kernel, each.clause)
        found[key] = NATURAL if each.natural else found.get(key, INJECTED)
    return found


def replay(entry: Entry) -> str:
    """What to type to see it."""
    return shlex.join(["gff", "run", str(entry.case), "--kernel", entry.shown.kernel])


def on(entry: Entry, most: int = 1) -> str:
    """The kernels that show it, the one whose case is shown first."""
    others = [each.kernel for each in entry.findings if each is not entry.shown]
    named = [entry.shown.kernel, *others[: most - 1]]
    more = len(entry.findings) - len(named)
    return f"{', '.join(named)} and {more} more" if more else ", ".join(named)


def each_once(words: Sequence[str]) -> str:
    """Different ones, in their order; "-" for none."""
    return ", ".join(dict.fromkeys(word or "-" for word in words))
