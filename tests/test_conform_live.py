"""The model and a real kernel side by side, the corpus, and the leak confirmed: in real boxes."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from emu import text
from emu.case import Case
from emu.live import debian
from emu.live.fleet import Fleet
from emu.live.needs import Needs
from emu.live.pool import Pool
from emu.live.unsupported import Unsupported
from emu.outcome import Outcomes
from fuzz.directory.finding import Confirmation, Finding, State
from tests.command import LEAK, Gff, campaign, finding
from tests.live_boxes import cached_image, executor
from triage.conform_cases import RandomCases
from triage.conform_report import Conformed
from triage.corpus_live import LiveChecked

pytestmark = pytest.mark.live

LIMIT = 75.0


class Confirmed(msgspec.Struct):
    """What is wanted of what ``confirm --json`` prints."""

    finding: Finding
    model: str


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with Pool(cached_image(), executor(), Needs(), boxes=2, limit=LIMIT) as pool:
        yield Fleet(pool)


def random_cases(fleet: Fleet, number: int) -> list[Case]:
    source = RandomCases(
        [text.load(LEAK)],
        fleet.host,
        Random(7),  # noqa: S311 - a seed, so that a failure can be repeated
    )
    return [source.draw() for _ in range(number)]


def test_every_case_is_played_once_and_told_with_its_number(fleet: Fleet) -> None:
    cases = random_cases(fleet, 200)
    played = sorted(fleet.play(cases), key=lambda each: each.number)
    assert [each.case for each in played] == cases
    assert [each.number for each in played] == list(range(200))
    assert all(isinstance(each.result, Outcomes) for each in played)


def test_what_no_stock_kernel_can_do_is_told_apart_wherever_it_stands(fleet: Fleet) -> None:
    cannot = text.load("fail kvm_gmem_get_pfn EIO\nrun\n")
    cases = [cannot, text.load(LEAK), cannot]
    played = sorted(fleet.play(cases), key=lambda each: each.number)
    kinds = [type(each.result) for each in played]
    assert kinds == [Unsupported, Outcomes, Unsupported]


def test_a_comparison_that_is_given_up_leaves_no_answers_to_the_next(fleet: Fleet) -> None:
    some = fleet.play(random_cases(fleet, 50))
    next(some)
    some.close()
    assert fleet.one(text.load(LEAK)).case == text.load(LEAK)


def test_the_corpus_is_what_the_kernel_does(call: Gff) -> None:
    cached_image()
    executor()
    ended = call("corpus", "check", "--live", debian.DEFAULT, "--json")
    assert ended.err == ""
    checked = msgspec.json.decode(ended.out, type=LiveChecked)
    assert (checked.mismatches, checked.lost) == ((), ())
    assert checked.played > 300
    assert checked.files == checked.played + len(checked.unsupported) + len(checked.silent)


def test_a_short_comparison_finds_nothing_unexplained(call: Gff) -> None:
    cached_image()
    executor()
    ended = call("live", "conform", "--cases", "300", "--seed", "1", "--json")
    assert ended.status in (0, 1), ended.err
    report = msgspec.json.decode(ended.out, type=Conformed)
    assert (report.unexplained, report.lost, report.complaints) == ((), (), ())
    assert report.same > 500
    assert report.explained  # the memory limit is met in so many cases


def test_the_leak_is_confirmed_and_stays_so(call: Gff) -> None:
    cached_image()
    executor()
    claim = finding("C2-gmem_abort-natural", "v7.3", 1)
    store = campaign(Path("campaign"), claim)
    ended = call("triage", "confirm", claim.signature, "--live", debian.DEFAULT, "--json")
    assert ended.status == 1, ended.err
    told = msgspec.json.decode(ended.out, type=Confirmed)
    assert told.model == "-1 ENOMEM MEMORY_FAULT"
    assert told.finding.state is State.OBSERVED
    (kept,) = store.findings()
    assert kept == told.finding
    (confirmation,) = kept.confirmations
    assert confirmation == Confirmation(debian.DEFAULT, confirmation.linux, 10, 10)


def test_the_leak_is_seen_on_the_command_line(call: Gff, leak: Path) -> None:
    cached_image()
    executor()
    ended = call("run", str(leak), "--live", debian.DEFAULT)
    assert ended.status == 1
    assert "run 1: -1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0" in ended.out
