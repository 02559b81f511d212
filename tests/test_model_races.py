"""Races with other threads: a case, and what each of its KVM_RUNs must show.

The expectations are written from the facts about the kernel, not from the model.
"""

import pytest

from emu import text
from emu.abi import errno_name
from emu.kernels import KERNELS
from emu.kernels.releases import V73
from emu.kvm.state import Kvm
from emu.model import Model
from emu.outcome import Outcomes, describe

GMEM = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
ANON = """
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""
LOGGED = "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=log-dirty"
READ = "guest read64 0x40000010\n"
POINTS = ("entry", "walk", "lookup", "pin", "map")

DONE = "0 MMIO doorbell"
READ_MMIO = "0 MMIO gpa=0x40000010 len=8 read"
FAULT = "-1 EFAULT MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0"
FETCH_ABORT = "0 MMIO doorbell exception=0x86000010"
NO_PAGE = "-1 EFAULT UNKNOWN"
SIGBUS = "-1 EINTR INTR sigbus"

# What happens, at which points, and what one read then shows.
EVENTS = [
    # The page is taken away before, during or after it is looked up: the same, sooner or later.
    ("release gmem0", GMEM, POINTS, FAULT),
    ("punch gmem0+0x0 size=0x1000", GMEM, POINTS, DONE),
    ("munmap mem0+0x0 size=0x1000", ANON, POINTS, NO_PAGE),
    ("mprotect mem0+0x0 size=0x1000 none", ANON, POINTS, NO_PAGE),
    ("poison mem0+0x0", ANON, POINTS, SIGBUS),
    # A slot that is INVALID is none to whoever looks it up, and whoever had it loses the page.
    ("memslot 0 delete", ANON, POINTS, READ_MMIO),
    ("memslot 0 delete", GMEM, POINTS, READ_MMIO),
    # Memory that runs out is missed by the first who needs it.
    ("memory-limit on", GMEM, POINTS[:4], FAULT.replace("EFAULT", "ENOMEM")),
    ("memory-limit on", GMEM, POINTS[4:], DONE),
    # A new slot is there at once.
    ("memslot 1 gpa=0x40000000 size=0x1000 mem0+0x0", "create mem0 size=0x1000 anon\n",
     POINTS[:2], DONE),
    ("memslot 1 gpa=0x40000000 size=0x1000 mem0+0x0", "create mem0 size=0x1000 anon\n",
     POINTS[2:3], READ_MMIO),
    # One that moves is nowhere until the vCPU has left.
    ("memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0",
     "create mem0 size=0x2000 anon\nmemslot 0 gpa=0x50000000 size=0x2000 mem0+0x0\n",
     POINTS[:1], DONE),
    ("memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0",
     "create mem0 size=0x2000 anon\nmemslot 0 gpa=0x50000000 size=0x2000 mem0+0x0\n",
     POINTS[1:3], READ_MMIO),
    # One that cannot move comes back.
    ("memslot 0 gpa=0x10000000000 size=0x2000 mem0+0x0", ANON, POINTS[2:], DONE),
]  # fmt: skip

RACES = [
    ("a step that is never reached does not happen", GMEM + READ + "at map\nrelease gmem0\n", []),
    (
        "a point that is never reached",
        "guest read64 0x50000010\nat pin\nmemory-limit on\nrun\n",
        ["0 MMIO gpa=0x50000010 len=8 read"],
    ),
    (
        "an access is not moved, and what follows it neither",
        GMEM + "at map\n" + READ + "release gmem0\nrun\n",
        [FAULT],
    ),
    ("KVM_RUN cannot fall into itself", GMEM + READ + "at map\nrun\nrun\n", [DONE, DONE]),
    (
        "an invalid slot and a fetch",
        GMEM + "guest fetch 0x40000010\nat walk\nmemslot 0 delete\nrun\n",
        [FETCH_ABORT],
    ),
    (
        "an invalid slot and an access without a syndrome",
        GMEM + "guest read-pair 0x40000010\nat walk\nmemslot 0 delete\nrun\n",
        ["-1 ENOSYS UNKNOWN"],
    ),
    (
        "a slot that comes back when slots_lock is free",
        GMEM + READ + "at map\nmemslot 0 delete\nat map\n"
        "memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd\nrun\n",
        [DONE],
    ),
    (
        "the page of a released file is not mapped, with what came at the same point",
        GMEM + READ + "at map\npunch gmem0+0x0 size=0x1000\nat map\nrelease gmem0\nrun\n",
        [FAULT],
    ),
    (
        "a permission fault loses as well",
        ANON + READ + "run\nguest write64 0x40000010\nat map\n"
        "mprotect mem0+0x0 size=0x1000 read\nrun\n",
        [DONE, NO_PAGE],
    ),
]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def play(model: Model, source: str) -> Outcomes:
    return model.run(text.load(source), KERNELS["v7.3"])


def shown(outcomes: Outcomes) -> list[str]:
    return [describe(run) for run in outcomes.runs]


@pytest.mark.parametrize(
    ("event", "vm", "point", "expected"),
    [(event, vm, point, shows) for event, vm, points, shows in EVENTS for point in points],
)
def test_an_event_in_the_midst_of_a_fault_shows_what_the_kernel_shows(
    model: Model, event: str, vm: str, point: str, expected: str
) -> None:
    source = f"{vm}{READ}at {point}\n{event}\nrun\n"
    assert shown(play(model, source)) == [expected], source


@pytest.mark.parametrize(("name", "source", "expected"), RACES)
def test_a_race_shows_what_the_kernel_shows(
    model: Model, name: str, source: str, expected: list[str]
) -> None:
    assert shown(play(model, source)) == expected, name


def test_a_refusal_of_a_moved_step_is_recorded_under_that_step(model: Model) -> None:
    outcomes = play(model, GMEM + "punch gmem6+0x0 size=0x1000\n" + READ + "at map\n"
                    "punch gmem7+0x0 size=0x1000\nrun\nrelease gmem5\n")  # fmt: skip
    assert [refusal.step for refusal in outcomes.refusals] == [2, 5, 7]


def test_a_moved_step_that_waits_for_slots_lock_is_refused_by_what_it_finds_then(
    model: Model,
) -> None:
    outcomes = play(model, GMEM + READ + "at map\nmemslot 0 delete\n" * 2 + "run\n")
    assert [(each.step, errno_name(each.errno)) for each in outcomes.refusals] == [(6, "EINVAL")]


def test_a_write_is_logged_whether_logging_begins_before_or_behind_the_fault(model: Model) -> None:
    for point in POINTS:
        source = f"{ANON}guest write64 0x40000010\nat {point}\n{LOGGED}\nrun\ndirty-log slot0\n"
        outcomes = play(model, source)
        assert [log.pages for log in outcomes.logs] == [(0,)], point


def test_moved_steps_leave_the_addresses_of_later_accesses_alone(model: Model) -> None:
    source = (
        ANON + "guest read64 slot0+0x10\nat pin\nmemslot 0 gpa=0x50000000 size=0x2000 mem0+0x0\n"
        "memslot 0 gpa=0x60000000 size=0x2000 mem0+0x0\nrun\nguest read64 slot0+0x10\nrun\n"
    )
    assert shown(play(model, source))[-1] == "0 MMIO gpa=0x60000010 len=8 read"


class NoRetry(V73):
    """A kernel that maps what it has in hand, come what may."""

    def mmu_invalidate_retry(self, kvm: Kvm, seq: int) -> bool:
        super().mmu_invalidate_retry(kvm, seq)
        return False


@pytest.mark.parametrize(
    ("vm", "event"), [(GMEM, "release gmem0"), (ANON, "munmap mem0+0x0 size=0x1000")]
)
def test_without_the_invalidation_count_a_page_that_is_gone_is_mapped(
    model: Model, vm: str, event: str
) -> None:
    case = text.load(f"{vm}{READ}at map\n{event}\nrun\n")
    assert shown(model.run(case, NoRetry())) == [DONE]
