"""``gff triage confirm`` without a real kernel: a modelled one stands in for it."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from emu.case import Case
from emu.kernels import KERNELS
from emu.live.console import Complaint, ConsoleFinding
from emu.live.trouble import BoxError
from emu.live.unsupported import PAGES, Host, Unsupported
from emu.model import Model
from fuzz.directory.finding import Confirmation, State, confirmed, merged
from tests.command import Gff, campaign, finding
from triage import confirmed as page
from triage.commands import confirm as command
from triage.confirm import Answer, Seen, Subject
from triage.ending import UserError
from triage.observation import Injector
from triage.screen import show

NAME = "C2-gmem_abort-natural"
TOLD = Confirmation("debian-7.3", "7.3.4", 9, 10)


class StandIn:
    """A live machine of that version, on which cases come to what they do on that kernel."""

    def __init__(self, kernel: str, version: str = "7.3.4", lost: int = 0) -> None:
        self.host = Host(version, 0x1000, kvm=True, ipa_bits=48, zva=64)
        self._kernel = KERNELS[kernel]
        self._lost = lost

    def run(self, case: Case) -> Answer:
        if self._lost:
            self._lost -= 1
            raise BoxError("gone")
        return Model().run(case, self._kernel)

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        return ()


class Complaining(StandIn):
    def complaints(self) -> tuple[ConsoleFinding, ...]:
        return (ConsoleFinding(Complaint.WARN, "WARNING: at \x1b[2J"),)


class Unable(StandIn):
    def run(self, case: Case) -> Answer:
        return Unsupported("never", 0)


CONFIRMED = [
    #  the live kernel, its version, times lost    shown  observed
    (StandIn("v7.3"), 10, True),
    (StandIn("v7.3", lost=4), 6, True),
    (StandIn("clean"), 0, False),
    # It shows what the model of another version shows.
    (StandIn("v7.3", "7.2.12"), 10, False),
    (StandIn("v7.3", "weird"), 10, False),
]


@pytest.mark.parametrize(("machine", "shown", "observed"), CONFIRMED)
def test_a_finding_is_observed_where_its_own_kernel_shows_it(
    machine: StandIn, shown: int, observed: bool
) -> None:
    told = Subject(finding(NAME, "v7.3", 1)).confirm(machine, "an-image", 10)
    assert told.confirmation == Confirmation("an-image", machine.host.kernel, shown, 10)
    assert told.observed == observed
    assert sum(each.count for each in told.seen) == 10


def test_another_tuple_is_shown_beside_the_models() -> None:
    subject = Subject(finding(NAME, "v7.3", 1))
    assert subject.outcome == "-1 ENOMEM MEMORY_FAULT"
    told = subject.confirm(StandIn("clean"), "an-image", 3)
    assert told.seen == (Seen("-1 EFAULT MEMORY_FAULT", 3),)


def test_what_the_kernel_says_meanwhile_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    subject = Subject(finding(NAME, "v7.3", 1))
    told = subject.confirm(Complaining("clean"), "an-image", 1)
    show(page.confirmed(subject.finding, subject.outcome, [told]))
    assert "an-image: console: WARN: WARNING: at \\x1b[2J" in capsys.readouterr().out


@pytest.mark.parametrize(("machine", "status"), [(StandIn("clean"), 0), (Complaining("clean"), 1)])
def test_what_the_kernel_says_meanwhile_is_a_finding_of_its_own(
    machine: StandIn, status: int, call: Gff, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(Path("campaign"), finding(NAME, "v7.3", 1))
    monkeypatch.setattr(command, "live_machine", lambda *_: nullcontext(machine))
    assert call("triage", "confirm", NAME, "--live", "an-image").status == status


def test_what_injects_errors_can_be_chosen(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def start(_image: str, _cases: object, by: object) -> nullcontext[StandIn]:
        asked.append(by)
        return nullcontext(StandIn("v7.3"))

    campaign(Path("campaign"), finding(NAME, "v7.3", 1))
    monkeypatch.setattr(command, "live_machine", start)
    words = ("triage", "confirm", NAME, "--live", "an-image")
    assert call(*words).status == call(*words, "--inject", "debugfs").status == 1
    assert asked == [Injector.BREAKPOINT, Injector.DEBUGFS]
    ended = call(*words, "--inject", "prayer")
    assert (ended.status, len(asked)) == (2, 2)
    assert ended.err.startswith("gff: unknown injector 'prayer'")


def test_a_case_that_cannot_be_played_confirms_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    subject = Subject(finding(NAME, "v7.3", 1))
    told = subject.confirm(Unable("v7.3"), "an-image", 10)
    assert not told.observed
    assert told.unsupported == "step 1: never"
    show(page.confirmed(subject.finding, subject.outcome, [told]))
    out = capsys.readouterr().out
    assert "unsupported: step 1: never" in out
    assert out.endswith("an-image: not played\nstate: claim\n")


def test_an_image_that_could_play_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    subject = Subject(finding(NAME, "v7.3", 1))
    told = subject.confirm(Unable("v7.3"), "an-image", 1)
    large = replace(told, unsupported=f"{PAGES} 4 KiB, those of the case 16")
    show(page.confirmed(subject.finding, subject.outcome, [large]))
    hint = "an-image: not played (an image with 16K pages can: debian-7.3-16k)\n"
    assert hint in capsys.readouterr().out


@pytest.mark.parametrize(("signature", "kernel"), [(NAME, "clean"), (NAME, "v0.1")])
def test_what_the_model_does_not_show_is_no_subject(signature: str, kernel: str) -> None:
    with pytest.raises(UserError, match=kernel):
        Subject(finding(signature, kernel, 1))


def test_a_confirmation_is_kept_and_a_later_one_of_the_same_kernel_replaces_it(
    tmp_path: Path,
) -> None:
    claim = finding(NAME, "v7.3", 1)
    store = campaign(tmp_path / "campaign", claim)
    store.confirm(claim.name, TOLD, observed=False)
    assert store.findings()[0].state is State.CLAIM
    again = Confirmation(TOLD.image, TOLD.linux, 10, 10)
    store.confirm(claim.name, again, observed=True)
    (kept,) = store.findings()
    assert (kept.state, kept.confirmations) == (State.OBSERVED, (again,))


def test_a_new_sighting_of_an_observed_finding_forgets_nothing() -> None:
    claim = finding(NAME, "v7.3", 1)
    known = confirmed(claim, TOLD, observed=True)
    for both in (merged(known, claim), merged(claim, known)):
        assert (both.state, both.confirmations) == (State.OBSERVED, (TOLD,))


def test_the_finding_says_where_it_was_shown_and_how_often(call: Gff) -> None:
    claim = finding(NAME, "v7.3", 1)
    campaign(Path("campaign"), claim).confirm(claim.name, TOLD, observed=True)
    ended = call("triage", "show", NAME)
    assert "9 of 10 times on debian-7.3, Linux 7.3.4" in ended.out
    assert "observed" in ended.out.splitlines()[0]


def test_without_an_image_it_is_asked_for(call: Gff) -> None:
    campaign(Path("campaign"), finding(NAME, "v7.3", 1))
    ended = call("triage", "confirm", NAME)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "gff: --live IMAGE is missing: which kernels are to play it?\n"
