"""Outcomes that no kernel shows are questions; where there is no opinion, nothing is one."""

from typing import Final

import msgspec
import pytest

from emu import text
from emu.abi import STAMP_GPA, STAMP_SIZE, Errno, ExitReason
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.expectation.expect import questions
from tests.premised import ANON, GMEM

MODEL: Final = Model()
DEVICE: Final = ANON.replace("anon", "device")

NO_OPINION: Final = [
    GMEM + "force-abort fsc=0x10\nguest read64 slot0+0x0\nrun\n",
    "vm cold\n" + GMEM + "memory-limit on\nguest read64 slot0+0x0\nrun\n",
    "vm cold\n" + GMEM + "at map\nmemory-limit on\nguest read64 slot0+0x0\nrun\n",
    GMEM + "at map\nrelease gmem0\n" * 4 + "guest read64 slot0+0x0\nrun\n",
    GMEM + "vcpu 1\nat map\nrun\nvcpu 0\nguest read64 slot0+0x0\nrun\n",
    DEVICE + "guest read64 slot0+0x0\nrun\n",
    # Nor is there one of what comes after.
    DEVICE + "guest read64 slot0+0x0\nrun\nrun bad-argument\n",
    DEVICE + "munmap mem0+0x0 size=0x1000\nguest read64 slot0+0x0\nrun\nrun bad-argument\n",
    "vm protected\nvm cold\n" + ANON + "memlock-limit on\nguest read64 slot0+0x0\nrun\n",
    "vm nested\nl2 walk 0x0\nrun\n",
    # L2's own code may be what fails.
    "vm nested\nl2 read64 0x5000\nmemory-limit on\nrun\n",
    "vm nested\nl1-map 0x0 0x5000 flags=write\nl2 dc-cvac 0x0\nrun\n",
    # L1's tables are the older or the newer ones.
    "vm nested\n" + GMEM + "at swap\nl1-map 0x0 0x5000 flags=read\nl2 read64 0x0\nrun\n",
]


@pytest.mark.parametrize("content", NO_OPINION)
def test_where_the_case_does_not_settle_it_there_is_no_opinion(content: str) -> None:
    case = text.load(content)
    outcomes = MODEL.run(case, KERNELS["clean"])
    assert questions(case, _garbled(outcomes)) == ()


def _garbled(outcomes: Outcomes) -> Outcomes:
    """Outcomes that no kernel shows."""
    runs = tuple(
        msgspec.structs.replace(run, ret=-1, errno=int(Errno.E2BIG)) for run in outcomes.runs
    )
    return msgspec.structs.replace(outcomes, runs=runs)


TOLD: Final = [
    #  the case                                             what is changed in its last run
    (GMEM + "guest read64 slot0+0x0\nrun\n", {"ret": -1, "errno": int(Errno.EFAULT)}),
    (GMEM + "release gmem0\nguest read64 slot0+0x0\nrun\n", {"errno": int(Errno.EHWPOISON)}),
    (GMEM + "release gmem0\nguest read64 slot0+0x0\nrun\n", {"exit_reason": 0}),
    (GMEM + "poison gmem0+0x0\nguest read64 slot0+0x0\nrun\n", {"errno": int(Errno.EFAULT)}),
    (GMEM + "guest read64 slot0+0x0\nrun\n", {"stuck": True}),
    (GMEM + "guest read64 slot0+0x0\nrun\n", {"exit_reason": int(ExitReason.ARM_NISV)}),
    ("guest read-pair 0x9000000\nrun\n", {"errno": int(Errno.EFAULT)}),
    ("guest read64 0x9000000\nrun\n", {"exit_reason": int(ExitReason.ARM_NISV)}),
    ("guest read64 0x9000000\nguest read64 0x9000008\nrun\nrun\n", {"access": 0}),
    ("guest fetch 0x9000000\nrun\n", {"exceptions": ()}),
    (GMEM + "guest read64 slot0+0x0\nrun\n", {"exceptions": ((2, 0x96000010),)}),
    ("run bad-argument\n", {"errno": int(Errno.EIO)}),
    ("run suspend\n", {"exit_reason": int(ExitReason.INTR)}),
    ("run dirty-ring-full\n", {"ret": -1, "errno": int(Errno.EINTR)}),
    ("run vm-dead\nrun\n", {"errno": int(Errno.EINTR)}),
    ("vm vcpu=unfinalized\nrun\n", {"errno": int(Errno.ENOEXEC)}),
    ("vm vcpu=uninitialized\nrun\n", {"errno": int(Errno.EPERM)}),
    ("fail kvm_arch_vcpu_run_pid_change EIO\nrun signal\n", {"errno": int(Errno.ENOMEM)}),
    ("run vm-dead\nrun vm-dead signal\nrun\n", {"errno": int(Errno.EINTR)}),
    # Only one access is skipped.
    (
        GMEM + "release gmem0\nguest read64 slot0+0x0\nguest read64 0x9000000\n"
        "guest read64 0x9000008\nrun\nskip\nskip\nrun\n",
        {"access": 5},
    ),
    # L1's tables are what L1 made them, but where another vCPU of L1's is in the midst of it.
    (
        "vm nested\nat map\nl1-map 0x0 0x5000 flags=read\nl2 read64 0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.EFAULT)},
    ),
    (
        "vm nested\nat swap\nl2 read64 0x0\nl1-map 0x0 0x5000 flags=read\nrun\n",
        {"ret": -1, "errno": int(Errno.EFAULT)},
    ),
    # A race: before or after, and nothing else.
    (
        "at map\nmmio-data 0x7\n" * 4 + GMEM + "guest read64 slot0+0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.EFAULT)},
    ),
    (
        GMEM + "at map\nrelease gmem0\nguest read64 slot0+0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.EHWPOISON), "access": 4},
    ),
    (
        GMEM + "at lookup\nmemslot 0 delete\nguest read64 slot0+0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.EFAULT), "access": 4},
    ),
    (
        GMEM + "at pin\npunch gmem0+0x0 size=0x1000\nguest read64 slot0+0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.EFAULT), "access": 4},
    ),
    (
        GMEM + "fail kvm_gmem_get_pfn EIO\nguest read64 slot0+0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.ENOMEM), "access": 3},
    ),
    (
        "vm nested\n" + GMEM + "release gmem0\nguest vncr-read slot0+0x0\nrun\n",
        {"ret": 0, "errno": 0},
    ),
    ("vm nested\nl2 read64 0x5000\nrun\n", {"exceptions": ()}),
    (
        "vm protected\n" + ANON + "guest read64 slot0+0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.EFAULT), "access": 2},
    ),
    ("guest read64 0x9000000\nrun\nrun immediate-exit\n", {"errno": int(Errno.EINVAL)}),
]


