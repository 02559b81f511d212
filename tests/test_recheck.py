"""A sample of cases is run again, and what comes out otherwise is a mistake of ours."""

from pathlib import Path

import pytest

from emu import text, wire
from emu.case import Case
from emu.kernels import KERNELS
from emu.kernels.releases import V73
from emu.kvm.kvm_main import Kernel
from emu.kvm.state import Vcpu
from emu.model import Model
from fuzz.directory.opening import create_store
from fuzz.guidance.coverage import Arms
from fuzz.guidance.feedback import Feedback
from fuzz.oracle.contract import Reading
from fuzz.search import recheck
from fuzz.search.recheck import FRESH, Recheck
from fuzz.search.target import Target
from tests.test_store import configuration
from tests.test_target import LEAKING

CASE = text.load(LEAKING)


class Forgetful(V73):
    """A model with a mistake of ours in it: what a KVM_RUN says depends on those of other cases."""

    def __init__(self) -> None:
        self._calls = 0

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        self._calls += 1
        return super().kvm_vcpu_ioctl_run(vcpu) if self._calls % 4 else -5


KERNEL: Kernel = KERNELS["v7.3"]


def run(case: Case) -> Recheck:
    kernels = {"v7.3": KERNEL, "clean": KERNELS["clean"]}
    model = Model()
    groups = {model.run(case, kernel): [name] for name, kernel in kernels.items()}
    again = Recheck(kernels)
    for _ in range(FRESH + 2):
        assert again.difference(case, groups) == ""
    return again


def test_the_same_case_comes_out_the_same_on_another_machine() -> None:
    again = run(CASE)
    assert (again.rerun, again.differed) == (FRESH + 2, 0)


def test_kernels_that_were_wrongly_taken_for_alike_are_told() -> None:
    kernels = {"v7.3": KERNEL, "clean": KERNELS["clean"]}
    again = Recheck(kernels)
    shared = {Model().run(CASE, KERNEL): ["v7.3", "clean"]}
    said = [again.difference(CASE, shared) for _ in range(2)]
    assert said[0] == ""
    assert said[1].startswith("clean differs:\nrun 2: first -1 ENOMEM MEMORY_FAULT")
    assert again.differed == 1


def test_a_case_that_comes_out_otherwise_is_kept_as_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recheck, "EVERY", 1)
    store = create_store(tmp_path / "c", configuration())
    kernels = {"forgetful": Forgetful()}
    target = Target(store, kernels, Reading.STRICT, Feedback(Arms()), lambda: 0.0)
    target.run(wire.encode(CASE))
    assert (target.recheck.rerun, target.recheck.differed) == (1, 1)
    (kept,) = store.harness.glob("differed-*.bytes")
    assert kept.read_bytes() == wire.encode(CASE)
    told = kept.with_suffix(".txt").read_text()
    assert told.startswith("forgetful differs:\nrun ")
    assert "then -1 EIO" in told
    assert told.endswith(text.dump(CASE))
    assert store.denied() == frozenset()
