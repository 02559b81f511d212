"""The shrinker makes cases smaller and never other: its predicate holds of what it returns."""

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import text
from emu.access import ACCESS_FACTS, Direction
from emu.case import Case, VmConfig
from emu.injection import Fail
from emu.steps import CreateGmem, Guest, MemoryLimit, Run, SetMemslot, Step
from fuzz.mutation.shrink import shrink, sort_key
from fuzz.mutation.simpler import complexity, simpler
from tests.strategies import CASES, STEPS, VMS

ENOUGH: Final = 100_000


def count(case: Case, kind: type[Step]) -> int:
    return sum(isinstance(step, kind) for step in case.steps)


def writes(case: Case) -> bool:
    return any(
        isinstance(step, Guest) and ACCESS_FACTS[step.access].direction is Direction.WRITE
        for step in case.steps
    )


def limited_before_a_run(case: Case) -> bool:
    kinds = [type(step) for step in case.steps if isinstance(step, MemoryLimit | Run)]
    return (MemoryLimit, Run) in pairwise(kinds)


PREDICATES: Final[list[Callable[[Case], bool]]] = [
    lambda _case: True,
    lambda case: count(case, Run) >= 2,
    writes,
    limited_before_a_run,
    lambda case: count(case, SetMemslot) == count(case, CreateGmem) > 0,
    lambda case: case.vm.cold,
    lambda case: any(isinstance(step, Fail) and step.nth > 2 for step in case.steps),
    lambda case: any(isinstance(step, SetMemslot) and step.size > 0x1800 for step in case.steps),
    lambda case: len({step.slot for step in case.steps if isinstance(step, SetMemslot)}) > 1,
]


@settings(max_examples=60, deadline=None)
@given(case=CASES, index=st.integers(0, len(PREDICATES) - 1))
def test_what_is_returned_is_no_larger_and_still_interesting(case: Case, index: int) -> None:
    interesting = PREDICATES[index]
    if not interesting(case):
        return
    smallest = shrink(case, interesting, ENOUGH)
    assert interesting(smallest)
    assert sort_key(smallest) <= sort_key(case)


@settings(max_examples=40, deadline=None)
@given(case=CASES, index=st.integers(0, len(PREDICATES) - 1))
def test_shrinking_again_changes_nothing(case: Case, index: int) -> None:
    interesting = PREDICATES[index]
    if interesting(case):
        smallest = shrink(case, interesting, ENOUGH)
        assert shrink(smallest, interesting, ENOUGH) == smallest


@settings(max_examples=40, deadline=None)
@given(case=CASES, budget=st.integers(0, 30))
def test_the_budget_is_kept(case: Case, budget: int) -> None:
    asked = 0

    def interesting(candidate: Case) -> bool:
        nonlocal asked
        asked += 1
        return len(candidate.steps) % 3 == 1

    shrink(case, interesting, budget)
    assert asked <= budget


def test_the_same_case_is_not_asked_about_twice() -> None:
    case = text.load(MESSY)
    asked: list[Case] = []

    def interesting(candidate: Case) -> bool:
        asked.append(candidate)
        return writes(candidate)

    shrink(case, interesting, ENOUGH)
    assert len(set(asked)) == len(asked)
    assert case not in asked


MESSY: Final = """
vm ipa-bits=36
vm nisv-to-user
vm cold
create gmem3 size=0x5000 flags=mmap,init-shared
create mem2 size=0x3000 file
memslot 7 gpa=0x80002000 size=0x3000 mem2+0x1000 gmem3+0x2000 flags=guest-memfd
memslot 9 gpa=0x10000 size=0x2000 mem2+0x0 flags=log-dirty,readonly
fail kvm_gmem_get_pfn ENOMEM nth=3
age slot7
run immediate-exit signal
guest write-simd-multiple slot7+0x1ff8
run
skip
guest casp 0x4000abcd
run vm-dead
"""