@pytest.mark.parametrize(("content", "change"), TOLD)
def test_another_outcome_is_a_question(content: str, change: dict[str, object]) -> None:
    case = text.load(content)
    outcomes = MODEL.run(case, KERNELS["clean"])
    assert questions(case, outcomes) == ()
    last = msgspec.structs.replace(outcomes.runs[-1], **change)
    changed = msgspec.structs.replace(outcomes, runs=(*outcomes.runs[:-1], last))
    assert [each.step for each in questions(case, changed)] == [last.step]


def test_a_record_where_the_reason_is_undefined_is_a_question() -> None:
    case = text.load(ANON + "munmap mem0+0x0 size=0x1000\nguest read64 slot0+0x0\nrun\n")
    outcomes = MODEL.run(case, KERNELS["clean"])
    (run,) = outcomes.runs
    assert run.union[1:3] == (STAMP_GPA, STAMP_SIZE)
    filled = msgspec.structs.replace(run, exit_reason=int(ExitReason.MEMORY_FAULT), fresh=True)
    assert questions(case, msgspec.structs.replace(outcomes, runs=(filled,)))


@pytest.mark.parametrize("change", [{"exit_reason": int(ExitReason.MMIO)}, {"fresh": True}])
def test_a_reason_that_is_undefined_says_nothing_of_the_access(change: dict[str, object]) -> None:
    case = text.load(ANON + "munmap mem0+0x0 size=0x1000\nguest read64 slot0+0x0\nrun\nrun\n")
    outcomes = MODEL.run(case, KERNELS["clean"])
    first, second = outcomes.runs
    runs = (msgspec.structs.replace(first, **change), second)
    assert questions(case, msgspec.structs.replace(outcomes, runs=runs)) == ()


REASONS: Final = [
    ("guest fetch 0x9000000\nrun\n", {"exceptions": ()}, "fetch at 0x9000000 came to done"),
    (
        GMEM + "guest read64 slot0+0x0\nrun\n",
        {"exceptions": ((2, 0x96000010),)},
        "read64 at 0x40000000 came to an exception",
    ),
    (
        GMEM + "guest read64 slot0+0x0\nrun\n",
        {"access": 2},
        "read64 at 0x40000000: expected no exit",
    ),
    (
        ANON + "memory-limit on\nguest read64 slot0+0x0\nrun\n",
        {"ret": -1, "errno": int(Errno.EIO), "access": 3},
        "read64 at 0x40000000: expected -1 EFAULT or -1 ENOMEM",
    ),
]


@pytest.mark.parametrize(("content", "change", "reason"), REASONS)
def test_a_question_says_what_was_expected(
    content: str, change: dict[str, object], reason: str
) -> None:
    case = text.load(content)
    outcomes = MODEL.run(case, KERNELS["clean"])
    (run,) = outcomes.runs
    changed = msgspec.structs.replace(outcomes, runs=(msgspec.structs.replace(run, **change),))
    assert [each.reason for each in questions(case, changed)] == [reason]
