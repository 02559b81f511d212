"""What a build has found becomes a finding only where the source shows it as well."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from emu import text, wire
from emu.case import Case
from emu.kernels import KERNELS
from fuzz.directory.opening import create_store
from fuzz.directory.store import Store
from fuzz.guidance.coverage import Arms
from fuzz.guidance.feedback import Feedback
from fuzz.oracle.contract import Reading
from fuzz.oracle.signature import Signature
from fuzz.processes import SOURCE
from fuzz.search.second_look import SecondLook
from fuzz.search.target import Target
from tests.test_store import configuration
from tests.test_target import LEAK, LEAKING

HARMLESS: Final = "create mem0 size=0x1000 anon\nmemslot 0 gpa=0x0 size=0x1000 mem0+0x0\nrun\n"
THE_LEAK: Final = Signature("C2", "gmem_abort", natural=True)


class Denying(SecondLook):
    """Shows nothing of what is asked, or nothing of a case that was shrunk."""

    def __init__(self, *, only_small: bool) -> None:
        super().__init__(SOURCE)
        self.asked = 0
        self._only_small = only_small

    def shows(self, signature: Signature, case: Case, kernel: str, reading: Reading) -> bool:
        self.asked += 1
        return self._only_small and len(case.steps) > 5


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
    for _ in range(2):
        assert look.shows(THE_LEAK, text.load(LEAKING), "v7.3", Reading.STRICT)
        assert not look.shows(THE_LEAK, text.load(LEAKING), "clean", Reading.STRICT)
        assert not look.shows(THE_LEAK, text.load(HARMLESS), "v7.3", Reading.STRICT)


def test_one_that_dies_is_started_again(look: SecondLook) -> None:
    with pytest.raises(RuntimeError, match="the source has died"):
        look.shows(THE_LEAK, text.load(HARMLESS), "no-such-kernel", Reading.STRICT)
    assert look.shows(THE_LEAK, text.load(LEAKING), "v7.3", Reading.STRICT)


def test_what_the_source_shows_as_well_is_a_finding(store: Store, look: SecondLook) -> None:
    target(store, look).run(wire.encode(text.load(LEAKING)))
    (finding,) = store.findings()
    assert finding.name == LEAK
    assert finding.shrunk


def test_what_the_source_does_not_show_is_no_finding_and_asked_once(store: Store) -> None:
    look = Denying(only_small=False)
    worker = target(store, look)
    for _ in range(3):
        worker.run(wire.encode(text.load(LEAKING)))
    assert store.findings() == []
    assert look.asked == 1
    assert worker.harness_crashes == 1
    (kept,) = store.harness.glob("*.bytes")
    assert text.dump(wire.decode(kept.read_bytes())) == text.dump(text.load(LEAKING))
    told = kept.with_suffix(".txt").read_text()
    assert told.startswith(f"the compiled code shows {LEAK}, the source does not")


def test_a_smaller_case_that_the_source_does_not_show_is_not_kept(store: Store) -> None:
    worker = target(store, Denying(only_small=True))
    worker.run(wire.encode(text.load(LEAKING)))
    (finding,) = store.findings()
    assert finding.smallest == text.dump(text.load(LEAKING))
    assert not finding.shrunk
    assert worker.harness_crashes == 1
