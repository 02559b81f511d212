"""A campaign's figures as OpenMetrics: valid, complete, and served where one asks for it."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.campaigns import Past, running
from tests.command import Gff, campaign, finding
from triage.ending import UserError
from triage.endpoint import Endpoint, endpoint

pytest.importorskip("prometheus_client", reason="prometheus_client is not installed here")

from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import (
    CONTENT_TYPE_LATEST,
    generate_latest,
)
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families,
)

from triage.metrics import registry, served

DOCS: Final = Path(__file__).parents[1] / "docs" / "status.md"


def parsed(text: str) -> dict[str, Metric]:
    families: Iterator[Metric] = text_string_to_metric_families(  # type: ignore[no-untyped-call]
        text  # the parser has no annotations
    )
    return {family.name: family for family in families}


def exposed(directory: str) -> str:
    """What a scraper would get."""
    content: bytes = generate_latest(registry(directory))  # type: ignore[no-untyped-call] # nor this
    return content.decode()


@pytest.fixture
def some(tmp_path: Path) -> Iterator[str]:
    """A campaign of two workers that runs."""
    leak = finding("C2-gmem_abort-natural", "v7.3", 30.0, count=5)
    with running(tmp_path / "some", Past(restarts=2, waiting=1), leak) as store:
        store.record_death("hung-0", b"", "hung")
        yield str(tmp_path / "some")


def test_every_metric_is_valid_and_has_its_value(some: str) -> None:
    found = parsed(exposed(some))
    value = {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in found.values()
        for sample in family.samples
    }
    assert value["gff_readable",] == value["gff_running",] == 1
    assert value["gff_cases_total",] == 7_200_000
    assert value["gff_worker_restarts_total",] == 2
    assert value["gff_workers_waiting",] == value["gff_denied_inputs",] == 1
    assert value["gff_harness_crashes_total",] == 0
    assert value["gff_worker_cases_per_second", "1"] == 1000
    assert value["gff_worker_resident_bytes", "1"] == 91 << 20
    assert value["gff_clause_runs_total", "C1"] == 14
    assert value["gff_clause_runs_total", "C3"] == 0
    leak = ("gff_finding_cases", "natural", "C2", "v7.3", "C2-gmem_abort-natural", "claim")
    assert value[leak] == 5


def test_the_documentation_names_every_metric_and_no_other(some: str) -> None:
    text = exposed(some)
    named = set(re.findall(r"`(gff_\w+)", DOCS.read_text(encoding="utf-8")))
    assert named == set(re.findall(r"^(gff_\w+)", text, re.MULTILINE))


def test_a_campaign_that_is_not_there_yet_is_told_as_such(tmp_path: Path) -> None:
    found = parsed(exposed(str(tmp_path / "absent")))
    assert list(found) == ["gff_readable"]
    assert found["gff_readable"].samples[0].value == 0


def test_a_campaign_without_samples_has_fewer_figures(tmp_path: Path) -> None:
    campaign(tmp_path / "new")
    found = parsed(exposed(str(tmp_path / "new")))
    assert "gff_cases" in found
    assert "gff_quiet_seconds" not in found


def test_a_scraper_gets_openmetrics_over_http(some: str) -> None:
    with served("127.0.0.1", 0, some) as url:
        where = urlsplit(url)
        with closing(HTTPConnection(str(where.hostname), where.port, timeout=5)) as scraper:
            scraper.request("GET", where.path, headers={"Accept": CONTENT_TYPE_LATEST})
            answer = scraper.getresponse()
            kind, text = answer.getheader("Content-Type", ""), answer.read().decode()
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert "gff_cases" in parsed(text)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((where.hostname, where.port), timeout=5)


ENDPOINTS: Final = [
    ("9090", Endpoint("127.0.0.1", 9090)),
    ("10.0.0.1:9090", Endpoint("10.0.0.1", 9090)),
    ("[::1]:0", Endpoint("::1", 0)),
    ("here.example:65535", Endpoint("here.example", 65535)),
]


@pytest.mark.parametrize(("text", "where"), ENDPOINTS)
def test_an_endpoint_is_a_port_or_an_address_and_a_port(text: str, where: Endpoint) -> None:
    assert endpoint(text) == where


REFUSED: Final = ["", "x", ":9090", "1:x", "65536", "9" * 5000, "-1", "²", "localhost:"]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected a port or ADDRESS:PORT"):
        endpoint(text)


@pytest.mark.parametrize("text", ["127.0.0.1:{port}", "{port}"])
def test_a_port_that_is_taken_is_one_line(call: Gff, some: str, text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = text.format(port=taken.getsockname()[1])
        ended = call("status", some, "--metrics", where)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == f"gff: --metrics {where}: Address already in use\n"
