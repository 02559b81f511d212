"""Blocks, and the granules of hosts with larger pages: walked here, and by the emulated CPU."""

from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.abi import HARNESS_BASE, PAGE_SIZE
from emu.access import Access
from emu.arena import CODE_SIZE, HARNESS_PFN, HUGE_PFN, POOL_PFN, ROOT_PAGES, Arena
from emu.case import IPA_BITS, PAGE_SIZES
from emu.cpu import Exit
from emu.descriptor import Leaf
from emu.stage2 import ROOT_ADDRESS, Prot, Stage2, vtcr
from emu.syndrome import FSC, fault_ipa
from tests.cpus import empty_vm

RW = Prot.R | Prot.W
BLOCK = 0x20_0000
PAGE = 0x4000_0000
START_LEVELS = {PAGE_SIZE: (2, 1, 0, 3), 0x4000: (3, 2, 1, 0), 0x1_0000: (3, 2, 1, 0)}  # by SL0
TG0 = {PAGE_SIZE: 0, 0x4000: 2, 0x1_0000: 1}


def walk(arena: Arena, ipa_bits: int, ipa: int, size: int = PAGE_SIZE) -> tuple[int, int]:
    """Arm ARM, stage 2: the descriptor that the walk ends in, and its level."""
    control = vtcr(ipa_bits, size)
    assert control & 0x3F == 64 - ipa_bits
    assert control >> 14 & 3 == TG0[size]
    level = START_LEVELS[size][control >> 6 & 3]
    page_bits, stride = size.bit_length() - 1, size.bit_length() - 4
    table, bits = ROOT_ADDRESS, ipa_bits - (page_bits + stride * (3 - level))
    assert 1 <= bits <= stride + 4
    assert table % max(64, 8 << bits) == 0
    while True:
        index = ipa >> page_bits + stride * (3 - level) & (1 << bits) - 1
        descriptor = arena.words[(table >> 3) + index]
        if level == 3 or descriptor & 3 != 3:
            return descriptor, level
        table, bits, level = descriptor & 0xFFFF_FFFF_F000, stride, level + 1


def decoded(descriptor: int) -> Leaf:
    prot = descriptor >> 6 & 3 | (~descriptor >> 54 & 1) << 2
    device = Prot.DEVICE if descriptor >> 2 & 0xF == 1 else 0
    assert device or descriptor >> 2 & 0xF == 0xF
    return Leaf((descriptor & 0xFFFF_FFFF_F000) >> 12, prot | device, bool(descriptor >> 10 & 1))


# WHAT ANY CHANGES LEAVE


@dataclass
class Change:
    """One change of a random sequence: which, where, with which argument."""

    name: str
    ipa: int
    prot: int


PLACES = (0x1000, PAGE, PAGE + 0x3000, PAGE + 0x1F_F000, PAGE + BLOCK, 0x8000_0000)
NAMES = (
    "map",
    "map",
    "map_block",
    "map_block",
    "unmap",
    "protect",
    "relax",
    "write_protect",
    "age",
    "mkyoung",
    "restore",
)
CHANGE = st.builds(Change, st.sampled_from(NAMES), st.sampled_from(PLACES), st.integers(0, 15))


