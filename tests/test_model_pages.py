"""Hosts with pages of 16 and 64 KiB: a case, and what each KVM_RUN must show."""

import pytest

from emu.abi import errno_name
from emu.outcome import describe
from tests.played import BASE, DONE, EFAULT, MODEL, PAGE, RW, SIGBUS, guest, large, leaves, play

SHIFTS = [("16k", 0x4000), ("64k", 0x1_0000)]


def gmem(page: int) -> str:
    return (
        f"create gmem0 size={page:#x} flags=mmap,init-shared\n"
        f"memslot 0 gpa=0x40000000 size={page:#x} gmem0+0x0 flags=guest-memfd\n"
    )


CAUSES = [
    ("release gmem0\n", "EFAULT"),
    ("poison gmem0+0x0\n", "EHWPOISON"),
    ("memory-limit on\n", "ENOMEM"),
]


@pytest.mark.parametrize("access", ["read64", "write64", "fetch"])
@pytest.mark.parametrize(("cause", "errno"), CAUSES)
@pytest.mark.parametrize(("word", "page"), SHIFTS)
def test_a_fault_is_reported_at_4_kib_with_the_size_of_a_host_page(
    word: str, page: int, cause: str, errno: str, access: str
) -> None:
    accesses = [f"{access} slot0+{offset:#x}" for offset in (0, 0x1000, 0x2010, 0x3000)]
    source = f"vm page-size={word}\n" + gmem(page) + cause
    for offset, each in zip((0, 0x1000, 0x2000, 0x3000), accesses, strict=True):
        told = describe(play(source + guest(each)).runs[0])
        assert told == f"-1 {errno} MEMORY_FAULT gpa={BASE + offset:#x} size={page:#x} flags=0x0"


@pytest.mark.parametrize(("word", "page"), SHIFTS)
def test_the_clean_kernel_reports_a_whole_host_page(word: str, page: int) -> None:
    source = (
        f"vm page-size={word}\n" + gmem(page) + "release gmem0\n" + guest("read64 slot0+0x2010")
    )
    told = describe(play(source, "clean").runs[0])
    assert told == f"-1 EFAULT MEMORY_FAULT gpa={BASE:#x} size={page:#x} flags=0x0"


@pytest.mark.parametrize("word", ["4k", "16k", "64k"])
@pytest.mark.parametrize("ipa_bits", [32, 36, 40, 42])
def test_a_cold_vm_boots_with_any_page_size(word: str, ipa_bits: int) -> None:
    source = f"vm ipa-bits={ipa_bits}\nvm cold\nvm page-size={word}\n" + large("anon")
    assert [describe(run) for run in play(source + guest("write64 slot0+0x10008")).runs] == [DONE]


ALIGNMENT = [
    ("create gmem0 size={half:#x}", "EINVAL"),
    ("create gmem0 size={page:#x}", ""),
    ("memslot 0 gpa=0x40000000 size={half:#x} mem0+0x0", "EINVAL"),
    ("memslot 0 gpa={half:#x} size={page:#x} mem0+0x0", "EINVAL"),
    ("memslot 0 gpa=0x40000000 size={page:#x} mem0+{half:#x}", "EINVAL"),
    ("memslot 0 gpa=0x40000000 size={page:#x} gmem1+{half:#x} flags=guest-memfd", "EINVAL"),
    ("memslot 0 gpa=0x40000000 size={page:#x} gmem1+{page:#x} flags=guest-memfd", ""),
    ("punch gmem1+0x0 size={half:#x}", "EINVAL"),
    ("punch gmem1+{half:#x} size={page:#x}", "EINVAL"),
    ("allocate gmem1+0x0 size={half:#x}", "EINVAL"),
    ("munmap mem0+{half:#x} size={page:#x}", "EINVAL"),
    ("munmap mem0+0x0 size={half:#x}", ""),
    ("mprotect mem0+{half:#x} size={page:#x} read", "EINVAL"),
]


@pytest.mark.parametrize(("step", "refused"), ALIGNMENT)
@pytest.mark.parametrize(("word", "page"), [("4k", PAGE), *SHIFTS])
def test_alignment_is_to_the_hosts_pages(word: str, page: int, step: str, refused: str) -> None:
    source = (
        f"vm page-size={word}\ncreate mem0 size=0x40000 anon\n"
        "create gmem1 size=0x40000 flags=mmap\n"
    )
    refusals = play(source + step.format(page=page, half=page // 2) + "\n").refusals
    assert [errno_name(each.errno) for each in refusals] == ([refused] if refused else [])


@pytest.mark.parametrize(("word", "page"), SHIFTS)
def test_a_page_is_unmapped_poisoned_and_punched_whole(word: str, page: int) -> None:
    vm = f"vm page-size={word}\n"
    last = f"slot0+{page - 8:#x}"
    size = f"size={2 * page:#x}"
    anon = f"create mem0 {size} anon\nmemslot 0 gpa=0x40000000 {size} mem0+0x0\n"
    unmapped = play(vm + anon + "munmap mem0+0x0 size=0x1\n" + guest(f"read64 {last}"))
    assert describe(unmapped.runs[0]) == EFAULT
    poisoned = play(vm + anon + "poison mem0+0x8\n" + guest(f"read64 {last}"))
    assert describe(poisoned.runs[0]) == SIGBUS
    spared = play(vm + anon + "poison mem0+0x8\n" + guest(f"read64 slot0+{page:#x}"))
    assert describe(spared.runs[0]) == DONE
    punched = play(
        vm
        + gmem(page)
        + f"poison gmem0+0x8\npunch gmem0+0x0 size={page:#x}\n"
        + guest(f"write64 {last}")
    )
    assert describe(punched.runs[0]) == DONE


@pytest.mark.parametrize(("word", "page"), SHIFTS)
def test_one_fault_maps_a_whole_host_page(word: str, page: int) -> None:
    source = f"vm page-size={word}\n" + gmem(page) + "guest write64 slot0+0x1008\nrun\n"
    assert leaves(source) == {BASE: (page, RW)}
    again = play(source + "release gmem0\n" + guest("write64 slot0+0x8"))
    assert describe(again.runs[-1]).startswith("-1 EFAULT MEMORY_FAULT")


def test_the_largest_case_finds_a_page_for_everything() -> None:
    """Each access takes two pages and a table, and all steps but a few are accesses."""
    slots = "".join(
        f"create mem{n} size=0x1000000000 anon\n"
        f"memslot {n} gpa={n + 1 << 36:#x} size=0x1000000000 mem{n}+0x0\n"
        for n in range(2)
    )
    span = 1 << 29
    accesses = [
        f"guest write-pair slot{n}+{number * span - 8:#x}\n"
        for n in range(2)
        for number in range(1, 126)
    ]
    case = "vm page-size=64k\nvm ipa-bits=42\n" + slots + "".join(accesses) + "run\n"
    assert case.count("\n") - 2 == 255
    assert [describe(run) for run in play(case).runs] == [DONE]
    assert MODEL.cpu.arena.used > 3 * len(accesses)  # two pages each, and a table
