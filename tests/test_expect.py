from random import Random
from typing import Final

import msgspec
import pytest

from emu import text, wire
from emu.abi import STAMP_GPA, STAMP_SIZE, Errno, ExitReason
from emu.access import Access
from emu.case import Case, Guest
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.expect import (
    BAD_ADDRESS,
    FAULT,
    MMIO,
    NISV,
    NO_MEMORY,
    NO_SYNDROME,
    POISON,
    SIGBUS,
    Effects,
    effects,
    questions,
)
from fuzz.mutate import Mutator
from fuzz.premises import Premises

GMEM: Final = """\
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
ANON: Final = """\
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""
READONLY: Final = ANON.replace("mem0+0x0\n", "mem0+0x0 flags=readonly\n")
FILE: Final = ANON.replace("anon", "file")

DONE: Final = Effects(served=True)
EXCEPTION: Final = Effects(exception=True)


def leaves(*exits: object, served: bool = False, exception: bool = False) -> Effects:
    return Effects(served, exception, frozenset(exits))  # type: ignore[arg-type]  # by the rows


ROWS: Final = [
    # What is there is served.
    (GMEM, "read64 slot0+0x0", DONE),
    (GMEM, "fetch slot0+0x0", DONE),
    (ANON, "cas slot0+0x8", DONE),
    (READONLY, "read-pair slot0+0x0", DONE),
    # api.rst, KVM_EXIT_MEMORY_FAULT: the two errnos with which it is delivered.
    (GMEM + "release gmem0\n", "read64 slot0+0x0", leaves(FAULT)),
    (GMEM + "poison gmem0+0x1008\n", "write64 slot0+0x1000", leaves(POISON)),
    (GMEM + "poison gmem0+0x1008\n", "write64 slot0+0x0", DONE),
    (GMEM + "poison gmem0+0x8\npunch gmem0+0x0 size=0x1000\n", "read64 slot0+0x0", DONE),
    (GMEM + "poison gmem0+0x8\nrelease gmem0\n", "read64 slot0+0x0", leaves(FAULT)),
    (GMEM + "create gmem0 size=0x1000\n", "read64 slot0+0x0", leaves(FAULT)),
    # No memory: whichever errno a cure chooses; or nothing need be charged.
    (GMEM + "memory-limit on\n", "read64 slot0+0x0", leaves(NO_MEMORY, FAULT, served=True)),
    (ANON + "memory-limit on\n", "read64 slot0+0x0", leaves(NO_MEMORY, BAD_ADDRESS, served=True)),
    (GMEM + "memory-limit on\nmemory-limit off\n", "read64 slot0+0x0", DONE),
    # The VMM's own memory never gives a record.
    (ANON + "munmap mem0+0x0 size=0x1\n", "read64 slot0+0x0", leaves(BAD_ADDRESS)),
    (ANON + "munmap mem0+0x0 size=0x1\n", "read64 slot0+0x1000", DONE),
    (ANON + "mprotect mem0+0x0 size=0x1000 read\n", "read64 slot0+0x0", DONE),
    (ANON + "mprotect mem0+0x0 size=0x1000 read\n", "cas slot0+0x0", leaves(BAD_ADDRESS)),
    (ANON + "mprotect mem0+0x0 size=0x1000 none\n", "fetch slot0+0x0", leaves(BAD_ADDRESS)),
    (ANON + "poison mem0+0x0\n", "read64 slot0+0x0", leaves(SIGBUS)),
    (FILE + "truncate mem0 size=0x1001\n", "read64 slot0+0x1ff8", DONE),
    (FILE + "truncate mem0 size=0x1000\n", "read64 slot0+0x1000", leaves(BAD_ADDRESS)),
    # api.rst, KVM_EXIT_MMIO, KVM_EXIT_ARM_NISV and ENOSYS.
    ("", "read64 0x9000000", leaves(MMIO)),
    ("", "read-pair 0x9000000", leaves(NO_SYNDROME)),
    ("vm nisv-to-user\n", "read-pair 0x9000000", leaves(NISV)),
    ("", "fetch 0x9000000", EXCEPTION),
    ("", "walk 0x9000000", EXCEPTION),
    ("", "dc-civac 0x9000000", DONE),
    ("", "prefetch 0x9000000", DONE),
    (READONLY, "write32 slot0+0x0", leaves(MMIO)),
    (READONLY, "cas slot0+0x0", leaves(NO_SYNDROME)),
    (READONLY, "dc-civac slot0+0x0", leaves(NO_SYNDROME, served=True)),
    ("ioeventfd gpa=0x9000000 size=4\n", "write32 0x9000000", leaves(MMIO, served=True)),
    ("ioeventfd gpa=0x9000000 size=4\n", "write64 0x9000000", leaves(MMIO)),
    ("vm ipa-bits=32\n", "read64 0x100000000", EXCEPTION),
    # Over the end of a page or of a slot: either side may end it.
    (GMEM + "poison gmem0+0x1000\n", "read64 slot0+0xffc", leaves(POISON)),
    (GMEM, "read64 slot0+0x1ffc", leaves(MMIO)),
    (ANON + "memslot 0 delete\n", "read64 0x40000000", leaves(MMIO)),
]