class Expected:
    """What is mapped, as (first address, size) -> leaf."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.leaves: dict[tuple[int, int], Leaf] = {}

    def at(self, ipa: int) -> tuple[int, int] | None:
        found = [each for each in self.leaves if each[0] <= ipa < each[0] + each[1]]
        assert len(found) <= 1
        return found[0] if found else None

    def put(self, ipa: int, size: int, leaf: Leaf) -> None:
        """A page takes the place of a whole block, a block of all pages in it."""
        start = ipa & -size
        self.leaves = {
            key: old
            for key, old in self.leaves.items()
            if key[0] + key[1] <= start or start + size <= key[0]
        }
        self.leaves[start, size] = leaf

    def apply(self, change: Change) -> bool:
        """Make a change of what is mapped; whether something is."""
        at = self.at(change.ipa)
        if at is None:
            return False
        leaf = self.leaves[at]
        device, allowed = leaf.prot & Prot.DEVICE, change.prot & 7
        match change.name:
            case "unmap":
                del self.leaves[at]
                return True
            case "protect":
                leaf = leaf._replace(prot=allowed | device)
            case "relax":
                leaf = leaf._replace(prot=leaf.prot | allowed)
            case "write_protect":
                leaf = leaf._replace(prot=leaf.prot & ~Prot.W)
            case "age":
                leaf = leaf._replace(young=False)
            case "mkyoung":
                leaf = leaf._replace(young=True)
        self.leaves[at] = leaf
        return True


def apply(change: Change, arena: Arena, stage2: Stage2, expected: Expected) -> None:
    ipa, prot = change.ipa, change.prot
    before = arena.used
    match change.name:
        case "map":
            expected.put(ipa, expected.size, Leaf(POOL_PFN, prot, young=True))
            assert stage2.map(ipa, POOL_PFN, prot) >= arena.used - before
        case "map_block":
            expected.put(ipa, 1 << stage2.block_shift, Leaf(HUGE_PFN, prot, young=True))
            assert stage2.map_block(ipa, HUGE_PFN, prot) in (0, 1)
        case "restore":
            descriptor = stage2.descriptor(ipa)
            assert stage2.unmap(ipa) == (descriptor is not None)
            if descriptor is not None:
                stage2.restore(ipa, descriptor)
        case "protect":
            assert stage2.protect(ipa, prot) == expected.apply(change)
        case "relax":
            assert stage2.relax(ipa, prot) == expected.apply(change)
        case _:
            done = {
                "unmap": stage2.unmap,
                "write_protect": stage2.write_protect,
                "age": stage2.age,
                "mkyoung": stage2.mkyoung,
            }[change.name]
            assert done(ipa) == expected.apply(change)


STANDING_ARENA = Arena()
STANDING = Stage2(STANDING_ARENA)
"""One machine for all examples: what one leaves behind, the next would trip over."""


@given(
    st.sampled_from(IPA_BITS),
    st.sampled_from(PAGE_SIZES),
    st.booleans(),
    st.lists(CHANGE, max_size=16),
)
def test_after_any_changes_the_walk_finds_what_was_mapped(
    ipa_bits: int, size: int, warm: bool, changes: list[Change]
) -> None:
    arena, stage2 = STANDING_ARENA, STANDING
    arena.reset(size)
    stage2.reset(ipa_bits, warm, size)
    harness = arena.used
    expected = Expected(size)
    for change in changes:
        apply(change, arena, stage2, expected)
        for ipa in PLACES:
            descriptor, level = walk(arena, ipa_bits, ipa, size)
            at = expected.at(ipa)
            assert (descriptor & 1) == (at is not None)
            if at is None:
                assert stage2.get(ipa) is None
                assert stage2.fault_status(ipa) == 4 | level
            else:
                assert decoded(descriptor) == stage2.get(ipa) == expected.leaves[at]
                assert level == (3 if at[1] == size else 2)
                assert stage2.fault_status(ipa) == (0xC if descriptor >> 10 & 1 else 8) | level
        assert stage2.mapped(0, 1 << ipa_bits) == sorted(start for start, _ in expected.leaves)
    for start, _ in list(expected.leaves):
        stage2.unmap(start)
    root = ROOT_ADDRESS >> 3
    assert arena.used == harness
    entries = [entry for entry in arena.words[root : root + ROOT_PAGES * 512] if entry]
    assert len(entries) == warm


@pytest.mark.parametrize("size", PAGE_SIZES)
@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_reset_leaves_nothing_in_the_root(ipa_bits: int, size: int) -> None:
    arena = Arena()
    stage2 = Stage2(arena)
    stage2.reset(ipa_bits, warm=True, page_size=size)
    for ipa in PLACES:
        stage2.map_block(ipa, HUGE_PFN, RW)
    arena.reset()
    stage2.reset(40, warm=False)
    root = ROOT_ADDRESS >> 3
    assert not any(arena.words[root : root + ROOT_PAGES * 512])
    assert stage2.mapped(0, 1 << 40) == []


@pytest.mark.parametrize("size", PAGE_SIZES)
@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_a_warm_vm_has_its_harness_and_nothing_beside_it(ipa_bits: int, size: int) -> None:
    arena = Arena()
    arena.reset(size)
    stage2 = Stage2(arena)
    stage2.reset(ipa_bits, warm=True, page_size=size)
    assert_only_the_harness(arena, stage2, ipa_bits, size)


def test_a_warm_vm_has_no_other_harness_after_vms_of_every_kind() -> None:
    arena = Arena()
    stage2 = Stage2(arena)
    for size, ipa_bits in 2 * list(product(PAGE_SIZES, IPA_BITS)):
        arena.reset(size)
        stage2.reset(ipa_bits, warm=True, page_size=size)
        assert_only_the_harness(arena, stage2, ipa_bits, size)
        stage2.map(HARNESS_BASE - size, POOL_PFN, RW)  # in a table of the harness's, if it has one


def assert_only_the_harness(arena: Arena, stage2: Stage2, ipa_bits: int, size: int) -> None:
    for offset in (0, CODE_SIZE - PAGE_SIZE):
        descriptor, level = walk(arena, ipa_bits, HARNESS_BASE + offset, size)
        span = size if level == 3 else BLOCK
        leaf = decoded(descriptor)
        assert (leaf.pfn << 12) == (HARNESS_PFN << 12) + (offset & -span)
        assert leaf.prot == Prot.R | Prot.X
    for outside in (HARNESS_BASE - PAGE_SIZE, HARNESS_BASE + CODE_SIZE):
        assert not walk(arena, ipa_bits, outside, size)[0] & 1
    assert stage2.mapped(0, 1 << ipa_bits) == []


def test_a_range_has_the_blocks_that_reach_into_it() -> None:
    stage2 = Stage2(Arena())
    stage2.reset(40, warm=False)
    stage2.map_block(PAGE + 0x5000, HUGE_PFN, RW)
    stage2.map(PAGE + BLOCK, POOL_PFN, RW)
    assert stage2.mapped(PAGE + 0x1000, PAGE + 0x2000) == [PAGE]
    assert stage2.mapped(PAGE + BLOCK - 1, PAGE + BLOCK + 1) == [PAGE, PAGE + BLOCK]
    assert stage2.mapped(PAGE - 0x1000, PAGE) == []
    assert stage2.mapped(PAGE + BLOCK, PAGE + 2 * BLOCK) == [PAGE + BLOCK]


def test_a_block_is_not_mapped_over_the_harness() -> None:
    stage2 = Stage2(Arena())
    stage2.reset(40, warm=True)
    with pytest.raises(ValueError, match="0xf0000000 is the harness's block"):
        stage2.map_block(HARNESS_BASE + 0x1000, HUGE_PFN, RW)
    with pytest.raises(ValueError, match="outside the IPA space"):
        stage2.map_block(1 << 40, HUGE_PFN, RW)


STALE = [
    # A CPU that is not told may use what was there.
    ("map_block", "map", True),
    ("map", "map_block", True),
    ("map_block", "unmap", True),
    ("map_block", "map_block", False),
    ("map_block", "age", True),
    ("map_block", "write_protect", True),
]


@pytest.mark.parametrize(("first", "second", "stale"), STALE)
def test_a_change_of_a_block_is_stale_where_it_takes_something_away(
    first: str, second: str, stale: bool
) -> None:
    arena = Arena()
    stage2 = Stage2(arena)
    stage2.reset(40, warm=False)
    expected = Expected(PAGE_SIZE)
    apply(Change(first, PAGE + 0x3000, RW), arena, stage2, expected)
    stage2.stale = False
    apply(Change(second, PAGE + 0x3000, RW), arena, stage2, expected)
    assert stage2.stale == stale


# WHAT THE CPU FINDS


@pytest.mark.parametrize("size", PAGE_SIZES)
@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_the_cpu_walks_what_is_mapped(ipa_bits: int, size: int) -> None:
    cpu = empty_vm()
    for ipa in (PAGE + 0x1008, (1 << ipa_bits) - 0x1000):
        cpu.reset(ipa_bits, True, size)
        cpu.load(Access.READ64, ipa, last=False)
        assert cpu.enter() is Exit.ABORT
        assert fault_ipa(cpu.hpfar) == ipa & -PAGE_SIZE  # whatever a page is
        assert cpu.esr & FSC == cpu.stage2.fault_status(ipa)
        cpu.stage2.map(ipa, cpu.arena.allocate(), Prot.R)
        assert cpu.enter() is Exit.DONE
        cpu.load(Access.WRITE64, ipa, last=False)
        assert cpu.enter() is Exit.ABORT
        assert cpu.esr & FSC == cpu.stage2.fault_status(ipa) == 0xF
        cpu.stage2.relax(ipa, Prot.W)
        assert cpu.enter() is Exit.DONE


@pytest.mark.parametrize("ipa_bits", IPA_BITS)
def test_the_cpu_walks_a_block(ipa_bits: int) -> None:
    cpu = empty_vm()
    cpu.reset(ipa_bits, True)
    cpu.stage2.map_block(PAGE, HUGE_PFN, Prot.R)
    for offset in (0, BLOCK - 8):
        cpu.load(Access.READ64, PAGE + offset, last=False)
        assert cpu.enter() is Exit.DONE
        cpu.load(Access.WRITE64, PAGE + offset, last=False)
        assert cpu.enter() is Exit.ABORT
        assert cpu.esr & FSC == 0xE
    cpu.stage2.relax(PAGE + 0x3000, Prot.W)
    assert cpu.enter() is Exit.DONE
    cpu.stage2.map(PAGE + 0x4000, cpu.arena.allocate(), RW)
    cpu.load(Access.READ64, PAGE + BLOCK - 8, last=False)
    assert cpu.enter() is Exit.ABORT
    assert cpu.esr & FSC == 7
