"""``gff live conform`` without a real kernel: another modelled one stands in for it."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import cycle

import msgspec
import pytest

from emu import text
from emu.access import Access
from emu.case import Case
from emu.kernels import KERNELS
from emu.live.console import Complaint, ConsoleFinding
from emu.live.fleet import Lost, Played, Result
from emu.live.unsupported import NO_EL2, NO_ERRORS, PAGES, Host, Unsupported, objection
from emu.model import Model
from emu.outcome import Outcomes
from emu.steps import Run
from tests.command import LEAK, Gff
from triage.conform import TIMES, Conformance
from triage.conform_cases import RandomCases, playable
from triage.conform_divergence import Kind, divergence, kind
from triage.conform_report import Complained, Conformed, Count, Ended, Explained
from triage.conform_report import Lost as LostCase
from triage.conformed import conformed
from triage.screen import show

HOST = Host("7.3.4", 0x1000, kvm=True, ipa_bits=48, zva=64, inert=frozenset({Access.DC_CVAC}))
MODEL = Model()
NOISE = "create mem3 size=0x1000 anon\nguest read8 0x50000000\nrun\nskip\n"


def on(kernel: str) -> Callable[[Case], Outcomes]:
    return lambda case: MODEL.run(case, KERNELS[kernel])


class StandIn:
    """Plays cases on ``expect``, but for those of which ``odd`` knows better."""

    def __init__(
        self,
        expect: Callable[[Case], Outcomes],
        odd: Callable[[Case], Result | None] = lambda _: None,
        complaints: tuple[ConsoleFinding, ...] = (),
    ) -> None:
        self.played = 0
        self._expect = expect
        self._odd = odd
        self._complaints = complaints

    def play(self, cases: Iterable[Case]) -> Iterator[Played]:
        for number, case in enumerate(cases):
            self.played += 1
            result = self._odd(case) or self._expect(case)
            yield Played(number, case, result, self._complaints)

    def one(self, case: Case) -> Played:
        (played,) = self.play([case])
        return played


def compared(stand_in: StandIn, *cases: str) -> Conformance:
    found = Conformance(stand_in, on("v7.3"))
    found.compare(map(text.load, cases), lambda _: None)
    return found


def test_the_same_kernel_differs_in_nothing() -> None:
    found = compared(StandIn(on("v7.3")), LEAK, NOISE)
    assert (found.tally.cases, found.tally.same, found.tally.pairs) == (2, 2, [])


def test_a_difference_is_shown_once_with_its_smallest_case() -> None:
    found = compared(StandIn(on("clean")), NOISE + LEAK, LEAK, NOISE)
    assert found.settle() == []
    (told,) = found.unexplained(lambda _: None)
    assert (told.count, told.case) == (2, LEAK)
    assert "ENOMEM MEMORY_FAULT" in told.model
    assert "EFAULT MEMORY_FAULT" in told.live
    assert told.model_lines != told.live_lines


def test_the_shrinker_asks_within_its_budget() -> None:
    stand_in = StandIn(on("clean"))
    found = compared(stand_in, NOISE * 10 + LEAK)
    found.unexplained(lambda _: None)
    assert stand_in.played <= 1 + 250 + TIMES


def test_a_case_that_comes_to_something_else_each_time_is_told_apart() -> None:
    kernels = cycle(("clean", "v7.3"))

    def fickle(case: Case) -> Outcomes:
        return on(next(kernels))(case)

    found = compared(StandIn(fickle), LEAK)
    (told,) = found.settle()
    assert told.case == LEAK
    assert len(told.live_lines) == 2
    assert found.tally.pairs == []


def test_a_case_that_is_lost_when_it_is_played_again_is_told_with_the_reason() -> None:
    results = iter((None, Lost("gone")))
    found = compared(StandIn(on("clean"), lambda _: next(results, None)), LEAK)
    (told,) = found.settle()
    assert told.case == LEAK
    assert found.tally.lost == [(text.load(LEAK), "gone")]
    assert found.tally.pairs == []


def test_what_is_lost_or_unsupported_is_no_difference() -> None:
    odd: dict[str, Result] = {LEAK: Lost("gone"), NOISE: Unsupported("never", 1)}
    found = compared(StandIn(on("v7.3"), lambda case: odd[text.dump(case)]), LEAK, NOISE)
    assert found.tally.lost == [(text.load(LEAK), "gone")]
    assert found.tally.unsupported == Counter({"never": 1})
    assert found.tally.pairs == []


def test_a_complaint_of_the_kernel_is_kept_with_its_case() -> None:
    line = ConsoleFinding(Complaint.WARN, "WARNING: a test")
    found = compared(StandIn(on("v7.3"), complaints=(line,)), LEAK)
    assert found.tally.complaints == [(text.load(LEAK), line)]


def test_the_first_difference_is_told_without_its_addresses() -> None:
    case = text.load(LEAK)
    found = divergence(case, on("v7.3")(case), on("clean")(case))
    assert found is not None
    assert kind(case, found) == Kind(
        "run at read64",
        "-1 ENOMEM MEMORY_FAULT gpa size flags=0x0",
        "-1 EFAULT MEMORY_FAULT gpa size flags=0x0",
    )


def test_what_describe_does_not_say_is_a_difference_too() -> None:
    case = text.load(LEAK)
    model = on("v7.3")(case)
    run = msgspec.structs.replace(model.runs[0], before=6)
    found = divergence(case, model, msgspec.structs.replace(model, runs=(run,)))
    assert found is not None
    assert kind(case, found).live == "the same but for before"


def test_that_an_error_was_injected_is_nothing_that_a_live_machine_can_tell() -> None:
    case = text.load(LEAK)
    model = on("v7.3")(case)
    run = msgspec.structs.replace(model.runs[0], injected=True)
    assert divergence(case, model, msgspec.structs.replace(model, runs=(run,))) is None


def test_random_cases_are_playable_have_a_run_and_come_again_with_their_seed() -> None:
    def some(seed: int) -> list[Case]:
        source = RandomCases([text.load(LEAK)], HOST, random.Random(seed))  # noqa: S311 - a seed
        found = []
        for _ in range(300):
            found.append(source.draw())
            source.learn(found[-1], on("v7.3")(found[-1]))
        assert sum(source.left_out.values()) > 0
        return found

    first = some(1)
    assert all(objection(case, HOST) is None for case in first)
    assert all(any(isinstance(step, Run) for step in case.steps) for case in first)
    assert first == some(1) != some(2)


def test_random_cases_of_nested_guests_are_all_so() -> None:
    host = replace(HOST, nested=True)
    source = RandomCases([text.load(LEAK)], host, random.Random(1), nested=True)  # noqa: S311 - a seed
    assert all(source.draw().vm.nested for _ in range(100))


def test_what_a_host_cannot_do_is_taken_out_and_counted() -> None:
    left_out: Counter[str] = Counter()
    case = text.load(f"vm page-size=64k\nguest dc-cvac 0x0\n{LEAK}")
    assert text.dump(playable(case, HOST, left_out)) == LEAK
    assert sum(left_out.values()) == 2


REPORT = Conformed(
    image="debian-7.3",
    linux="7.3.4",
    kernel="v7.3",
    seed=1,
    boxes=3,
    nested=False,
    inject=False,
    ended=Ended.COMPLETE,
    planned=10,
    corpus=8,
    seconds=2.0,
    restarts=0,
    cases=10,
    same=9,
    unexplained=(),
    explained=(Explained("charged-objects", "why", 1, LEAK),),
    undetermined=(),
    lost=(),
    complaints=(),
    unsupported=(Count("never", 2),),
    left_out=(),
)


def test_what_is_explained_is_shown_and_leaves_the_report_clean(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show(conformed(REPORT))
    page = capsys.readouterr().out
    assert page.startswith("1 case explained, charged-objects: why\n    create gmem0")
    assert "v7.3 and debian-7.3, Linux 7.3.4: no unexplained difference" in page
    assert "unsupported   2\n                2  never" in page


def test_a_report_that_is_not_whole_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    changed = msgspec.structs.replace
    show(conformed(changed(REPORT, ended=Ended.INTERRUPTED, cases=3, planned=1008)))
    page = " ".join(capsys.readouterr().out.split())  # a narrow terminal folds it
    assert "no unexplained difference so far played 3 of 1,008 cases in" in page
    assert "ended interrupted: 5 of the 8 cases of the corpus not played" in page
    show(conformed(changed(REPORT, ended=Ended.TIME_OVER, planned=None)))
    page = capsys.readouterr().out
    assert "no unexplained difference\n" in page
    assert "played        10 cases in" in page
    assert "ended         time over\n" in page


# The option that is given, why cases were not played, and what is said to play them.
HINTS = [
    ("", NO_EL2, " (--nested plays them)"),
    ("nested", NO_EL2, ""),
    ("", NO_ERRORS, " (--inject plays them)"),
    ("inject", NO_ERRORS, ""),
    ("", f"{PAGES} 4 KiB, those of the case 16", " (an image with 16K pages can: debian-7.3-16k)"),
    ("", f"{PAGES} 4 KiB, those of the case 64", ""),
    ("", "never", ""),
]


@pytest.mark.parametrize(("given", "reason", "hint"), HINTS)
def test_what_would_play_the_other_cases_is_named(
    given: str, reason: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    unsupported = (Count(reason, 2),)
    options = {given: True} if given else {}
    show(conformed(msgspec.structs.replace(REPORT, unsupported=unsupported, **options)))
    page = " ".join(capsys.readouterr().out.split())  # a narrow terminal folds it
    assert f"2 {reason}{hint} left out" in page


UNCLEAN = [
    msgspec.structs.replace(REPORT, lost=(LostCase(LEAK, "gone"),)),
    msgspec.structs.replace(REPORT, complaints=(Complained("WARN", "WARNING: x", LEAK),)),
]


@pytest.mark.parametrize("report", UNCLEAN)
def test_a_lost_case_and_a_complaint_are_to_be_looked_into(
    report: Conformed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not report.clean
    show(conformed(report))
    assert capsys.readouterr().out.count("to be looked into") == 1


def test_wrong_numbers_and_kernels_are_said_in_one_line(call: Gff) -> None:
    assert call("live", "conform", "--cases", "x").status == 2
    ended = call("live", "conform", "--kernel", "v9.9")
    assert ended.status == 2
    assert "unknown kernel 'v9.9'" in ended.err
