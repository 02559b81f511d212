"""Kinds of memory, and huge pages: a case, and what each KVM_RUN must show.

The expectations are written from the facts about the kernel and mm/, not from the model.
"""

import pytest

from emu.abi import errno_name
from emu.outcome import describe
from tests.played import (
    DONE,
    EFAULT,
    FETCH_ABORT,
    large,
    play,
    small,
)

# WHAT A KIND OF MEMORY IS GOOD FOR

KINDS = [
    # What is not there yet costs a page, also to read, but for the zero page's two.
    ("anon, limit, read", "memory-limit on\n" + small("anon"), "read64", DONE),
    ("thp, limit, read", "memory-limit on\n" + small("thp"), "read64", DONE),
    ("thp, limit, write", "memory-limit on\n" + small("thp"), "write64", EFAULT),
    ("shared, limit, read", "memory-limit on\n" + small("shared"), "read64", EFAULT),
    ("large thp, limit, read", "memory-limit on\n" + large("thp"), "read64", DONE),
    ("large thp, limit, write", "memory-limit on\n" + large("thp"), "write64", EFAULT),
    # Pages of hugetlbfs, and those that are no memory of the system's, cost nothing.
    ("hugetlb, limit, write", "memory-limit on\n" + large("hugetlb"), "write64", DONE),
    ("device, limit, write", "memory-limit on\n" + small("device"), "write64", DONE),
    # Device memory cannot be executed, whatever the CPU.
    ("device, read", small("device"), "read64", DONE),
    ("device, fetch", small("device"), "fetch", DONE + " " + FETCH_ABORT),
    ("device, DIC, fetch", "vm coherent\n" + small("device"), "fetch", DONE + " " + FETCH_ABORT),
    (
        "device, read-only, write",
        small("device") + "mprotect mem0+0x0 size=0x1000 read\n",
        "write64",
        EFAULT,
    ),
    (
        "device, read-only, read",
        small("device") + "mprotect mem0+0x0 size=0x1000 read\n",
        "read64",
        DONE,
    ),
    # Cacheable memory without struct pages needs FWB and DIC.
    ("pfnmap, DIC, write", "vm coherent\n" + small("pfnmap"), "write64", DONE),
    ("pfnmap, DIC, fetch", "vm coherent\n" + small("pfnmap"), "fetch", DONE),
    (
        "pfnmap mapped behind a slot",
        small("anon") + "create mem0 size=0x2000 pfnmap\n",
        "read64",
        EFAULT,
    ),
    # MTE needs tags, which an ordinary file's pages have no room for.
    ("anon, MTE", "vm mte\n" + small("anon"), "write64", DONE),
    ("hugetlb, MTE", "vm mte\n" + large("hugetlb"), "write64", DONE),
    (
        "a file behind a slot, MTE",
        "vm mte\n" + small("anon") + "create mem0 size=0x2000 file\n",
        "read64",
        EFAULT,
    ),
    (
        "a device behind a slot, MTE",
        "vm mte\n" + small("anon") + "create mem0 size=0x2000 device\n",
        "read64",
        DONE,
    ),
]


@pytest.mark.parametrize(
    ("source", "access", "expected"), [row[1:] for row in KINDS], ids=[row[0] for row in KINDS]
)
def test_each_kind_of_memory_serves_what_it_can(source: str, access: str, expected: str) -> None:
    outcomes = play(f"{_vm_first(source)}guest {access} slot0+0x10\nrun\n")
    assert outcomes.refusals == ()
    assert [describe(run) for run in outcomes.runs] == [expected]


def _vm_first(source: str) -> str:
    """The lines of the VM in front of all steps."""
    lines = source.splitlines(keepends=True)
    return "".join(sorted(lines, key=lambda line: not line.startswith("vm ")))


GMEM = """
create gmem0 size=0x1000 flags=mmap
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
"""
BEHIND_A_DEVICE = """
create mem0 size=0x1000 device
memslot 0 gpa=0x40000000 size=0x1000 mem0+0x1000 flags=log-dirty
"""

SLOTS = [
    ("a device", "", small("device"), ""),
    ("a device, logged", "", small("device", " flags=log-dirty"), "EINVAL"),
    ("a device, with DIC, logged", "vm coherent\n", small("device", " flags=log-dirty"), "EINVAL"),
    ("pfnmap", "", small("pfnmap"), "EINVAL"),
    ("pfnmap, with DIC", "vm coherent\n", small("pfnmap"), ""),
    ("pfnmap, with DIC, logged", "vm coherent\n", small("pfnmap", " flags=log-dirty"), "EINVAL"),
    ("anon, MTE", "vm mte\n", small("anon"), ""),
    ("shared, MTE", "vm mte\n", small("shared"), ""),
    ("thp, MTE", "vm mte\n", small("thp"), ""),
    ("hugetlb, MTE", "vm mte\n", small("hugetlb"), ""),
    ("file, MTE", "vm mte\n", small("file"), "EINVAL"),
    ("device, MTE", "vm mte\n", small("device"), "EINVAL"),
    ("pfnmap, MTE", "vm mte\nvm coherent\n", small("pfnmap"), "EINVAL"),
    (
        "guest_memfd, MTE",
        "vm mte\n",
        GMEM,
        "EINVAL",
    ),
    (
        "only a part of the range is a device, logged",
        "",
        BEHIND_A_DEVICE,
        "",
    ),
]


@pytest.mark.parametrize(
    ("vm", "steps", "refused"), [row[1:] for row in SLOTS], ids=[row[0] for row in SLOTS]
)
def test_a_slot_over_memory_that_it_cannot_serve_is_refused(
    vm: str, steps: str, refused: str
) -> None:
    refusals = play(vm + steps).refusals
    assert [errno_name(refusal.errno) for refusal in refusals] == ([refused] if refused else [])


def test_logging_cannot_be_switched_on_over_a_device() -> None:
    on = "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=log-dirty\n"
    assert [errno_name(each.errno) for each in play(small("device") + on).refusals] == ["EINVAL"]
    assert play(small("anon") + on).refusals == ()
