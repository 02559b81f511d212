"""A campaign's figures as OpenMetrics. The only module that imports prometheus_client."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from triage.ending import UserError
from triage.overview import Condition, Overview, overview, rate

_MIB: Final = 1 << 20


class CampaignCollector(Collector):
    """Reads a campaign's directory at each scrape."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """All figures; the one that says whether there are any is 0 where it cannot be read."""
        try:
            now = overview(self._directory)
        except UserError:
            return [_gauge("gff_readable", "Whether the campaign's directory can be read.", 0)]
        return [
            _gauge("gff_readable", "Whether the campaign's directory can be read.", 1),
            *_campaign(now),
            *_course(now),
            _workers_cases(now),
            _workers_memory(now),
            _findings(now),
            _clauses(now),
        ]


def registry(directory: str) -> CollectorRegistry:
    """The metrics of the campaign in that directory, and no others."""
    made = CollectorRegistry()
    made.register(CampaignCollector(directory))
    return made


@contextmanager
def served(address: str, port: int, directory: str) -> Iterator[str]:
    """Answers at that address while this lasts; its URL. OSError where it cannot be had."""
    server, thread = start_http_server(port, address, registry(directory))
    try:
        host = f"[{address}]" if ":" in address else address
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _gauge(name: str, says: str, value: float, unit: str = "") -> GaugeMetricFamily:
    return GaugeMetricFamily(name, says, value=value, unit=unit)


def _counter(name: str, says: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, says, value=value)


def _campaign(now: Overview) -> Iterator[Metric]:
    shot, settings = now.snapshot, now.configuration
    about = {
        "gff": settings.versions.gff,
        "unicorn": settings.versions.unicorn,
        "reading": settings.reading,
        "coverage": settings.coverage,
        "kernels": " ".join(settings.kernels),
    }
    yield InfoMetricFamily("gff_campaign", "What was asked for, and what does it.", value=about)
    running = now.condition is Condition.RUNNING
    yield _gauge("gff_running", "Whether the campaign is running.", running)
    yield _gauge("gff_age_seconds", "Age of the campaign, all runs together.", shot.seconds)
    yield _counter("gff_cases", "Cases executed.", shot.cases)
    yield _gauge("gff_branches", "Branches of the model seen.", shot.arms)
    yield _gauge("gff_branches_known", "Branches of the model.", shot.arms_known)
    yield _gauge("gff_questions", "Cases on which model and expectation differ.", shot.questions)
    crashes = "Cases on which gff itself crashed."
    yield _counter("gff_harness_crashes", crashes, shot.harness_crashes)
    yield _gauge("gff_denied_inputs", "Inputs that no worker is to run again.", shot.denied)
    yield _counter("gff_worker_restarts", "Workers started again.", shot.restarts)
    outside = "Of these, after somebody else had killed them."
    yield _counter("gff_worker_kills", outside, shot.killed)
    waiting = "Workers that died too often to be started again at once."
    yield _gauge("gff_workers_waiting", waiting, shot.waiting)
    yield _gauge("gff_damaged_files", "Files that are left out.", len(now.damaged))


def _course(now: Overview) -> Iterator[Metric]:
    latest = now.latest
    if latest is None or now.quiet_s is None:
        return
    yield _gauge("gff_corpus_inputs", "Inputs in the corpus.", latest.corpus)
    yield _gauge("gff_quiet_seconds", "Since the last new path.", now.quiet_s)
    yield _counter("gff_reruns", "Cases run again on a fresh machine.", latest.rerun)
    yield _counter("gff_reruns_differed", "Of these, with another outcome.", latest.differed)


def _workers_cases(now: Overview) -> Metric:
    made = GaugeMetricFamily(
        "gff_worker_cases_per_second", "Cases a second of a worker.", labels=["worker"]
    )
    for index, worker in now.workers:
        made.add_metric([str(index)], rate(worker))
    return made


def _workers_memory(now: Overview) -> Metric:
    made = GaugeMetricFamily(
        "gff_worker_resident_bytes", "Resident memory of a worker.", labels=["worker"]
    )
    for index, worker in now.workers:
        made.add_metric([str(index)], worker.rss_mib * _MIB)
    return made


def _findings(now: Overview) -> Metric:
    made = GaugeMetricFamily(
        "gff_finding_cases",
        "Cases that showed a finding.",
        labels=["signature", "clause", "kernel", "cause", "state"],
    )
    for each in now.snapshot.findings:
        cause = "natural" if each.natural else "injected"
        labels = [each.signature, each.clause, each.kernel, cause, each.state.value]
        made.add_metric(labels, each.count)
    return made


def _clauses(now: Overview) -> Metric:
    made = CounterMetricFamily(
        "gff_clause_runs",
        "KVM_RUNs of a sample of the cases that a clause was about.",
        labels=["clause"],
    )
    runs = dict.fromkeys(now.coverage.unasked, 0)
    for each in now.coverage.tested:
        runs[each.clause] = runs.get(each.clause, 0) + each.runs
    for clause, count in runs.items():
        made.add_metric([clause], count)
    return made
