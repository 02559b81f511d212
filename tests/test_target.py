"""What one execution leaves: findings, questions, branches, and a mistake of ours kept apart."""

import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import pytest

from emu import text, wire
from emu.kernels import KERNELS
from emu.kernels.releases import V73
from emu.kvm.kvm_main import Kernel
from emu.kvm.state import Vcpu
from fuzz.directory.finding import Finding
from fuzz.directory.opening import create_store
from fuzz.directory.store import Store
from fuzz.guidance.coverage import Arms, Mode
from fuzz.guidance.feedback import Feedback
from fuzz.mutation.mutate import MAX_SIZE
from fuzz.oracle.contract import Reading
from fuzz.search.orders import Engine, Orders
from fuzz.search.search import Search
from fuzz.search.target import ASK_EVERY, Target
from tests.test_store import configuration

LEAK: Final = "v7.3--C2-gmem_abort-natural"
LEAKING: Final = """
vm cold
create gmem2 size=0x3000 flags=mmap,init-shared
create mem0 size=0x1000 anon
memslot 1 gpa=0x80000000 size=0x3000 gmem2+0x0 flags=guest-memfd
guest write-pair slot1+0x1008
run
guest read-simd slot1+0x2010
memory-limit on
run
memory-limit off
run
"""


# FINDINGS


