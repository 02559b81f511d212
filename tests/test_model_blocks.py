"""Huge pages: where a fault maps a block, and what becomes of it as its memory changes."""

import pytest

from emu.abi import errno_name
from emu.outcome import describe
from emu.stage2 import Prot
from tests.played import (
    BASE,
    BLOCK,
    DONE,
    EFAULT,
    FETCH_ABORT,
    PAGE,
    RW,
    RWX,
    SIGBUS,
    R,
    X,
    guest,
    large,
    leaves,
    play,
    small,
)

# BLOCKS

SIZES = [
    # A block is mapped where the VMM has one, both addresses agree within it, and it fits the slot.
    ("thp", large("thp"), "write64 slot0+0x203008", BASE + BLOCK, (BLOCK, RW)),
    ("thp, fetched", large("thp"), "fetch slot0+0x203008", BASE + BLOCK, (BLOCK, R | X)),
    ("hugetlb, read", large("hugetlb"), "read64 slot0+0x203008", BASE + BLOCK, (BLOCK, RW)),
    ("the huge zero page", large("thp"), "read64 slot0+0x3008", BASE, (BLOCK, R)),
    ("anon", large("anon"), "write64 slot0+0x203008", BASE + 0x20_3000, (PAGE, RW)),
    ("shared", large("shared"), "write64 slot0+0x3008", BASE + 0x3000, (PAGE, RW)),
    (
        "a slot that is too small",
        large("thp", size=BLOCK - PAGE),
        "write64 slot0+0x3008",
        BASE + 0x3000,
        (PAGE, RW),
    ),
    (
        "not congruent, thp",
        large("thp", PAGE, BLOCK),
        "write64 slot0+0x3008",
        BASE + 0x3000,
        (PAGE, RW),
    ),
    (
        "not congruent, hugetlb",
        large("hugetlb", PAGE, BLOCK),
        "write64 slot0+0x3008",
        BASE + 0x3000,
        (PAGE, RW),
    ),
    (
        "past the last whole block",
        large("thp", size=BLOCK + PAGE),
        "write64 slot0+0x200008",
        BASE + BLOCK,
        (PAGE, RW),
    ),
    (
        "a read-only slot",
        large("thp", flags=" flags=readonly"),
        "read64 slot0+0x3008",
        BASE,
        (BLOCK, R),
    ),
    # Dirty logging keeps to pages, and reads map them read-only.
    (
        "logged, written",
        large("thp", flags=" flags=log-dirty"),
        "write64 slot0+0x3008",
        BASE + 0x3000,
        (PAGE, RW),
    ),
    (
        "logged, hugetlb, read",
        large("hugetlb", flags=" flags=log-dirty"),
        "read64 slot0+0x3008",
        BASE + 0x3000,
        (PAGE, R),
    ),
    # With DIC what may be read may be executed, but for device memory.
    ("thp, DIC", "vm coherent\n" + large("thp"), "write64 slot0+0x3008", BASE, (BLOCK, RWX)),
    ("anon, DIC", "vm coherent\n" + small("anon"), "read64 slot0+0x8", BASE, (PAGE, R | X)),
    (
        "device, DIC",
        "vm coherent\n" + small("device"),
        "read64 slot0+0x8",
        BASE,
        (PAGE, RW | Prot.DEVICE),
    ),
    # With larger pages 2 MiB are no block.
    (
        "hugetlb, 16 KiB",
        "vm page-size=16k\n" + large("hugetlb"),
        "write64 slot0+0x7008",
        BASE + 0x4000,
        (0x4000, RW),
    ),
    (
        "thp, 64 KiB",
        "vm page-size=64k\n" + large("thp"),
        "write64 slot0+0x23008",
        BASE + 0x2_0000,
        (0x1_0000, RW),
    ),
]


@pytest.mark.parametrize(
    ("source", "access", "ipa", "leaf"), [row[1:] for row in SIZES], ids=[row[0] for row in SIZES]
)
def test_a_fault_maps_a_block_only_where_it_can(
    source: str, access: str, ipa: int, leaf: tuple[int, int]
) -> None:
    assert leaves(source + guest(access)) == {ipa: leaf}


FETCHED = guest("write64 slot0+0x3008", "fetch slot0+0x4000")
LOG = "memslot 0 gpa=0x40000000 size=0x400000 mem0+0x0 flags=log-dirty\n"
WRITTEN = guest("write64 slot0+0x3008")

