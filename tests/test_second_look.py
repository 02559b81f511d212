"""What a build has found becomes a finding only where the source shows it as well."""

import errno
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from emu import text, wire
from emu.case import Case
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.directory.opening import create_store
from fuzz.directory.store import Store
from fuzz.guidance.coverage import Arms
from fuzz.guidance.feedback import Feedback
from fuzz.oracle.contract import Reading
from fuzz.oracle.signature import Signature
from fuzz.processes import SOURCE
from fuzz.search.recheck import Recheck
from fuzz.search.second_look import SecondLook
from fuzz.search.target import REFUTATIONS, Target
from tests.test_store import configuration
from tests.test_target import LEAK, LEAKING

HARMLESS: Final = "create mem0 size=0x1000 anon\nmemslot 0 gpa=0x0 size=0x1000 mem0+0x0\nrun\n"
DIED: Final = "the process that runs the source does not start, or dies of it"
THE_LEAK: Final = Signature("C2", "gmem_abort", natural=True)


class Denying(SecondLook):
    """Shows nothing of what is asked, or nothing of a case that was shrunk."""

    def __init__(self, *, only_small: bool) -> None:
        super().__init__(SOURCE)
        self.asked = 0
        self._only_small = only_small

    def objection(self, signature: Signature, case: Case, kernel: str, reading: Reading) -> str:
        self.asked += 1
        return "" if self._only_small and len(case.steps) > 5 else "not here"

    def difference(self, outcomes: Outcomes, case: Case, kernel: str) -> str:
        return "not here"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "campaign", configuration())


def target(store: Store, look: SecondLook) -> Target:
    kernels = {"v7.3": KERNELS["v7.3"]}
    feedback = Feedback(Arms())
    return Target(store, kernels, Reading.STRICT, feedback, lambda: 1.5, second_look=look)


@pytest.fixture
def look() -> Iterator[SecondLook]:
    with closing(SecondLook(SOURCE)) as look:
        yield look


def test_the_source_is_asked_case_by_case(look: SecondLook) -> None:
    leaking, harmless = text.load(LEAKING), text.load(HARMLESS)
    for _ in range(2):
        assert look.objection(THE_LEAK, leaking, "v7.3", Reading.STRICT) == ""
        for case, kernel in ((leaking, "clean"), (harmless, "v7.3")):
            told = look.objection(THE_LEAK, case, kernel, Reading.STRICT)
            assert told == "the source does not show it"


def test_outcomes_are_those_of_the_source_or_not(look: SecondLook) -> None:
    case, model = text.load(LEAKING), Model()
    for name in ("v7.3", "clean"):
        assert look.difference(model.run(case, KERNELS[name]), case, name) == ""
    told = look.difference(model.run(case, KERNELS["clean"]), case, "v7.3")
    assert told.startswith('compiled: {"runs":[{"step":')
    assert '\nsource: {"runs":[{"step":' in told


def test_a_sample_is_run_by_the_source_as_well(look: SecondLook) -> None:
    case, kernels = text.load(LEAKING), {"v7.3": KERNELS["v7.3"]}
    groups = {Model().run(case, KERNELS["v7.3"]): ["v7.3"]}
    recheck = Recheck(kernels, look)
    assert recheck.difference(case, groups) == ""
    disagreeing = Recheck(kernels, Denying(only_small=False))
    told = "v7.3 differs in compiled code:\nnot here"
    assert disagreeing.difference(case, groups) == told
    assert (recheck.rerun, recheck.differed) == (1, 0)
    assert (disagreeing.rerun, disagreeing.differed) == (1, 1)


def test_what_the_source_raises_is_told_and_the_process_goes_on(look: SecondLook) -> None:
    case = text.load(LEAKING)
    told = look.objection(THE_LEAK, case, "no-such-kernel", Reading.STRICT)
    assert told.startswith("Traceback")
    assert "KeyError: 'no-such-kernel'" in told
    before = process_of(look).pid
    assert look.objection(THE_LEAK, case, "v7.3", Reading.STRICT) == ""
    assert process_of(look).pid == before


def test_one_that_somebody_has_killed_is_started_again(look: SecondLook) -> None:
    case = text.load(LEAKING)
    for _ in range(2):
        assert look.objection(THE_LEAK, case, "v7.3", Reading.STRICT) == ""
        process_of(look).kill()
        process_of(look).wait()
    assert look.difference(Model().run(case, KERNELS["clean"]), case, "clean") == ""


def test_a_signal_to_all_processes_leaves_it_its_answer(look: SecondLook) -> None:
    case = text.load(LEAKING)
    assert look.objection(THE_LEAK, case, "v7.3", Reading.STRICT) == ""
    before = process_of(look)
    for each in (signal.SIGTERM, signal.SIGINT):
        before.send_signal(each)
    assert look.objection(THE_LEAK, case, "v7.3", Reading.STRICT) == ""
    assert process_of(look) is before


def test_one_that_dies_of_every_question_objects(tmp_path: Path) -> None:
    (tmp_path / "fuzz").mkdir()
    (tmp_path / "fuzz" / "__init__.py").write_text("raise SystemExit\n")
    with closing(SecondLook(tmp_path)) as look:
        told = look.objection(THE_LEAK, text.load(HARMLESS), "v7.3", Reading.STRICT)
    assert told == DIED


def test_one_that_cannot_be_started_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(subprocess, "Popen", no_memory)
    with closing(SecondLook(SOURCE)) as look:
        told = look.objection(THE_LEAK, text.load(HARMLESS), "v7.3", Reading.STRICT)
    assert told == DIED


def process_of(look: SecondLook) -> subprocess.Popen[bytes]:
    process = look._process
    assert process is not None
    return process


def test_what_the_source_shows_as_well_is_a_finding(store: Store, look: SecondLook) -> None:
    target(store, look).run(wire.encode(text.load(LEAKING)))
    (finding,) = store.findings()
    assert finding.name == LEAK
    assert finding.shrunk


def test_what_the_source_does_not_show_is_no_finding_and_not_asked_for_ever(store: Store) -> None:
    look = Denying(only_small=False)
    worker = target(store, look)
    for _ in range(REFUTATIONS + 3):
        worker.run(wire.encode(text.load(LEAKING)))
    assert store.findings() == []
    assert look.asked == worker.harness_crashes == REFUTATIONS
    (kept,) = store.harness.glob("*.bytes")
    assert text.dump(wire.decode(kept.read_bytes())) == text.dump(text.load(LEAKING))
    told = kept.with_suffix(".txt").read_text()
    assert told.startswith(f"{LEAK} in compiled code: not here\n")


def test_a_smaller_case_that_the_source_does_not_show_is_not_kept(store: Store) -> None:
    worker = target(store, Denying(only_small=True))
    worker.run(wire.encode(text.load(LEAKING)))
    (finding,) = store.findings()
    assert finding.smallest == text.dump(text.load(LEAKING))
    assert not finding.shrunk
    assert worker.harness_crashes == 1
