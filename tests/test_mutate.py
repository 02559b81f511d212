"""Mutants are cases, come from the given randomness alone, and mostly mean something."""

from collections import Counter
from dataclasses import fields
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import text, wire
from emu.case import Case, VmConfig
from emu.injection import Fail, ForceAbort, ForceExit
from emu.steps import Guest, Run, SetMemslot, Step
from emu.wire import HEADER, RECORD
from fuzz.mutation.alter import altered, altered_vm
from fuzz.mutation.mutate import MAX_SIZE, MAX_STEPS, Mutator, Weights, split
from fuzz.mutation.operators import OPERATORS, Source
from tests.strategies import CASES, STEPS, VMS

SEEDS: Final = st.integers(0, 1 << 32)
SOME_BYTES: Final = st.one_of(st.binary(max_size=300), CASES.map(wire.encode))

LAYOUT: Final = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
memory-limit on
fail kvm_gmem_get_pfn EIO
guest read64 slot0+0x0
guest write64 slot5+0x0
run
"""


def rng_of(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - nothing here is secret


class Broken(Random):
    """A source of randomness that fails."""

    def random(self) -> float:
        raise ArithmeticError


def a_case() -> bytes:
    return wire.encode(text.load(LAYOUT))


def evolved(seed: int, generations: int) -> list[Case]:
    """A population that mutates and crosses over, with nothing to choose among it."""
    mutator, rng = Mutator(rng_of(seed)), rng_of(seed + 1)
    population = [mutator.mutate(b"") for _ in range(50)]
    for _ in range(generations):
        at, other = rng.randrange(50), rng.randrange(50)
        population[at] = mutator.custom_crossover(population[at], population[other], MAX_SIZE, 0)
        population[other] = mutator.custom_mutator(population[other], MAX_SIZE, 0)
    assert mutator.incidents == 0
    return [wire.decode(data) for data in population]


def reaches_a_slot(case: Case) -> bool:
    """A slot is set up, an access into it follows, and a KVM_RUN after that."""
    slots: set[int] = set()
    accessed = False
    for step in case.steps:
        match step:
            case SetMemslot() if step.size:
                slots.add(step.slot)
            case Guest():
                accessed |= step.slot in slots
            case Run() if accessed:
                return True
            case _:
                pass
    return False


# WHAT HOLDS OF EVERY MUTANT


@settings(max_examples=200, deadline=None)
@given(data=SOME_BYTES, seed=SEEDS)
def test_a_mutant_of_any_bytes_is_a_whole_case_with_room_for_it(data: bytes, seed: int) -> None:
    mutator = Mutator(rng_of(seed))
    for _ in range(5):
        data = mutator.mutate(data)
        assert len(data) <= MAX_SIZE
        assert len(data) % RECORD == HEADER
        case = wire.decode(data)
        assert wire.decode(wire.encode(case)) == case


@settings(max_examples=200, deadline=None)
@given(data=SOME_BYTES, other=SOME_BYTES, seed=SEEDS)
def test_a_crossover_has_only_steps_of_its_parents(data: bytes, other: bytes, seed: int) -> None:
    made = Mutator(rng_of(seed)).cross_over(data, other)
    assert len(made) <= MAX_SIZE
    _, records = split(made)
    if split(other)[1]:
        assert set(records) <= set(split(data)[1]) | set(split(other)[1])


@settings(max_examples=300, deadline=None)
@given(data=SOME_BYTES, other=SOME_BYTES, size=st.integers(0, 400), seed=SEEDS)
def test_libfuzzer_never_gets_more_than_it_has_room_for(
    data: bytes, other: bytes, size: int, seed: int
) -> None:
    mutator = Mutator(rng_of(seed))
    assert len(mutator.custom_mutator(data, size, seed)) <= size
    assert len(mutator.custom_crossover(data, other, size, seed)) <= size
    assert mutator.incidents == 0


def test_libfuzzer_never_sees_an_exception_but_the_count_shows_it() -> None:
    mutator = Mutator(rng_of(0))
    mutator._rng = Broken()  # nothing else can make it fail
    assert mutator.custom_mutator(a_case(), MAX_SIZE, 0) == a_case()
    assert mutator.custom_mutator(a_case(), HEADER + RECORD, 0) == a_case()[: HEADER + RECORD]
    assert mutator.custom_crossover(a_case(), b"", MAX_SIZE, 0) == a_case()
    assert mutator.incidents == 3


def test_the_same_seed_makes_the_same_mutants_and_another_does_not() -> None:
    def mutants(seed: int) -> list[bytes]:
        mutator = Mutator(rng_of(seed))
        return [mutator.mutate(a_case()) for _ in range(50)]

    assert mutants(7) == mutants(7)
    assert mutants(7) != mutants(8)


# FROM NOTHING


def test_most_cases_out_of_nothing_reach_a_slot() -> None:
    mutator = Mutator(rng_of(1))
    cases = [wire.decode(mutator.mutate(b"")) for _ in range(500)]
    assert sum(map(reaches_a_slot, cases)) > 400


def test_a_typical_case_has_about_three_runs_in_eight_to_fourteen_steps() -> None:
    cases = evolved(seed=2, generations=3000)
    steps = sum(len(case.steps) for case in cases) / len(cases)
    runs = sum(isinstance(step, Run) for case in cases for step in case.steps) / len(cases)
    assert 8 <= steps <= 14
    assert 2 <= runs <= 4
    assert sum(map(reaches_a_slot, cases)) > len(cases) / 3


def test_every_kind_of_step_comes_up() -> None:
    kinds = Counter(type(step) for case in evolved(3, 4000) for step in case.steps)
    mutator = Mutator(rng_of(4), only("insert_step"))
    for _ in range(2000):
        kinds.update(map(type, wire.decode(mutator.mutate(a_case())).steps))
    assert set(kinds) == set(Step.__args__)


# THE OPERATORS


def only(name: str) -> Weights:
    """Weights that leave nothing but one operator."""
    return Weights(**{field.name: int(field.name == name) for field in fields(Weights)})


def applied(name: str, seed: int) -> tuple[list[Step], list[Step], bool]:
    """The steps before and after one operator, and whether it says that it changed them."""
    _, records = split(a_case())
    before = [wire.decode_record(record) for record in records]
    changed = OPERATORS[name](records, Source(rng_of(seed)))
    return before, [wire.decode_record(record) for record in records], changed


def test_there_is_a_weight_for_every_operator() -> None:
    assert {field.name for field in fields(Weights)} == set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_says_whether_it_changed_anything(name: str) -> None:
    for seed in range(30):
        before, after, changed = applied(name, seed)
        if not changed:
            assert before == after
        else:
            assert before != after


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_can_do_with_no_steps_at_all(name: str) -> None:
    for seed in range(10):
        records: list[bytes] = []
        changed = OPERATORS[name](records, Source(rng_of(seed)))
        assert changed == bool(records)


@pytest.mark.parametrize(
    ("name", "growth"),
    [
        ("insert_step", {1}),
        ("append_run", {1}),
        ("duplicate_step", {1}),
        ("delete_step", {-1}),
        ("delete_range", {-1, -2, -3, -4, -5, -6}),
        ("swap_steps", {0}),
        ("move_step", {0}),
        ("alter_step", {0}),
        ("repoint_access", {0}),
        ("change_access", {0}),
        ("drop_injections", {-1}),
    ],
)
def test_an_operator_makes_the_case_as_much_longer_as_its_name_says(
    name: str, growth: set[int]
) -> None:
    seen = set()
    for seed in range(200):
        before, after, _ = applied(name, seed)
        seen.add(len(after) - len(before))
    assert seen == growth


@pytest.mark.parametrize("name", ["swap_steps", "move_step"])
def test_reordering_loses_nothing(name: str) -> None:
    for seed in range(50):
        before, after, _ = applied(name, seed)
        assert Counter(after) == Counter(before)


def test_an_access_is_pointed_at_a_slot_that_the_case_names() -> None:
    for seed in range(50):
        before, after, _ = applied("repoint_access", seed)
        for old, new in zip(before, after, strict=True):
            assert new == old or (isinstance(new, Guest) and new.slot == 0)


def test_only_the_kind_of_an_access_is_changed() -> None:
    for seed in range(50):
        before, after, _ = applied("change_access", seed)
        for old, new in zip(before, after, strict=True):
            if isinstance(old, Guest):
                assert isinstance(new, Guest)
                assert (new.slot, new.address) == (old.slot, old.address)
            else:
                assert new == old


def test_no_injection_is_left_when_they_are_dropped() -> None:
    _, after, changed = applied("drop_injections", 0)
    assert changed
    assert not any(isinstance(step, Fail | ForceAbort | ForceExit) for step in after)


def test_an_operator_without_weight_is_never_used() -> None:
    mutator = Mutator(rng_of(5), only("delete_step"))
    lengths = [len(split(mutator.mutate(a_case()))[1]) for _ in range(200)]
    assert set(lengths) == {6, 5, 4}


@settings(max_examples=300, deadline=None)
@given(step=STEPS, seed=SEEDS)
def test_an_altered_step_is_of_the_same_kind_and_can_be_written_down(step: Step, seed: int) -> None:
    after = altered(step, rng_of(seed))
    assert type(after) is type(step)
    assert wire.decode_record(wire.encode_step(after)) == after


@given(vm=VMS, seed=SEEDS)
def test_one_option_of_a_vm_is_altered_or_all_are_reset(vm: VmConfig, seed: int) -> None:
    after = altered_vm(vm, rng_of(seed))
    different = [f.name for f in fields(VmConfig) if getattr(vm, f.name) != getattr(after, f.name)]
    assert len(different) <= 1 or after == VmConfig()


def test_more_steps_than_a_case_has_room_for_are_cut_off() -> None:
    data = a_case()[:HEADER] + a_case()[HEADER:] * 40
    assert len(split(data)[1]) == MAX_STEPS