class Stumbling(V73):
    """A model with a mistake of ours in it."""

    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        raise ZeroDivisionError(f"ours, after exit_reason {vcpu.run.exit_reason}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return create_store(tmp_path / "campaign", configuration())


def target(store: Store, feedback: Feedback | None = None) -> Target:
    kernels = {"v7.3": KERNELS["v7.3"]}
    return Target(store, kernels, Reading.STRICT, feedback or Feedback(Arms()), lambda: 1.5)


def data(case: str) -> bytes:
    return wire.encode(text.load(case))


def only_finding(store: Store) -> Finding:
    (finding,) = store.findings()
    return finding


def test_a_finding_is_stored_with_its_first_and_its_smallest_case(store: Store) -> None:
    target(store).run(data(LEAKING))
    finding = only_finding(store)
    assert finding.shrunk
    assert finding.name == LEAK
    assert finding.first == text.dump(text.load(LEAKING))
    assert finding.smallest == (
        "create gmem0 size=0x1000 flags=mmap\n"
        "memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd\n"
        "memory-limit on\n"
        "guest read64 slot0+0x0\n"
        "run\n"
    )
    assert (finding.errno, finding.exit_reason) == ("ENOMEM", "MEMORY_FAULT")
    assert finding.outcome.startswith("-1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000")
    assert finding.found_after_s == 1.5
    assert finding.size.steps == 5


def test_a_finding_seen_again_is_counted_and_not_found_again(store: Store) -> None:
    worker = target(store)
    for _ in range(3):
        worker.run(data(LEAKING))
    worker.store_counts(0)
    worker.store_counts(0)
    assert only_finding(store).count == 3


def test_what_an_earlier_run_has_found_is_known(store: Store) -> None:
    target(store).run(data(LEAKING))
    before = only_finding(store)
    again = target(store)
    again.run(data("\n".join(LEAKING.splitlines()[2:])))
    assert only_finding(store) == before
    again.store_counts(0)
    assert only_finding(store).count == 2


def test_a_natural_finding_is_not_shrunk_to_an_injected_one(store: Store) -> None:
    # Without the limit, the injected error would leak just the same, in a case as small.
    target(store).run(data(LEAKING + "fail kvm_gmem_get_pfn ENOMEM\nguest read64 slot1+0x0\nrun\n"))
    natural = next(finding for finding in store.findings() if finding.name == LEAK)
    assert "fail" not in natural.smallest
    assert "memory-limit on" in natural.smallest


def test_shrinking_leaves_no_marks_behind(store: Store) -> None:
    first, second = Feedback(Arms()), Feedback(Arms())
    target(store, first).run(data(LEAKING))
    target(store, second).run(data(LEAKING))
    assert any(first.outcomes)
    assert first.outcomes == second.outcomes


def test_a_worker_that_is_told_to_stop_stores_what_it_has_found_and_shrinks_no_more(
    store: Store,
) -> None:
    worker = target(store)
    worker.hurried = True
    worker.run(data(LEAKING))
    finding = only_finding(store)
    assert finding.smallest == finding.first == text.dump(text.load(LEAKING))
    assert not only_finding(store).shrunk


def test_a_mistake_of_ours_is_kept_apart_from_findings_and_does_not_stop_the_search(
    store: Store,
) -> None:
    worker = Target(store, {"v7.3": Stumbling()}, Reading.STRICT, Feedback(Arms()), lambda: 0.0)
    for _ in range(3):
        worker.run(data(LEAKING))
    assert (worker.cases, worker.harness_crashes) == (3, 3)
    assert store.findings() == []
    (kept,) = store.harness.glob("*.bytes")
    assert kept.read_bytes() == data(LEAKING)
    assert "ZeroDivisionError: ours" in kept.with_suffix(".txt").read_text()


def test_a_finding_that_cannot_be_stored_is_no_mistake_of_ours_and_not_passed_over(
    store: Store,
) -> None:
    shutil.rmtree(store.root / "findings")
    worker = Target(store, {"v7.3": KERNELS["v7.3"]}, Reading.STRICT, Feedback(Arms()), lambda: 0.0)
    with pytest.raises(FileNotFoundError):
        worker.run(data(LEAKING))
    assert worker.harness_crashes == 0


# QUESTIONS

# v7.3 leaks here: against the contract and against the expectation.
UNEXPECTED: Final = """
create gmem0 size=0x1000 flags=mmap
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
memory-limit on
guest read64 slot0+0x0
run
"""


def asked(store: Store, feedback: Feedback, **kernels: Kernel) -> list[str]:
    """The names of the questions that come of a case run often enough on these kernels."""
    worker = Target(store, kernels, Reading.STRICT, feedback, lambda: 0.0)
    for _ in range(ASK_EVERY):
        worker.run(data(UNEXPECTED))
    assert worker.harness_crashes == 0
    assert store.questions_kept() == len(list(store.questions.iterdir()))
    return [path.name for path in store.questions.iterdir()]


def test_a_kernel_that_is_known_to_break_the_contract_is_asked_nothing(store: Store) -> None:
    assert asked(store, Feedback(Arms()), old=KERNELS["v7.3"], other=KERNELS["v7.2"]) == []


def test_the_clean_kernel_is_asked_whether_it_is_the_campaigns_or_not(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = asked(store, Feedback(Arms()), old=KERNELS["v7.2"], clean=KERNELS["v7.3"])
    assert name.startswith("clean--")
    monkeypatch.setitem(KERNELS, "clean", KERNELS["v7.3"])
    other = create_store(tmp_path / "other", configuration())
    assert asked(other, Feedback(Arms()), cured=KERNELS["rfc-align-errno"]) == [name]


def test_asking_leaves_no_marks_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    arms = Arms()

    class Marking(V73):
        def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
            arms.counts[0] = 1
            return super().kvm_vcpu_ioctl_run(vcpu)

    monkeypatch.setitem(KERNELS, "clean", Marking())
    assert asked(store, Feedback(arms), cured=KERNELS["rfc-align-errno"])
    assert not any(arms.counts)


# A WORKER


def orders(store: Store, kernel: str) -> Orders:
    return Orders(
        campaign=store.root,
        index=0,
        seed=1,
        epoch=0.0,
        until=float("inf"),
        runs=0,
        engine=Engine.PLAIN,
        coverage=Mode.COUNTERS,
        reading=Reading.STRICT,
        parent=os.getpid(),
        kernels=(kernel,),
    )


def test_every_branch_is_noted_that_the_inputs_of_an_earlier_run_reach(store: Store) -> None:
    arms = Arms()
    places = [arms.add("a module", line) for line in range(100)]
    search = Search(orders(store, "clean"), store, arms, nullcontext())
    for place in places:
        search.feedback.clear()
        arms.counts[place] = 1
        search.test_one_input(b"")
    assert search.feedback.arms_seen == len(places)


def test_a_worker_that_is_started_again_goes_on_counting_our_mistakes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.search.search.STATUS_EVERY", 0.0)
    monkeypatch.setattr("fuzz.search.search.CHECK_EVERY", 1)
    monkeypatch.setitem(KERNELS, "v7.3", Stumbling())
    for crashes in (2, 4):
        search = Search(orders(store, "v7.3"), store, Arms(), nullcontext())
        search.test_one_input(data(LEAKING))  # is run before the first mutant, and no case
        search.mutate(b"", MAX_SIZE, 0)
        for _ in range(2):
            search.test_one_input(data(LEAKING))
        status = store.status(0)
        assert status is not None
        assert (status.cases, status.harness_crashes) == (crashes, crashes)
