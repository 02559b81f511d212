"""What KVM may answer to the VMM: a row for each rule."""

from errno import EFBIG
from typing import Final

import msgspec
import pytest

from emu import text
from emu.abi import Errno
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Refusal
from fuzz.expectation.answers import answers
from fuzz.expectation.expect import Question, questions
from tests.premised import ANON, GMEM, premised

PROTECTED: Final = "vm protected\n"

ANSWERS: Final = [
    # guest_memfd.
    ("", "create gmem0 size=0x2000 flags=mmap", {0}),
    ("", "create gmem0 size=0x2001", {Errno.EINVAL}),
    ("", "create gmem0 size=0x0", {Errno.EINVAL}),
    ("", "create gmem0 size=0x8000000000000000", {Errno.EINVAL}),
    ("", "create gmem0 size=0x1000 flags=0x4", {Errno.EINVAL}),
    ("vm page-size=16k\n", "create gmem0 size=0x1000", {Errno.EINVAL}),
    ("memory-limit on\n", "create gmem0 size=0x1000", {0, Errno.ENOMEM}),
    ("", "release gmem0", {Errno.EBADF}),
    (GMEM, "release gmem0", {0}),
    (GMEM, "punch gmem1+0x0 size=0x1000", {Errno.EBADF}),
    (GMEM, "punch gmem0+0x10000 size=0x1000", {0}),
    (GMEM, "punch gmem0+0x800 size=0x1000", {Errno.EINVAL}),
    (GMEM, "punch gmem0+0x0 size=0x0", {Errno.EINVAL}),
    (GMEM, "punch gmem0+0x8000000000000000 size=0x1000", {Errno.EINVAL}),
    (GMEM, "punch gmem0+0x1000 size=0x7ffffffffffff000", {EFBIG, Errno.EINVAL}),
    (GMEM, "allocate gmem0+0x1000 size=0x1000", {0}),
    (GMEM, "allocate gmem0+0x1000 size=0x2000", {Errno.EINVAL}),
    (GMEM, "punch gmem0+0x1000 size=0x7fffffffffffffff", {EFBIG, Errno.EINVAL}),
    (GMEM, "punch gmem0+0x7fffffffffffffff size=0x1", {EFBIG, Errno.EINVAL}),
    # A region: what is wrong in itself.
    (ANON, "memslot 1 gpa=0x50000000 size=0x800 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0x50000800 size=0x1000 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0x50000000 size=0x1000 mem0+0x8", {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0x50000000 size=0x1000 mem0+0x0 flags=0x8", {Errno.EINVAL}),
    (ANON, "memslot 32767 gpa=0x50000000 size=0x1000 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 32766 gpa=0x50000000 size=0x1000 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 65536 gpa=0x50000000 size=0x1000 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0xfffffffffffff000 size=0x2000 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0x100000000 size=0x80000000000 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0x50000000 size=0x1000 mem0+0xfffffffffffff000", {0, Errno.EINVAL}),
    (GMEM, "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x0 flags=guest-memfd v1", {Errno.EINVAL}),
    (GMEM, "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x0 flags=readonly,guest-memfd",
     {Errno.EINVAL}),
    (GMEM, "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x8 flags=guest-memfd", {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0x50000000 size=0x1000 gmem1+0xfffffffffffff000 flags=guest-memfd",
     {Errno.EINVAL}),
    (ANON, "memslot 1 gpa=0x100000000 size=0x1000000000 mem0+0x0", {0}),
    (ANON, "memslot 0 gpa=0x40000000 size=0x0 mem0+0x1000001000", {0, Errno.EINVAL}),
    (ANON.replace("mem0+0x0", "mem0+0x1000001000"),
     "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x1000001000", {0, Errno.EINVAL}),
    (GMEM + ANON, "memslot 1 gpa=0x50000000 size=0x1000 mem0+0x0 gmem0+0x8", {0}),
    # The harness's own addresses, up to their end.
    (ANON, "memslot 0 gpa=0xf0001000 size=0x0", {0}),
    (ANON, "memslot 1 gpa=0xf0000000 size=0x1 mem0+0x0", {Errno.EINVAL, Errno.EEXIST}),
    (ANON, "memslot 1 gpa=0xf0400000 size=0x1000 mem0+0x0", {0}),
    # What does not go with what is there.
    ("", "memslot 0 delete", {Errno.EINVAL}),
    (ANON, "memslot 0 delete", {0}),
    (ANON, "memslot 1 gpa=0x40001000 size=0x2000 mem0+0x0", {Errno.EEXIST}),
    (ANON, "memslot 1 gpa=0xf0000000 size=0x1000 mem0+0x0", {Errno.EINVAL, Errno.EEXIST}),
    (ANON, "memslot 1 gpa=0xf0000800 size=0x1000 mem0+0x0", {Errno.EINVAL, Errno.EEXIST}),
    (ANON, "memslot 1 gpa=0x40002000 size=0x2000 mem0+0x0", {0}),
    (ANON, "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0", {0}),
    (ANON, "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=log-dirty", {0}),
    (ANON, "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=readonly", {Errno.EINVAL}),
    (ANON, "memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0", {Errno.EINVAL}),
    (ANON, "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x1000", {Errno.EINVAL}),
    (ANON, "memslot 0 gpa=0x40001000 size=0x2000 mem0+0x0", {0}),
    (ANON, "memslot 0 gpa=0xeffff000 size=0x2000 mem0+0x0", {Errno.EINVAL, Errno.EEXIST}),
    (GMEM, "memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd", {Errno.EINVAL}),
    (GMEM, "memslot 1 gpa=0x50000000 size=0x1000 gmem1+0x0 flags=guest-memfd", {Errno.EBADF}),
    (GMEM, "memslot 1 gpa=0x50000000 size=0x1000 flags=guest-memfd", {Errno.EBADF}),
    (GMEM, "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x2000 flags=guest-memfd", {Errno.EINVAL}),
    (GMEM, "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x1000 flags=guest-memfd",
     {Errno.EEXIST, Errno.EINVAL}),
    (PROTECTED + GMEM, "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x1000 flags=guest-memfd",
     {Errno.EEXIST, Errno.EINVAL}),
    (GMEM.replace("0 size=0x2000 gmem0", "0 size=0x1000 gmem0"),
     "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x1000 flags=guest-memfd", {0}),
    (GMEM + "fail kvm_gmem_bind EIO\n",
     "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x1000 flags=guest-memfd",
     {Errno.EEXIST, Errno.EINVAL, Errno.EIO}),
    (GMEM + "memslot 0 delete\nfail kvm_gmem_bind EIO\n",
     "memslot 1 gpa=0x50000000 size=0x1000 gmem0+0x1000 flags=guest-memfd", {0, Errno.EIO}),
    ("create gmem0 size=0x1000\n", "memslot 0 gpa=0x0 size=0x1000 gmem0+0x0 flags=guest-memfd",
     {Errno.EINVAL}),
    ("vm mte\ncreate gmem0 size=0x1000 flags=mmap\n",
     "memslot 0 gpa=0x0 size=0x1000 gmem0+0x0 flags=guest-memfd", {Errno.EINVAL}),
    ("vm ipa-bits=32\n" + ANON, "memslot 1 gpa=0xfffff000 size=0x2000 mem0+0x0", {Errno.EFAULT}),
    ("vm mte\ncreate mem0 size=0x1000 file\n", "memslot 0 gpa=0x0 size=0x1000 mem0+0x0",
     {0, Errno.EINVAL}),
    ("vm ipa-bits=32\ncreate gmem0 size=0x1000\n",
     "memslot 0 gpa=0x100000000 size=0x1000 gmem0+0x0 flags=guest-memfd",
     {Errno.EFAULT, Errno.EINVAL}),
    (PROTECTED + ANON, "memslot 0 delete", {0, Errno.EPERM}),
    (PROTECTED + ANON, "memslot 0 gpa=0x50000000 size=0x2000 mem0+0x0", {0, Errno.EPERM}),
    (PROTECTED + ANON, "memslot 1 gpa=0x50000000 size=0x1000 mem0+0x0 flags=readonly",
     {Errno.EPERM}),
    # The rest.
    (ANON, "dirty-log slot0", {Errno.ENOENT}),
    (ANON.replace("mem0+0x0", "mem0+0x0 flags=log-dirty"), "dirty-log slot0", {0}),
    (ANON, "dirty-log slot65536", {Errno.EINVAL}),
    ("", "ioeventfd gpa=0x0 size=4", {0}),
    ("ioeventfd gpa=0x0 size=4\n", "ioeventfd gpa=0x0 size=4", {Errno.EEXIST}),
    ("", "ioeventfd gpa=0xffffffffffffffff size=4", {Errno.EINVAL}),
    ("", "ioeventfd gpa=0xfffffffffffffffb size=4", {0}),
    (ANON, "munmap mem0+0x0 size=0x1000", None),
]  # fmt: skip


@pytest.mark.parametrize(("setup", "line", "expected"), ANSWERS)
def test_what_kvm_may_answer_to_the_vmm(setup: str, line: str, expected: set[int] | None) -> None:
    (step,) = text.load(f"{line}\n").steps
    assert answers([premised(setup)], step) == expected


OTHERS: Final = [
    ("create gmem0 size=0x1001\nrun\n", (), "done: expected EINVAL"),
    ("create gmem0 size=0x1000\nrun\n", (Refusal(0, Errno.EINVAL),), "EINVAL: expected done"),
]


@pytest.mark.parametrize(("content", "refusals", "reason"), OTHERS)
def test_another_answer_is_a_question(
    content: str, refusals: tuple[Refusal, ...], reason: str
) -> None:
    case = text.load(content)
    outcomes = Model().run(case, KERNELS["clean"])
    assert questions(case, outcomes) == ()
    changed = msgspec.structs.replace(outcomes, refusals=refusals)
    assert questions(case, changed) == (Question(0, reason),)