TABLE: Final = [
    # Nothing in particular: nothing is left.
    (lambda _case: True, ""),
    # One access that writes: the plainest one, at the first byte of the first slot.
    (writes, "guest write64 slot0+0x0"),
    # Options of the VM stay if they matter.
    (lambda case: case.vm.cold, "vm cold"),
    # Objects that belong together get the same first numbers, and lose what is not asked for.
    (
        lambda case: any(
            isinstance(slot, SetMemslot)
            and slot.gmem is not None
            and any(
                isinstance(made, CreateGmem) and made.index == slot.gmem.index
                for made in case.steps
            )
            for slot in case.steps
        ),
        "create gmem0 size=0x1000\nmemslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0",
    ),
    # Two steps that go only together.
    (lambda case: count(case, Run) % 2 == 1 and writes(case), "guest write64 slot0+0x0\nrun"),
]


@pytest.mark.parametrize(("interesting", "smallest"), TABLE)
def test_a_messy_case_shrinks_to_what_matters(
    interesting: Callable[[Case], bool], smallest: str
) -> None:
    shrunk = shrink(text.load(MESSY), interesting, ENOUGH)
    assert text.dump(shrunk).strip() == smallest


def test_a_step_goes_that_only_the_count_of_an_error_needs() -> None:
    """The last access is the one that fails; alone, it would have to be the first."""

    def fails_at_the_last(case: Case) -> bool:
        nths = [step.nth for step in case.steps if isinstance(step, Fail)]
        return nths == [count(case, Guest)] and count(case, Run) == 1

    case = text.load("fail kvm_gmem_get_pfn EIO nth=3\n" + "guest read64 slot0+0x0\n" * 3 + "run\n")
    assert text.dump(shrink(case, fails_at_the_last, ENOUGH)) == (
        "fail kvm_gmem_get_pfn EIO\nguest read64 slot0+0x0\nrun\n"
    )


def test_two_steps_that_go_only_together_are_deleted_together() -> None:
    case = text.load("run\nmemory-limit on\nguest read64 slot0+0x0\nmemory-limit off\n")

    def balanced(candidate: Case) -> bool:
        limits = [step.on for step in candidate.steps if isinstance(step, MemoryLimit)]
        return limits in ([], [True, False]) and count(candidate, Run) == 1

    assert text.dump(shrink(case, balanced, ENOUGH)).strip() == "run"


@given(step=STEPS)
def test_every_proposal_for_a_step_is_a_step_that_can_be_written_down(step: Step) -> None:
    for proposal in simpler(step):
        case = Case(VmConfig(), (proposal,))
        assert text.load(text.dump(case)) == case


@given(vm=VMS)
def test_a_vm_has_a_simpler_one_unless_it_is_ordinary(vm: VmConfig) -> None:
    better = [other for other in simpler(vm) if complexity(other) < complexity(vm)]
    assert bool(better) == (vm != VmConfig())


@given(step=STEPS)
def test_complexity_is_never_below_zero(step: Step) -> None:
    assert complexity(step) >= 0


ORDERED: Final = [
    # Objects, slots, events, injections, accesses; then KVM_RUN.
    (
        (
            "guest read64 slot0+0x0\nfail kvm_gmem_get_pfn EIO\nmemory-limit on\n"
            "memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0\ncreate gmem0 size=0x1000\nrun\n"
        ),
        (
            "create gmem0 size=0x1000\nmemslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0\n"
            "memory-limit on\nfail kvm_gmem_get_pfn EIO\nguest read64 slot0+0x0\nrun\n"
        ),
    ),
    # What a KVM_RUN stands between stays on its side.
    ("guest read64 slot0+0x0\nrun\nmemory-limit on\n", None),
    ("guest read64 slot0+0x0\nskip\ncreate gmem0 size=0x1000\n", None),
]


@pytest.mark.parametrize(("messy", "tidy"), ORDERED)
def test_steps_are_put_in_the_order_that_a_reader_expects(messy: str, tidy: str | None) -> None:
    case = text.load(messy)

    def interesting(candidate: Case) -> bool:
        return len(candidate.steps) == len(case.steps)

    shrunk = shrink(case, interesting, ENOUGH)
    kinds = [type(step) for step in shrunk.steps]
    assert kinds == [type(step) for step in text.load(tidy or messy).steps]