def premises(case: Case) -> Premises:
    made = Premises(case.vm)
    for step in case.steps:
        made.apply(step, refused=False)
    return made


@pytest.mark.parametrize(("setup", "access", "expected"), ROWS)
def test_what_may_come_of_an_access(setup: str, access: str, expected: Effects) -> None:
    case = text.load(setup)
    step = text.load(f"guest {access}\n").steps[0]
    assert isinstance(step, Guest)
    address = step.address if step.slot is None else 0x4000_0000 + step.address
    assert effects(premises(case), step.access, address) == expected


NO_OPINION: Final = [
    GMEM + "fail kvm_gmem_get_pfn EIO\nguest read64 slot0+0x0\nrun\n",
    GMEM + "force-abort fsc=0x10\nguest read64 slot0+0x0\nrun\n",
    GMEM + "at map\nrelease gmem0\nguest read64 slot0+0x0\nrun\n",
    "vm nested\n" + GMEM + "guest vncr-read slot0+0x0\nrun\n",
    "vm protected\n" + ANON + "guest read64 slot0+0x0\nrun\n",
    "run vm-dead\nrun\n",
]


@pytest.mark.parametrize("content", NO_OPINION)
def test_where_the_case_does_not_settle_it_there_is_no_opinion(content: str) -> None:
    case = text.load(content)
    outcomes = Model().run(case, KERNELS["clean"])
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
    ("guest read-pair 0x9000000\nrun\n", {"errno": int(Errno.EFAULT)}),
    ("guest read64 0x9000000\nrun\n", {"exit_reason": int(ExitReason.ARM_NISV)}),
    ("guest read64 0x9000000\nguest read64 0x9000008\nrun\nrun\n", {"access": 0}),
    ("guest fetch 0x9000000\nrun\n", {"exceptions": ()}),
    (GMEM + "guest read64 slot0+0x0\nrun\n", {"exceptions": ((2, 0x96000010),)}),
    ("run bad-argument\n", {"errno": int(Errno.EIO)}),
    ("guest read64 0x9000000\nrun\nrun immediate-exit\n", {"errno": int(Errno.EINVAL)}),
]


@pytest.mark.parametrize(("content", "change"), TOLD)
def test_another_outcome_is_a_question(content: str, change: dict[str, object]) -> None:
    case = text.load(content)
    outcomes = Model().run(case, KERNELS["clean"])
    assert questions(case, outcomes) == ()
    last = msgspec.structs.replace(outcomes.runs[-1], **change)
    changed = msgspec.structs.replace(outcomes, runs=(*outcomes.runs[:-1], last))
    assert [each.run for each in questions(case, changed)] == [len(outcomes.runs) - 1]


def test_a_record_where_the_reason_is_undefined_is_a_question() -> None:
    case = text.load(ANON + "munmap mem0+0x0 size=0x1000\nguest read64 slot0+0x0\nrun\n")
    outcomes = Model().run(case, KERNELS["clean"])
    (run,) = outcomes.runs
    assert run.union[1:3] == (STAMP_GPA, STAMP_SIZE)
    filled = msgspec.structs.replace(run, exit_reason=int(ExitReason.MEMORY_FAULT), fresh=True)
    assert questions(case, msgspec.structs.replace(outcomes, runs=(filled,)))


def test_the_model_of_a_correct_kernel_does_what_is_expected() -> None:
    rng = Random(7)  # noqa: S311 - nothing here is secret
    model, mutator, pool = Model(), Mutator(rng), [b"\x01\0\0\0"]
    for _ in range(3000):
        data = mutator.mutate(rng.choice(pool))
        case = wire.decode(data)
        assert questions(case, model.run(case, KERNELS["clean"])) == (), text.dump(case)
        if len(pool) < 500:
            pool.append(data)


def test_every_access_has_an_opinion_in_an_ordinary_slot() -> None:
    case = premises(text.load(GMEM))
    silent = {each for each in Access if effects(case, each, 0x4000_0000) is None}
    assert silent == {Access.VNCR_READ, Access.VNCR_WRITE}
