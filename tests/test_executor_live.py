"""The executor on a real kernel, in a box: skipped where no image was fetched."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emu import casefile, text, wire
from emu.abi import Errno
from emu.case import Case
from emu.expectation import ExpectedLine, ExpectedRun, expected_lines
from emu.live import box
from emu.live.machine import LiveMachine
from emu.live.needs import Needs
from emu.live.unsupported import Unsupported, objection
from emu.outcome import DirtyLog, Outcomes, Refusal, describe
from fuzz.mutation.mutate import Mutator
from tests.live_boxes import cached_image, executor

pytestmark = pytest.mark.live

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = sorted(
    path
    for folder in ("observed", "recover", "thread", "vcpus")
    for path in CORPUS.glob(f"{folder}/*.case")
)


@pytest.fixture(scope="module")
def machine() -> Iterator[LiveMachine]:
    with box.start(cached_image(), executor(), Needs()) as started:
        yield LiveMachine(started)


def played(machine: LiveMachine, case: Case) -> Outcomes:
    answer = machine.run(case)
    assert isinstance(answer, Outcomes), str(answer)
    return answer


def seen(machine: LiveMachine, content: str) -> list[str]:
    """The case's lines may have semicolons between them."""
    case = text.load(content.replace(";", "\n") + "\n")
    return [describe(run) for run in played(machine, case).runs]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_corpus_case_gives_what_its_file_says(machine: LiveMachine, path: Path) -> None:
    file = casefile.load(path.read_text(), path.name)
    if found := objection(file.case, machine.host):
        pytest.skip(str(found))
    expected = file.expected_of("v7.3")
    assert expected is not None
    told = expected_lines(played(machine, file.case), {})
    assert told == tuple(unjudged(line) for line in expected.lines)


def unjudged(line: ExpectedLine) -> ExpectedLine:
    """Without the clauses: the judge has tests of its own."""
    return replace(line, clauses=()) if isinstance(line, ExpectedRun) else line


MEM = "create mem0 size=0x2000 anon; memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0;"
MMIO = "0 MMIO gpa=0x50000000 len=8 read"
IDLE = "0 MMIO doorbell"

HUGE = "create mem0 size=0x200000 {}; memslot 0 gpa=0x40000000 size=0x200000 mem0+0x0;"

SEEN = [
    #  the case                                                what is seen of its KVM_RUNs
    ("vm vcpu=uninitialized; run; run signal", ["-1 ENOEXEC UNKNOWN"] * 2),
    ("guest fetch 0x50000000; run", [f"{IDLE} exception=0x86000010"]),
    ("vm nisv-to-user; guest cas 0x50000000; run", ["0 ARM_NISV iss=0x5 ipa=0x50000000"]),
    # A load that is completed changes its register; the access after it starts afresh.
    (
        "guest read64 0x50000000; run; mmio-data 0x5; run immediate-exit",
        [MMIO, "-1 EINTR MMIO gpa=0x50000000 len=8 read moved changed"],
    ),
    (
        "guest read64 0x50000000; run; mmio-data 0x5; guest read-exclusive 0x50000000; run",
        [MMIO, "-1 ENOSYS UNKNOWN"],
    ),
    ("guest read-pair 0x50000000; run; skip; run", ["-1 ENOSYS UNKNOWN", IDLE]),
    # The queue grows while the guest is idle.
    (f"run; {MEM} guest read-post-index slot0+0x0; guest walk slot0+0x8; run", [IDLE] * 2),
    (f"{MEM} guest fetch slot0+0x0; guest write-exclusive slot0+0x8; run", [IDLE]),
    (f"{MEM} munmap mem0+0x0 size=0x2000; guest dc-zva slot0+0x40; run", ["-1 EFAULT UNKNOWN"]),
    ("run other-mm bad-argument; run bad-argument", ["-1 EIO UNKNOWN", "-1 EINVAL UNKNOWN"]),
    ("run signal; run", ["-1 EINTR INTR", IDLE]),
    # A cold guest stands before its access at first, not before its queue.
    (f"vm cold; {MEM} memory-limit on; guest read64 slot0+0x0; run", ["-1 ENOMEM UNKNOWN"]),
    (f"{HUGE.format('hugetlb')} guest write64 slot0+0x1ffff8; run", [IDLE]),
    (
        f"{HUGE.format('hugetlb')} munmap mem0+0x0 size=0x1000; guest write64 slot0+0x0; run",
        [IDLE],
    ),
    (
        f"{HUGE.format('thp')} munmap mem0+0x0 size=0x1000; guest write64 slot0+0x0; run",
        ["-1 EFAULT UNKNOWN"],
    ),
    # Each page is asked for once; where the signal is wanted, no page comes.
    (
        (
            f"{MEM} userfault mem0+0x0 size=0x2000 missing; guest write64 slot0+0x0; guest read64"
            " slot0+0x8; guest read64 slot0+0x1000; run; run"
        ),
        [f"{IDLE} userfaults=2", IDLE],
    ),
    (
        (
            f"{MEM} userfault mem0+0x0 size=0x1000 sigbus; guest write64 slot0+0x1000; guest read64"
            " slot0+0x0; run; userfault mem0+0x0 size=0x1000 off; run"
        ),
        ["-1 EFAULT UNKNOWN", IDLE],
    ),
    (
        (
            f"{MEM} guest read64 slot0+0x0; run; userfault mem0+0x0 size=0x1000 write-protect;"
            " guest read64 slot0+0x0; guest write64 slot0+0x0; guest write64 slot0+0x0; run"
        ),
        [IDLE, f"{IDLE} userfaults=1"],
    ),
    # Once it watches in another way, it does not watch in the first.
    (
        (
            f"{MEM} userfault mem0+0x0 size=0x2000 sigbus; userfault mem0+0x0 size=0x2000 missing;"
            " userfault mem0+0x1000 size=0x1000 off; guest read64 slot0+0x0; guest read64"
            " slot0+0x1000; run"
        ),
        [f"{IDLE} userfaults=1"],
    ),
    # Another vCPU's exit is its own, and each guest goes on where it was.
    (
        (
            "guest read64 0x50000000; vcpu 1; guest read64 0x60000000; vcpu 0; run; vcpu 1; run;"
            " skip; mmio-data 0x1; vcpu 0; skip; mmio-data 0x2; run; vcpu 1; run"
        ),
        [MMIO, "0 MMIO gpa=0x60000000 len=8 read", IDLE, IDLE],
    ),
    # What a case's first fault needs is there for every vCPU.
    ("memory-limit on; vcpu 3; guest cas 0x1; run", [f"{IDLE} exception=0x96000021"]),
    # A first read of a huge page costs nothing, a write of it does.
    (
        (
            f"{HUGE.format('thp')} guest read64 slot0+0x8; run; memory-limit on;"
            " guest write64 slot0+0x8; run"
        ),
        [IDLE, "-1 EFAULT UNKNOWN"],
    ),
    # Flash of QEMU's machine: device memory, from which nothing can be fetched.
    (
        (
            "create mem0 size=0x2000 device; memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0;"
            " guest swp slot0+0x8; run; guest fetch slot0+0x1000; run; munmap mem0+0x0 size=0x1000;"
            " guest read64 slot0+0x8; run"
        ),
        [IDLE, f"{IDLE} exception=0x86000010", "-1 EFAULT UNKNOWN"],
    ),
    # The kernel completes the doorbell's store again and again.
    ("ioeventfd gpa=0xf0200000 size=8; run; run signal", ["hang EINTR INTR", "-1 EINTR INTR"]),
]