CHANGES = [
    # A permission fault relaxes the block that it met.
    ("fetched after a write", large("thp") + FETCHED, {BASE: (BLOCK, RWX)}),
    (
        "written after a read under the huge zero page",
        large("thp") + guest("read64 slot0+0x3008", "write64 slot0+0x4008"),
        {BASE: (BLOCK, RW)},
    ),
    (
        "read-only for a while",
        large("thp")
        + WRITTEN
        + "mprotect mem0+0x0 size=0x400000 read\n"
        + guest("read64 slot0+0x8")
        + "mprotect mem0+0x0 size=0x400000 read-write\n"
        + guest("write64 slot0+0x8"),
        {BASE: (BLOCK, RW)},
    ),
    # The age of a block is all of its pages'.
    (
        "aged",
        large("thp") + WRITTEN + "age slot0\n" + guest("write64 slot0+0x5008"),
        {BASE: (BLOCK, RW)},
    ),
    # Logging write-protects the block and leaves the rest; a write then takes a page of its own.
    ("logged", large("thp") + FETCHED + LOG, {BASE: (BLOCK, R | X)}),
    (
        "logged and written",
        large("thp") + WRITTEN + LOG + guest("write64 slot0+0x5008"),
        {BASE + 0x5000: (PAGE, RW)},
    ),
    (
        "logged and fetched",
        large("thp") + WRITTEN + LOG + guest("fetch slot0+0x5008"),
        {BASE + 0x5000: (PAGE, R | X)},
    ),
    (
        "logged, split, and no longer logged",
        large("thp")
        + WRITTEN
        + LOG
        + guest("write64 slot0+0x5008")
        + LOG.replace(" flags=log-dirty", "")
        + guest("read64 slot0+0x6008"),
        {BASE: (BLOCK, RW)},
    ),
    # A huge page that is cut stays in pieces.
    (
        "a page of it unmapped",
        large("thp") + WRITTEN + "munmap mem0+0x9000 size=0x1000\n" + guest("write64 slot0+0x5008"),
        {BASE + 0x5000: (PAGE, RW)},
    ),
    (
        "a page of it protected, and not any more",
        large("thp")
        + WRITTEN
        + "mprotect mem0+0x9000 size=0x1000 read\n"
        + "mprotect mem0+0x9000 size=0x1000 read-write\n"
        + guest("write64 slot0+0x5008"),
        {BASE + 0x5000: (PAGE, RW)},
    ),
    (
        "a page of it given the protection that it has",
        large("thp")
        + WRITTEN
        + "mprotect mem0+0x9000 size=0x1000 read-write\n"
        + guest("write64 slot0+0x5008"),
        {BASE: (BLOCK, RW)},
    ),
    (
        "a page of it poisoned",
        large("thp") + WRITTEN + "poison mem0+0x9000\n" + guest("write64 slot0+0x5008"),
        {BASE + 0x5000: (PAGE, RW)},
    ),
    (
        "a page of it unmapped, and the other huge page",
        large("thp")
        + WRITTEN
        + "munmap mem0+0x9000 size=0x1000\n"
        + guest("write64 slot0+0x205008"),
        {BASE + BLOCK: (BLOCK, RW)},
    ),
    ("moved", large("thp") + WRITTEN + "memslot 0 gpa=0x80000000 size=0x400000 mem0+0x0\n", {}),
]


@pytest.mark.parametrize(
    ("source", "expected"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_a_block_changes_as_its_memory_does(
    source: str, expected: dict[int, tuple[int, int]]
) -> None:
    assert leaves(source) == expected
    assert {describe(run) for run in play(source).runs} <= {DONE, f"{DONE} {FETCH_ABORT}"}


HUGE = [
    # hugetlbfs has nothing smaller than its page.
    ("a part unmapped", "hugetlb", "munmap mem0+0x0 size=0x1000\n", DONE, "EINVAL"),
    ("a part protected", "hugetlb", "mprotect mem0+0x1000 size=0x1ff000 none\n", DONE, "EINVAL"),
    (
        "a part given the protection that it has",
        "hugetlb",
        "mprotect mem0+0x1000 size=0x1000 read-write\n",
        DONE,
        "",
    ),
    ("all unmapped", "hugetlb", "munmap mem0+0x0 size=0x200000\n", EFAULT, ""),
    ("all protected", "hugetlb", "mprotect mem0+0x0 size=0x200000 none\n", EFAULT, ""),
    ("another page poisoned", "hugetlb", "poison mem0+0x1f0000\n", SIGBUS, ""),
    ("another huge page poisoned", "hugetlb", "poison mem0+0x200000\n", DONE, ""),
    # A transparent one is split first.
    ("another page poisoned", "thp", "poison mem0+0x1f0000\n", DONE, ""),
    ("the page poisoned", "thp", "poison mem0+0x0\n", SIGBUS, ""),
    ("a part unmapped", "thp", "munmap mem0+0x0 size=0x1000\n", EFAULT, ""),
    ("another part unmapped", "thp", "munmap mem0+0x1000 size=0x1000\n", DONE, ""),
    (
        "the zero page poisoned",
        "thp",
        "mprotect mem0+0x0 size=0x200000 read\npoison mem0+0x0\n",
        DONE,
        "EBUSY",
    ),
    ("a device poisoned", "device", "poison mem0+0x0\n", DONE, "EFAULT"),
    ("shared memory cut short", "shared", "truncate mem0 size=0x0\n", DONE, "EBADF"),
]


def test_a_huge_zero_page_that_is_cut_leaves_nothing_missing() -> None:
    watched = "userfault mem0+0x0 size=0x1000 missing\n"
    source = large("thp") + guest("read64 slot0+0x8") + watched + guest("read64 slot0+0x8")
    assert [run.userfaults for run in play(source).runs] == [0, 0]


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize(
    ("kind", "step", "expected", "refused"),
    [row[1:] for row in HUGE],
    ids=[f"{row[1]}: {row[0]}" for row in HUGE],
)
def test_what_happens_to_a_huge_page_happens_to_its_parts(
    kind: str, step: str, expected: str, refused: str, touched: bool
) -> None:
    before = guest("read64 slot0+0x10") if touched else ""
    outcomes = play(large(kind) + before + step + guest("read64 slot0+0x10"))
    assert [errno_name(each.errno) for each in outcomes.refusals] == ([refused] if refused else [])
    assert describe(outcomes.runs[-1]) == expected


def test_the_size_of_the_vmms_mapping_is_asked_for_where_a_block_would_fit() -> None:
    fail = "fail get_user_mapping_size {}\n"
    resumed = play(large("anon") + fail.format("EAGAIN") + WRITTEN)
    assert [describe(run) for run in resumed.runs] == [DONE + " injected"]
    raw = play(large("anon") + fail.format("ENOMEM") + WRITTEN)
    assert [describe(run) for run in raw.runs] == ["-1 ENOMEM UNKNOWN injected"]
    not_asked = play(large("anon", PAGE, BLOCK) + fail.format("ENOMEM") + WRITTEN)
    assert [describe(run) for run in not_asked.runs] == [DONE]
