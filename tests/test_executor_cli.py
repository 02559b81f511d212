"""``gff run --live``: what it says without a machine, and what it shows of an observation."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from emu.case import Case
from emu.kernels import KERNELS
from emu.live.console import ConsoleFinding
from emu.live.unsupported import Host
from emu.model import Model
from emu.outcome import Outcomes
from tests.command import Gff
from triage.case_input import read_case
from triage.observation import Broken, Observation, observation
from triage.observed import observed
from triage.replay import Difference
from triage.screen import show

SEEN = Observation(
    file="leak.case",
    image="debian-7.3",
    linux="7.3.4+deb13-cloud-arm64",
    kernel="v7.3",
    unsupported="",
    observed=("run 1: 0 MMIO doorbell",),
    broken=False,
    differences=(),
    complaints=(),
)


class Silent:
    """A machine of Linux 7.3 that has nothing to say."""

    host = Host("7.3.4", 0x1000, kvm=True, ipa_bits=48, zva=64)

    def run(self, case: Case) -> Outcomes:
        return Model().run(case, KERNELS["v7.3"])

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        return ()


def test_an_image_that_is_not_here_is_said_in_one_line(
    call: Gff, leak: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ended = call("run", str(leak), "--live", "debian-0.1")
    assert (ended.status, ended.out) == (3, "")
    assert ended.err.count("\n") == 1
    assert "debian-0.1 is not in the cache: gff live fetch debian-0.1 --suite NAME" in ended.err


def test_why_a_clause_is_broken_is_told_beside_its_run(leak: Path) -> None:
    given = read_case(str(leak))
    outcomes = Model().run(given.case, KERNELS["v7.3"])
    seen = observation(Silent(), "an-image", given, outcomes)
    assert seen.observed[0].endswith(" ! C2")
    assert [(each.line, each.clause) for each in seen.breaches] == [(0, "C2")]
    assert "ENOMEM" in seen.breaches[0].reason


@pytest.mark.parametrize("option", [["--kernel", "clean"], ["--trace"], ["--reading", "paranoid"]])
def test_live_goes_without_what_is_the_models(call: Gff, leak: Path, option: list[str]) -> None:
    ended = call("run", str(leak), "--live", "debian-7.3", *option)
    assert ended.status == 2
    assert ended.err == "gff: --live goes without --kernel, --trace and another reading\n"


@pytest.mark.parametrize("command", [["run"], ["corpus", "check"]])
def test_what_injects_is_asked_of_a_real_kernel_only(
    call: Gff, leak: Path, command: list[str]
) -> None:
    ended = call(*command, str(leak), "--inject", "debugfs")
    assert ended.status == 2
    assert ended.err == "gff: --inject goes with --live: the model injects by itself\n"
    ended = call(*command, str(leak), "--live", "debian-7.3", "--inject", "debug-fs")
    assert ended.status == 2
    assert "debugfs" in ended.err


def test_a_bad_case_is_told_before_any_machine_is_started(call: Gff, tmp_path: Path) -> None:
    bad = tmp_path / "bad.case"
    bad.write_text("runn\n")
    assert call("run", str(bad), "--live", "debian-7.3").status == 2


DIFFERENT = """\
  observed  run 1: 0 MMIO doorbell
The file expects of v7.3 something else (-) than was observed (+):
- run 1: -1 EIO UNKNOWN
+ run 1: 0 MMIO doorbell
"""

PAGES = [
    #  what differs from SEEN                    what is shown below the title
    (SEEN, "  observed  run 1: 0 MMIO doorbell\nAs the file expects of v7.3.\n"),
    (
        Observation("leak.case", SEEN.image, SEEN.linux, "", "step 1: no", (), False, (), ()),
        "unsupported: step 1: no\n",
    ),
    (
        Observation(
            "leak.case", SEEN.image, SEEN.linux, "v7.3", "", SEEN.observed, False,
            (Difference("run 1: -1 EIO UNKNOWN", "run 1: 0 MMIO doorbell"),), (),
        ),
        DIFFERENT,
    ),
    (
        replace(SEEN, kernel="", observed=("run 1: 0 X ! C4",), breaches=(Broken(0, "C4", "it"),)),
        "  observed  run 1: 0 X ! C4\n            C4 broken: it\n",
    ),
    (
        replace(SEEN, complaints=("WARN: WARNING: at \x1b[2J",)),
        ("  observed  run 1: 0 MMIO doorbell\n"
        "  console   WARN: WARNING: at \\x1b[2J\nAs the file expects of v7.3.\n"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("observation", "page"), PAGES)
def test_an_observation_is_shown_with_the_word_and_the_comparison(
    observation: Observation, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(observed(observation))
    title = "leak.case on debian-7.3, Linux 7.3.4+deb13-cloud-arm64\n"
    assert capsys.readouterr().out == title + page