@pytest.mark.parametrize(("content", "expected"), SEEN)
def test_the_guest_and_its_vmm_do_what_the_case_says(
    machine: LiveMachine, content: str, expected: list[str]
) -> None:
    assert seen(machine, content) == expected


def test_a_dirty_log_tells_what_was_written_since_the_last_one(machine: LiveMachine) -> None:
    content = (
        "create mem0 size=0x3000 anon; memslot 0 gpa=0x40000000 size=0x3000 mem0+0x0"
        " flags=log-dirty; guest write64 slot0+0x2000; run; dirty-log slot0; dirty-log slot0;"
        " dirty-log slot1"
    )
    outcomes = played(machine, text.load(content.replace(";", "\n")))
    assert outcomes.logs == (DirtyLog(4, (2,)), DirtyLog(5, ()))
    assert outcomes.refusals == (Refusal(6, Errno.ENOENT),)


def test_a_limit_holds_back_what_an_earlier_case_gave_back(machine: LiveMachine) -> None:
    leak = (
        "create gmem0 size=0x1000 flags=mmap; memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0"
        " flags=guest-memfd; memory-limit on; guest read64 slot0+0x0; run"
    )
    told = "-1 ENOMEM MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0"
    assert [seen(machine, leak) for _ in range(20)] == [[told]] * 20


def test_a_page_that_is_poisoned_is_told_by_a_signal_and_leaves_the_box_alive(
    machine: LiveMachine,
) -> None:
    poisoned = f"{MEM} poison mem0+0x1000; guest read64 slot0+0x1000; run; run"
    assert seen(machine, poisoned) == ["-1 EINTR INTR sigbus"] * 2
    assert seen(machine, "run") == [IDLE]


def test_what_the_kernel_says_of_a_case_is_on_a_resumed_machines_console_with_its_answer() -> None:
    poisoned = text.load(
        f"{MEM} guest write64 slot0+0x1000; run; poison mem0+0x1000; run".replace(";", "\n") + "\n"
    )
    with box.start(cached_image(), executor(), Needs()) as started:
        machine = LiveMachine(started)
        said = []
        for _ in range(3):
            played(machine, poisoned)
            said.append(any("Memory failure" in line for line in started.console.tail()))
            started.restart()
            machine = LiveMachine(started)
    assert said == [True] * 3


def test_an_access_is_reported_by_its_step_and_idle_when_all_are_done(machine: LiveMachine) -> None:
    content = "guest read64 0x50000000\nrun\nskip\nrun\nrun\n"
    assert [run.access for run in played(machine, text.load(content)).runs] == [0, -1, -1]


def test_whatever_is_asked_is_answered_and_the_same_case_gives_the_same(
    machine: LiveMachine,
) -> None:
    mutator = Mutator(random.Random(3))  # noqa: S311 - a seed, so that a failure can be repeated
    data = wire.encode(text.load("run\n"))
    for _ in range(100):
        data = mutator.mutate(data)
        answer = machine.run(wire.decode(data))
        assert isinstance(answer, Unsupported) or machine.run(wire.decode(data)) == answer
