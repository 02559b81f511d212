"""Guests with EL2 on a real kernel: the VNCR leak, S1 and S3, and what KVM says of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emu import casefile
from emu.expectation import ExpectedLine, ExpectedRun, expected_lines
from emu.live import box
from emu.live.machine import LiveMachine
from emu.live.needs import Needs
from emu.outcome import Outcomes, describe
from tests.live_boxes import cached_image, executor

pytestmark = pytest.mark.live

CORPUS = Path(__file__).parent.parent / "corpus"
NESTED = (
    "vncr-released",  # (0, -, 39)
    "vncr-poisoned",
    "vncr-memory-limit",
    "vncr-unmapped",
    "l2-released",  # S1
    "l2-poisoned",
    "l2-permission",
    "l2-old",
    "l2-old-hardware-af",
    "l2-vttbr-no-slot",  # S3
    "l2-vtcr-illegal",
    "l2-table-no-slot",
)


@pytest.fixture(scope="module")
def machine() -> Iterator[LiveMachine]:
    with box.start(cached_image(nested=True), executor(), Needs(nested=True)) as started:
        yield LiveMachine(started)


@pytest.mark.parametrize("name", NESTED)
def test_a_nested_case_gives_what_its_file_says(machine: LiveMachine, name: str) -> None:
    file = casefile.load((CORPUS / "nested" / f"{name}.case").read_text(), name)
    expected = file.expected_of("v7.3")
    assert expected is not None
    told = machine.run(file.case)
    assert isinstance(told, Outcomes), str(told)
    assert expected_lines(told, {}) == tuple(unjudged(line) for line in expected.lines)


def unjudged(line: ExpectedLine) -> ExpectedLine:
    """Without the clauses: the judge has tests of its own."""
    return replace(line, clauses=()) if isinstance(line, ExpectedRun) else line


def test_a_guest_without_el2_runs_beside_those_that_have_it(machine: LiveMachine) -> None:
    told = machine.run(casefile.load("guest read64 0x50000000\nrun\n", "plain").case)
    assert isinstance(told, Outcomes)
    assert describe(told.runs[0]) == "0 MMIO gpa=0x50000000 len=8 read"
