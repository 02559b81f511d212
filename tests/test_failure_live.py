"""Errors injected by a built kernel itself: the same comes of them as with a debugger's."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import casefile, text
from emu.expectation import expected_lines
from emu.live import box
from emu.live.build_variants import KCOV
from emu.live.machine import LiveMachine
from emu.live.needs import Needs
from emu.live.protocol import Kind
from emu.live.unsupported import Unsupported, objection
from emu.outcome import Outcomes, describe
from tests.live_boxes import built_image, executor

pytestmark = pytest.mark.live

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = [
    path
    for path in sorted(CORPUS.glob("*/*.case"))
    if re.search("^fail ", path.read_text(), re.MULTILINE) and "vm nested" not in path.read_text()
]
GMEM = (
    "create gmem0 size=0x4000 flags=mmap\n"
    "memslot 0 gpa=0x40000000 size=0x4000 gmem0+0x0 flags=guest-memfd\n"
)
MEMORY = "create mem0 size=0x1000 anon\nmemslot 0 gpa=0x40000000 size=0x1000 mem0+0x0\n"
READ = "guest read64 slot0+0x0\nrun\n"


def started(config: str, kind: Kind, *, injecting: bool) -> Iterator[LiveMachine]:
    needed = Needs(injecting=injecting, debugfs=True)
    with box.start(built_image("v7.3", config), executor(), needed) as booted:
        yield LiveMachine(booted, kind)


@pytest.fixture(scope="module")
def debugged() -> Iterator[LiveMachine]:
    yield from started("", Kind.CASE, injecting=True)


@pytest.fixture(scope="module")
def failing() -> Iterator[LiveMachine]:
    yield from started("", Kind.CASE, injecting=False)


@pytest.fixture(scope="module")
def allocating() -> Iterator[LiveMachine]:
    yield from started(KCOV, Kind.ALLOCATING, injecting=False)


def same(one: LiveMachine, other: LiveMachine, path: Path) -> None:
    case = casefile.load(path.read_text(), path.name).case
    if found := objection(case, one.host) or objection(case, other.host):
        pytest.skip(str(found))
    first, second = one.run(case), other.run(case)
    if isinstance(second, Unsupported):  # only when it was played, this could be known
        pytest.skip(str(second))
    assert isinstance(first, Outcomes), str(first)
    assert expected_lines(first, {}) == expected_lines(second, {})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_fail_function_does_what_a_breakpoint_does(
    debugged: LiveMachine, failing: LiveMachine, path: Path
) -> None:
    same(debugged, failing, path)


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if re.search(r"^fail \S+ ENOMEM", path.read_text(), re.MULTILINE)],
    ids=lambda path: path.stem,
)
def test_an_allocation_that_fails_does_what_a_breakpoint_does(
    debugged: LiveMachine, allocating: LiveMachine, path: Path
) -> None:
    same(debugged, allocating, path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"{GMEM}fail kvm_gmem_get_pfn ENOMEM\n{READ}", "-1 ENOMEM MEMORY_FAULT"),
        (f"vm cold\n{GMEM}fail kvm_mmu_topup_memory_cache ENOMEM\n{READ}", "-1 ENOMEM UNKNOWN"),
        (f"{MEMORY}fail __kvm_faultin_pfn ENOMEM\n{READ}", "-1 EFAULT UNKNOWN"),
    ],
)
def test_each_way_to_inject_shows_the_same_lack_of_memory(
    debugged: LiveMachine,
    failing: LiveMachine,
    allocating: LiveMachine,
    content: str,
    told: str,
) -> None:
    case = text.load(content)
    for machine in (debugged, failing, allocating):
        answer = machine.run(case)
        assert isinstance(answer, Outcomes), str(answer)
        assert describe(answer.runs[0]).startswith(told)
        assert answer.runs[0].injected


def test_a_function_that_needs_no_memory_does_not_fail_for_want_of_it(
    allocating: LiveMachine,
) -> None:
    content = f"{GMEM}fail kvm_mmu_topup_memory_cache ENOMEM\n{READ}"
    answer = allocating.run(text.load(content))  # its store was filled when the VM was warmed up
    assert isinstance(answer, Unsupported)
    assert "nothing was allocated" in answer.reason


def test_what_a_case_did_not_reach_does_not_fail_in_the_next_one(failing: LiveMachine) -> None:
    failing.run(text.load(f"{GMEM}fail kvm_gmem_get_pfn EIO\nrun\n"))
    answer = failing.run(text.load(f"{GMEM}{READ}"))
    assert isinstance(answer, Outcomes)
    assert not answer.runs[0].injected


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_the_nth_call_fails(failing: LiveMachine, nth: int) -> None:
    reads = "".join(f"guest read64 slot0+{page:#x}\nrun\n" for page in (0, 0x1000, 0x2000))
    answer = failing.run(text.load(f"{GMEM}fail kvm_gmem_get_pfn EIO nth={nth}\n{reads}"))
    assert isinstance(answer, Outcomes)
    assert [run.errno for run in answer.runs][:nth] == [0] * (nth - 1) + [5]


def test_errors_are_injected_under_a_memory_limit(failing: LiveMachine) -> None:
    fail = "fail kvm_gmem_get_pfn EIO\n"
    answer = failing.run(text.load(f"{GMEM}memory-limit on\n{fail}{READ}{fail}run\n"))
    assert isinstance(answer, Outcomes), str(answer)
    assert [run.errno for run in answer.runs] == [5, 5]


def test_two_kinds_of_error_at_once_are_not_played(failing: LiveMachine) -> None:
    waiting = "fail kvm_gmem_get_pfn EIO\nfail kvm_gmem_get_pfn ENOMEM\n"
    answer = failing.run(text.load(f"{GMEM}{waiting}{READ}"))
    assert isinstance(answer, Unsupported)
    assert "holds no two such errors at once" in answer.reason


def test_an_errno_that_no_allocation_has_is_not_played(allocating: LiveMachine) -> None:
    answer = allocating.run(text.load(f"{GMEM}fail kvm_gmem_get_pfn EIO\n{READ}"))
    assert answer == Unsupported("no single allocation that fails comes to this", 2)
