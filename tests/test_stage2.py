"""The stage-2 tables, walked here as the architecture says, and the pages they are made of."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.abi import HARNESS_BASE, PAGE_SIZE
from emu.arena import (
    CODE_SIZE,
    HARNESS_PFN,
    POOL_PFN,
    ROOT_PAGES,
    Arena,
)
from emu.case import IPA_BITS
from emu.stage2 import ROOT_ADDRESS, Leaf, Prot, Stage2, vtcr

RW = Prot.R | Prot.W
RX = Prot.R | Prot.X
RWX = Prot.R | Prot.W | Prot.X
PAGE = 0x4000_0000  # some page's IPA
PFN = POOL_PFN + 7


def new(ipa_bits: int = 40, *, warm: bool = False) -> tuple[Arena, Stage2]:
    arena = Arena()
    stage2 = Stage2(arena)
    stage2.reset(ipa_bits, warm)
    return arena, stage2


def walk(arena: Arena, ipa_bits: int, ipa: int) -> tuple[int, int]:
    """Arm ARM, stage 2 with a 4 KiB granule: the descriptor that the walk ends in, and its level.

    The root is concatenated tables, so that its index may have more than nine bits.
    """
    level = 2 - (vtcr(ipa_bits) >> 6 & 3)
    table, bits = ROOT_ADDRESS, ipa_bits - (12 + 9 * (3 - level))
    assert bits <= 9 + 4
    while True:
        index = ipa >> 12 + 9 * (3 - level) & (1 << bits) - 1
        descriptor = arena.words[(table >> 3) + index]
        if level == 3 or descriptor & 3 != 3:
            return descriptor, level
        table, bits, level = descriptor & 0xFFFF_FFFF_F000, 9, level + 1


def decoded(descriptor: int) -> Leaf:
    readable, writable = descriptor >> 6 & 1, descriptor >> 7 & 1
    executable = not descriptor >> 54 & 1
    prot = readable * Prot.R + writable * Prot.W + executable * Prot.X
    return Leaf((descriptor & 0xFFFF_FFFF_F000) >> 12, prot, bool(descriptor >> 10 & 1))


# WHAT IS MAPPED


@pytest.mark.parametrize("ipa_bits", IPA_BITS)
@pytest.mark.parametrize("prot", range(8))
def test_a_walk_ends_in_the_page_that_was_mapped(ipa_bits: int, prot: int) -> None:
    arena, stage2 = new(ipa_bits)
    for ipa in (0, PAGE, (1 << ipa_bits) - PAGE_SIZE):
        stage2.map(ipa, PFN, prot)
        descriptor, level = walk(arena, ipa_bits, ipa)
        assert (descriptor & 3, level) == (3, 3)
        assert decoded(descriptor) == Leaf(PFN, prot, young=True) == stage2.get(ipa)


# Tables that a mapping takes, in KVM's words: what kvm_mmu_topup_memory_cache() must provide.
TABLES = [
    # bits  warm   pages mapped before                  page                    tables
    (32, False, (), PAGE, 1),
    (32, False, (PAGE,), PAGE + 0x1000, 0),
    (32, False, (PAGE,), PAGE + 0x20_0000, 1),
    (32, True, (), HARNESS_BASE + 0x20_0000, 1),
    (36, False, (), PAGE, 2),
    (40, False, (), PAGE, 2),
    (42, False, (), PAGE, 2),
    (40, False, (PAGE,), PAGE + 0x1F_F000, 0),
    (40, False, (PAGE,), PAGE + 0x20_0000, 1),
    (40, False, (PAGE,), PAGE + 0x4000_0000, 2),
    (40, False, (PAGE,), PAGE, 0),
    (40, True, (), HARNESS_BASE - 0x1000, 1),
    (40, True, (), PAGE, 2),
]


@pytest.mark.parametrize(("bits", "warm", "before", "page", "tables"), TABLES)
def test_a_mapping_takes_as_many_tables_as_are_missing(
    bits: int, warm: bool, before: tuple[int, ...], page: int, tables: int
) -> None:
    _, stage2 = new(bits, warm=warm)
    for ipa in before:
        stage2.map(ipa, PFN, RW)
    assert stage2.map(page, PFN, RW) == tables


@pytest.mark.parametrize(("bits", "levels"), [(32, 2), (36, 3), (40, 3), (42, 3)])
def test_a_first_mapping_takes_a_table_for_each_level_but_the_root(bits: int, levels: int) -> None:
    _, stage2 = new(bits)
    assert stage2.levels == levels
    assert stage2.map(PAGE, PFN, RW) == levels - 1


@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_the_harness_is_one_block_in_a_warm_vm_and_nothing_in_a_cold_one(ipa_bits: int) -> None:
    arena, _ = new(ipa_bits, warm=True)
    descriptor, level = walk(arena, ipa_bits, HARNESS_BASE)
    assert (descriptor & 3, level) == (1, 2)
    assert decoded(descriptor) == Leaf(HARNESS_PFN, RX, young=True)
    assert walk(arena, ipa_bits, HARNESS_BASE + CODE_SIZE)[0] == 0
    arena, _ = new(ipa_bits, warm=False)
    assert walk(arena, ipa_bits, HARNESS_BASE)[0] == 0


def test_a_page_outside_the_ipa_space_or_in_the_block_is_refused() -> None:
    _, stage2 = new(36, warm=True)
    for ipa in (1 << 36, 1 << 44, -PAGE_SIZE):
        with pytest.raises(ValueError, match="outside the IPA space"):
            stage2.map(ipa, PFN, RW)
    with pytest.raises(ValueError, match="0xf0000000 is the harness's block"):
        stage2.map(HARNESS_BASE + CODE_SIZE - PAGE_SIZE, PFN, RW)


def test_mapped_gives_the_pages_of_a_range_in_order_and_no_others() -> None:
    _, stage2 = new(42)
    pages = [0, PAGE, PAGE + 0x1000, PAGE + 0x3000, (1 << 42) - 0x1000]
    for ipa in reversed(pages):
        stage2.map(ipa, PFN, RW)
    assert stage2.mapped(0, 1 << 42) == pages
    assert stage2.mapped(PAGE, PAGE + 0x3000) == pages[1:3]
    assert stage2.mapped(PAGE, PAGE + 0x3001) == pages[1:4]
    assert stage2.mapped(PAGE + 0x2000, PAGE + 0x3000) == []
    assert stage2.mapped(PAGE, PAGE) == []


def test_what_is_not_mapped_cannot_be_changed() -> None:
    _, stage2 = new()
    stage2.stale = False
    for change in (stage2.unmap, stage2.mkyoung, stage2.age):
        assert not change(PAGE)
    assert not stage2.protect(PAGE, Prot.R)
    assert not stage2.relax(PAGE, Prot.W)
    assert stage2.get(PAGE) is None
    assert not stage2.stale


# A CPU must be told of what is taken away, and of nothing else.
CHANGES: list[tuple[str, Callable[[Stage2], object], int, bool]] = [
    # what                                                          permits then   stale
    ("map another page", lambda s: s.map(PAGE + 0x1000, PFN, RW), Prot.R, False),
    ("map the same", lambda s: s.map(PAGE, PFN, Prot.R), Prot.R, False),
    ("map with more", lambda s: s.map(PAGE, PFN, RWX), RWX, False),
    ("map with less", lambda s: s.map(PAGE, PFN, 0), 0, True),
    ("map elsewhere", lambda s: s.map(PAGE, PFN + 1, RWX), RWX, True),
    ("relax", lambda s: s.relax(PAGE, Prot.W), RW, False),
    ("relax by nothing", lambda s: s.relax(PAGE, Prot.R), Prot.R, False),
    ("protect, the same", lambda s: s.protect(PAGE, Prot.R), Prot.R, False),
    ("protect, more", lambda s: s.protect(PAGE, RX), RX, False),
    ("protect, less", lambda s: s.protect(PAGE, 0), 0, True),
    ("protect, less and more", lambda s: s.protect(PAGE, Prot.X), Prot.X, True),
    ("mkyoung", lambda s: s.mkyoung(PAGE), Prot.R, False),
    ("age", lambda s: s.age(PAGE), Prot.R, True),
]


@pytest.mark.parametrize(
    ("change", "prot", "stale"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_a_change_is_stale_where_it_takes_something_away(
    change: Callable[[Stage2], object], prot: int, stale: bool
) -> None:
    _, stage2 = new()
    stage2.map(PAGE, PFN, Prot.R)
    stage2.stale = False
    change(stage2)
    leaf = stage2.get(PAGE)
    assert leaf is not None
    assert (leaf.prot, stage2.stale) == (prot, stale)


def test_execute_taken_away_is_stale() -> None:
    _, stage2 = new()
    stage2.map(PAGE, PFN, RWX)
    stage2.stale = False
    stage2.protect(PAGE, RW)
    assert stage2.stale


def test_a_removal_is_stale() -> None:
    _, stage2 = new()
    stage2.map(PAGE, PFN, RW)
    stage2.stale = False
    assert stage2.unmap(PAGE)
    assert stage2.stale


# Nothing but the harness can be cached then, and the next VM has it in the same place.
RESETS = [
    # warm  page mapped   the next VM: bits, warm   stale
    (True, None, 40, True, False),
    (True, PAGE, 40, True, True),
    (True, None, 36, True, True),
    (True, None, 40, False, True),
    (False, None, 40, True, True),
    (False, HARNESS_BASE, 40, True, True),
]


@pytest.mark.parametrize(("warm", "page", "ipa_bits", "next_warm", "stale"), RESETS)
def test_a_reset_is_stale_where_more_than_the_harness_can_be_cached(
    warm: bool, page: int | None, ipa_bits: int, next_warm: bool, stale: bool
) -> None:
    _, stage2 = new(warm=warm)
    if page is not None:
        stage2.map(page, PFN, RX)
    stage2.stale = False
    stage2.reset(ipa_bits, next_warm)
    assert stage2.stale == stale


@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_what_shared_a_table_with_the_harness_is_gone_after_a_reset(ipa_bits: int) -> None:
    arena, stage2 = new(ipa_bits, warm=True)
    neighbour = HARNESS_BASE - PAGE_SIZE
    stage2.map(neighbour, PFN, RW)
    assert walk(arena, ipa_bits, neighbour)[1] == 3
    arena.reset()
    stage2.reset(ipa_bits, True)
    assert walk(arena, ipa_bits, neighbour) == (0, 2)
    descriptor, level = walk(arena, ipa_bits, HARNESS_BASE)
    assert (decoded(descriptor), level) == (Leaf(HARNESS_PFN, RX, young=True), 2)


EXPOSING: list[tuple[bool, Callable[[Stage2], object]]] = [
    (False, lambda s: s.map(PAGE, PFN, RWX)),
    (False, lambda s: s.map(PAGE, HARNESS_PFN, RX)),
    (True, lambda s: s.map(PAGE, HARNESS_PFN, RW)),
    (True, lambda s: (s.map(PAGE, HARNESS_PFN, RX), s.relax(PAGE, Prot.W))),
    (True, lambda s: (s.map(PAGE, POOL_PFN - 1, RX), s.protect(PAGE, RW))),
    (False, lambda s: (s.map(PAGE, PFN, RX), s.protect(PAGE, RW))),
]


@pytest.mark.parametrize(("exposed", "change"), EXPOSING)
def test_the_harness_is_exposed_where_the_guest_may_write_it(
    exposed: bool, change: Callable[[Stage2], object]
) -> None:
    _, stage2 = new()
    change(stage2)
    assert stage2.exposed == exposed
    stage2.reset(40, False)
    assert not stage2.exposed


# FAULTS


@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_a_read_of_what_is_not_mapped_ends_at_the_level_of_the_walk(ipa_bits: int) -> None:
    arena, stage2 = new(ipa_bits)
    stage2.map(PAGE, PFN, RW)
    for ipa in (PAGE + 0x1000, PAGE + 0x20_0000, PAGE * 2, (1 << ipa_bits) - 1):
        descriptor, level = walk(arena, ipa_bits, ipa)
        assert descriptor == 0
        assert stage2.fault_status(ipa) == 0x04 | level


def test_a_read_beyond_the_ipa_space_ends_at_level_0() -> None:
    _, stage2 = new(36)
    assert stage2.fault_status(1 << 36) == 0x04


def test_a_read_of_an_old_or_forbidden_page_names_the_reason() -> None:
    _, stage2 = new()
    stage2.map(PAGE, PFN, Prot.W)
    assert stage2.fault_status(PAGE) == 0x0F
    stage2.age(PAGE)
    assert stage2.fault_status(PAGE) == 0x0B


# ANY SEQUENCE


@dataclass
class Change:
    """One change of a random sequence: which, of which page, with which argument."""

    name: str
    ipa: int
    pfn: int
    prot: int


FEW_PAGES = (0, 0x1000, PAGE, PAGE + 0x1F_F000, PAGE + 0x20_0000, 0x8000_0000, 0xFFFF_F000)

CHANGE = st.builds(
    Change,
    st.sampled_from(("map", "map", "unmap", "protect", "relax", "age", "mkyoung")),
    st.sampled_from(FEW_PAGES),
    st.sampled_from((PFN, PFN + 1)),
    st.integers(0, 7),
)


def apply(change: Change, stage2: Stage2, expected: dict[int, Leaf]) -> int:
    """Make the change in the tables and in ``expected``; table pages taken."""
    ipa, leaf = change.ipa, expected.get(change.ipa)
    match change.name:
        case "map":
            expected[ipa] = Leaf(change.pfn, change.prot, young=True)
            return stage2.map(ipa, change.pfn, change.prot)
        case "unmap":
            assert stage2.unmap(ipa) == (expected.pop(ipa, None) is not None)
            return 0
        case "protect":
            known = stage2.protect(ipa, change.prot)
            new_leaf = leaf and leaf._replace(prot=change.prot)
        case "relax":
            known = stage2.relax(ipa, change.prot)
            new_leaf = leaf and leaf._replace(prot=leaf.prot | change.prot)
        case "age":
            known, new_leaf = stage2.age(ipa), leaf and leaf._replace(young=False)
        case _:
            known, new_leaf = stage2.mkyoung(ipa), leaf and leaf._replace(young=True)
    assert known == (leaf is not None)
    if new_leaf:
        expected[ipa] = new_leaf
    return 0


@given(st.sampled_from(IPA_BITS), st.booleans(), st.lists(CHANGE, max_size=20))
def test_after_any_changes_the_tables_say_what_was_mapped_and_leave_no_page_behind(
    ipa_bits: int, warm: bool, changes: list[Change]
) -> None:
    arena, stage2 = STANDING
    arena.reset()
    stage2.reset(ipa_bits, warm)
    expected: dict[int, Leaf] = {}
    for change in changes:
        apply(change, stage2, expected)
        for ipa in FEW_PAGES:
            descriptor, level = walk(arena, ipa_bits, ipa)
            found = decoded(descriptor) if descriptor & 1 else None
            assert found == stage2.get(ipa) == expected.get(ipa)
            assert found or stage2.fault_status(ipa) == 0x04 | level
        assert stage2.mapped(0, 1 << ipa_bits) == sorted(expected)
    for ipa in list(expected):
        stage2.unmap(ipa)
    root = ROOT_ADDRESS >> 3
    entries = [entry for entry in arena.words[root : root + ROOT_PAGES * 512] if entry]
    assert len(entries) == warm
    assert arena.used == 0  # the harness's tables are not the pool's


STANDING = new()
"""One machine for all examples: what one leaves behind, the next would trip over."""


@given(st.sampled_from(IPA_BITS), st.booleans(), st.lists(CHANGE, max_size=20))
def test_a_mapping_takes_from_the_arena_what_it_says(
    ipa_bits: int, warm: bool, changes: list[Change]
) -> None:
    arena, stage2 = STANDING
    arena.reset()
    stage2.reset(ipa_bits, warm)
    taken = sum(stage2.map(change.ipa, change.pfn, change.prot) for change in changes)
    assert arena.used == taken


@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_reset_leaves_nothing_in_the_root(ipa_bits: int) -> None:
    arena, stage2 = new(ipa_bits, warm=True)
    for ipa in FEW_PAGES:
        stage2.map(ipa, PFN, RW)
    arena.reset()
    stage2.reset(ipa_bits, False)
    root = ROOT_ADDRESS >> 3
    assert not any(arena.words[root : root + ROOT_PAGES * 512])
    assert stage2.mapped(0, 1 << ipa_bits) == []
