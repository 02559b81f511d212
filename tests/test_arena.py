"""The emulated machine's memory: its pool of pages and its fixed regions."""

import os

import pytest

from emu.abi import HARNESS_BASE, PAGE_SHIFT, PAGE_SIZE
from emu.arena import (
    ARENA_SIZE,
    CODE_SIZE,
    HARNESS_PFN,
    HUGE_PFN,
    HUGE_SIZE,
    POOL_PFN,
    ROOT_PAGES,
    ROOT_PFN,
    SHADOW_PFN,
    ZERO_PFN,
    Arena,
    ArenaFullError,
)
from emu.case import PAGE_SIZES


def test_an_allocated_page_is_zero_whatever_was_in_it() -> None:
    arena = Arena()
    pfn = arena.allocate()
    arena.buffer[pfn << 12 : (pfn << 12) + PAGE_SIZE] = b"\xff" * PAGE_SIZE
    arena.free(pfn)
    assert arena.allocate() == pfn
    assert arena.buffer[pfn << 12 : (pfn << 12) + PAGE_SIZE] == bytes(PAGE_SIZE)


def test_words_are_the_buffer() -> None:
    arena = Arena()
    arena.words[3] = 0x0102
    assert arena.buffer[24:32] == b"\x02\x01\0\0\0\0\0\0"


def test_the_pool_is_all_of_memory_behind_the_fixed_regions_and_each_page_once() -> None:
    arena = Arena()
    pool = range(POOL_PFN, HUGE_PFN)
    assert [arena.allocate() for _ in pool] == list(pool)
    with pytest.raises(ArenaFullError, match=f"all {len(pool)} frames are in use"):
        arena.allocate()


def test_reset_frees_what_was_allocated_and_forgets_what_was_freed() -> None:
    arena = Arena()
    arena.free(arena.allocate())
    arena.allocate()
    arena.reset()
    assert arena.used == 0


@pytest.mark.parametrize("size", PAGE_SIZES)
def test_a_page_is_as_large_as_the_hosts_and_aligned_to_that(size: int) -> None:
    arena = Arena()
    arena.reset(size)
    first, second = arena.allocate(), arena.allocate()
    assert (second - first) << PAGE_SHIFT == size
    assert (first << PAGE_SHIFT) % size == 0
    arena.buffer[first << PAGE_SHIFT : (first << PAGE_SHIFT) + size] = b"\xff" * size
    arena.free(first)
    assert arena.used == 1
    assert arena.allocate() == first
    assert not any(arena.buffer[first << PAGE_SHIFT : (first << PAGE_SHIFT) + size])


def test_a_huge_page_is_nobodys_to_give_back() -> None:
    arena = Arena()
    arena.free(HUGE_PFN + 5)
    assert arena.used == 0
    assert arena.allocate() == POOL_PFN


def test_the_fixed_regions_do_not_meet() -> None:
    largest = PAGE_SIZES[-1] >> PAGE_SHIFT
    assert 0 < ZERO_PFN < ZERO_PFN + largest <= ROOT_PFN
    assert ROOT_PFN + 2 * ROOT_PAGES == SHADOW_PFN <= HARNESS_PFN - 2 * ROOT_PAGES
    assert (HARNESS_PFN << PAGE_SHIFT) + CODE_SIZE == POOL_PFN << PAGE_SHIFT
    assert (
        ROOT_PFN % ROOT_PAGES == SHADOW_PFN % ROOT_PAGES == 0
    )  # concatenated tables are aligned to their size
    assert HARNESS_BASE % CODE_SIZE == (HARNESS_PFN << PAGE_SHIFT) % CODE_SIZE == 0
    assert ZERO_PFN % largest == POOL_PFN % largest == HUGE_PFN % largest == 0
    assert (HUGE_PFN << PAGE_SHIFT) % HUGE_SIZE == 0
    assert (HUGE_PFN << PAGE_SHIFT) + HUGE_SIZE == ARENA_SIZE


def test_memory_is_not_shared_after_a_fork() -> None:
    arena = Arena()
    child = os.fork()
    if child == 0:
        arena.words[0] = 1
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert arena.words[0] == 0
