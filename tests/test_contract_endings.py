"""What a KVM_RUN may end in: errnos, consequences, hangs, other vCPUs, a dead VM (C9 to C11, C17,
C18).
"""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import Errno, ExitReason
from emu.outcome import IDLE, RunOutcome
from tests.handmade import (
    ABORT,
    ANON,
    DONE,
    FAULT,
    HANG,
    INTR,
    MF,
    MMIO,
    NISV,
    POISONED,
    READ,
    RECORD,
    RELEASED,
    REPORT,
    STAMP,
    UNKNOWN,
    condemned,
    outcome,
)

AGAIN: Final = outcome(-1, Errno.EAGAIN, UNKNOWN)
ENOEXEC: Final = outcome(-1, Errno.ENOEXEC, UNKNOWN)
UNMAPPED: Final = ANON + "munmap mem0+0x0 size=0x1000\nguest read64 slot1+0x0\nrun\n"
RETRIED: Final = RELEASED + "run\n"
HOLE: Final = "guest read64 0x60000000\nrun\n"
EMULATED: Final = outcome(0, 0, MMIO, (0x60000000, 0, 8, 0), access=0)
DEAD: Final = outcome(-1, Errno.EIO, UNKNOWN)
PAIR: Final = "guest read-pair 0x60000000\nrun\n"
DYING: Final = READ.replace("run\n", "run vm-dead\nrun\n")


def _told(reason: int, union: tuple[int, int, int, int] = STAMP) -> RunOutcome:
    return outcome(0, 0, reason, union, access=0, exceptions=((0, ABORT),))


ROWS: Final[list[tuple[str, tuple[RunOutcome, ...], list[str]]]] = [
    # C9: the four errnos, and what may explain them.
    (READ, (AGAIN,), ["C9"]),
    (READ, (outcome(-1, Errno.ENOENT, UNKNOWN),), ["C9"]),
    (READ, (outcome(-1, Errno.EEXIST, UNKNOWN),), ["C9"]),
    (READ, (ENOEXEC,), ["C9"]),
    (READ, (outcome(-1, Errno.EINVAL, UNKNOWN),), []),
    (READ, (replace(AGAIN, injected=True),), []),
    ("vm protected\n" + READ, (AGAIN,), []),
    ("force-abort fsc=0x30\n" + READ, (AGAIN,), []),
    ("vm vcpu=uninitialized\n" + READ, (ENOEXEC,), []),
    (READ.replace("read64", "fetch"), (ENOEXEC,), []),
    (READ.replace("read64", "fetch"), (AGAIN,), ["C9"]),
    ("vm vcpu=uninitialized\n" + READ, (AGAIN,), ["C9"]),
    ("force-exit irq\n" + READ, (AGAIN,), []),
    (READ, (replace(ENOEXEC, access=IDLE),), ["C9"]),
    (READ, (outcome(0, Errno.EAGAIN, ExitReason.SYSTEM_EVENT),), []),
    # C10: an error, or an exit, and an exception of the same access.
    (UNMAPPED, (replace(FAULT, moved=True, exceptions=((3, ABORT),)),), ["C10"]),
    (RELEASED, (replace(REPORT, moved=True, exceptions=((3, ABORT),)),), ["C10"]),
    (HOLE, (replace(EMULATED, exceptions=((0, ABORT),)),), ["C10"]),
    (READ, (replace(outcome(-1, Errno.ENOMEM, UNKNOWN), exceptions=((2, ABORT),)),), ["C10"]),
    (POISONED, (outcome(-1, Errno.EHWPOISON, MF, RECORD, exceptions=((3, ABORT),)),), ["C10"]),
    (PAIR, (outcome(-1, Errno.ENOSYS, UNKNOWN, access=0, exceptions=((0, ABORT),)),), ["C10"]),
    (PAIR, (_told(ExitReason.ARM_LDST64B),), ["C10"]),
    (PAIR, (_told(ExitReason.ARM_SEA),), ["C10"]),
    (RELEASED, (outcome(0, 0, MF, RECORD, exceptions=((3, ABORT),)),), ["C1", "C10"]),
    ("vm nisv-to-user\n" + PAIR, (_told(NISV, (7, 0x60000000, 0, 0)),), ["C10"]),
    # ... where the exception is taken only in the next call.
    (
        RETRIED,
        (replace(REPORT, moved=True), replace(DONE, exceptions=((3, 0x96000021),))),
        ["C10"],
    ),
    (RETRIED, (REPORT, replace(DONE, exceptions=((3, 0x96000021),))), []),
    (
        RETRIED + "run\n",
        (REPORT, replace(REPORT, moved=True), replace(DONE, exceptions=((3, 0x96000021),))),
        ["C10"],
    ),
    (
        RELEASED + "vcpu 1\nrun\nvcpu 0\nrun\n",
        (replace(REPORT, moved=True), DONE, replace(DONE, exceptions=((3, 0x96000021),))),
        ["C10"],
    ),
    (
        RETRIED,
        (replace(REPORT, changed=True), replace(DONE, exceptions=((3, 0x96000021),))),
        ["C12"],
    ),
    (
        RETRIED.replace("run", "guest fetch 0x60000000\nrun", 1),
        (replace(REPORT, access=3, moved=True), replace(DONE, exceptions=((4, 0x86000021),))),
        ["C12"],
    ),
    # ... or another than an abort: the guest is past the access, and met something else.
    (RETRIED, (replace(REPORT, moved=True), replace(DONE, exceptions=((3, 0x02000000),))), ["C12"]),
    (
        HOLE + "run\n",
        (replace(EMULATED, moved=True), replace(DONE, exceptions=((0, ABORT),))),
        [],
    ),
    (
        "vm nisv-to-user\n" + PAIR + "run\n",
        (
            outcome(0, 0, NISV, (7, 0x60000000, 0, 0), access=0, moved=True),
            replace(DONE, exceptions=((0, ABORT),)),
        ),
        ["C10"],
    ),
    (
        PAIR + "run\n",
        (
            replace(outcome(-1, Errno.ENOSYS, MMIO, access=0, moved=True), before=MMIO),
            replace(DONE, exceptions=((0, ABORT),)),
        ),
        ["C10"],
    ),
    # ... not: another access's; a signal, or the VM's end, after the exception was queued.
    (
        UNMAPPED.replace("guest", "guest read64 0x60000000\nguest"),
        (replace(FAULT, exceptions=((3, ABORT),)),),
        [],
    ),
    (UNMAPPED, (outcome(-1, Errno.EINTR, INTR, exceptions=((3, ABORT),)),), []),
    (UNMAPPED, (outcome(-1, Errno.EIO, UNKNOWN, exceptions=((3, ABORT),)),), []),
    (
        "force-exit irq\n" + UNMAPPED,
        (replace(FAULT, moved=True, exceptions=((4, ABORT),)),),
        [],
    ),
    (
        "force-abort fsc=0x7\n" + UNMAPPED,
        (replace(FAULT, moved=True, exceptions=((4, ABORT),)),),
        [],
    ),
    (READ, (replace(FAULT, access=IDLE, exceptions=((IDLE, ABORT),)),), []),
    (PAIR, (_told(ExitReason.SYSTEM_EVENT),), []),
    # C11: a hang, and what may explain it. Want of memory does not.
    (READ, (HANG,), ["C11"]),
    (READ, (replace(HANG, access=IDLE),), ["C11"]),
    ("memory-limit on\n" + READ, (HANG,), ["C11"]),
    (READ, (replace(HANG, injected=True),), []),
    ("fail kvm_gmem_get_pfn EAGAIN\n" + READ, (HANG,), []),
    ("force-abort fsc=0x7\n" + READ, (HANG,), []),
    ("force-exit irq\n" + READ, (HANG,), []),
    ("at map\npunch gmem0+0x0 size=0x1000\n" + READ, (HANG,), []),
    # ... which comes before it, or moves it; not one that comes later.
    (READ + "at map\npunch gmem0+0x0 size=0x1000\nrun\n", (HANG, DONE), ["C11"]),
    (READ.replace("run\n", "at map\nvcpu 0\nrun\n"), (HANG,), []),
    (ANON + "userfault mem0+0x0 size=0x1000 missing\n" + READ, (HANG,), []),
    (READ.replace("read64", "dc-civac"), (HANG,), ["C11"]),
    # C17.
    (READ, (replace(DONE, others_changed=True),), ["C17"]),
    ("at map\nrun\n" + READ, (DONE, replace(DONE, others_changed=True)), []),
    (READ + "at map\nrun\n", (replace(DONE, others_changed=True), DONE), ["C17"]),
    (
        READ.replace("run\n", "at map\nvcpu 1\nrun\nvcpu 0\nrun\n"),
        (DONE, replace(DONE, others_changed=True)),
        [],
    ),
    # C18: every later call says EIO.
    (DYING, (DEAD, DEAD), []),
    (DYING, (DEAD, DONE), ["C18"]),
    (DYING, (DEAD, outcome(-1, Errno.EINTR, INTR)), ["C18"]),
    (DYING, (DEAD, outcome(0, Errno.EIO, ExitReason.SYSTEM_EVENT)), ["C18"]),
    ("fail kvm_gmem_get_pfn EIO\n" + DYING, (DEAD, DONE), []),
    ("fail kvm_gmem_get_pfn ENOMEM\n" + DYING, (DEAD, DONE), ["C18"]),
    (DYING + "at map\nrun\n", (DEAD, DONE, DONE), []),
    (DYING.replace("vm-dead", "vm-dead other-mm"), (DEAD, DONE), []),
    (DYING.replace("vm-dead", "vm-dead bad-argument"), (DEAD, DONE), []),
    (DYING.replace("vm-dead", "vm-dead killed"), (DEAD, DONE), []),
    (DYING.replace("vm-dead", "vm-dead immediate-exit"), (DEAD, DONE), []),
    (DYING.replace("vm-dead", "vm-dead signal"), (DEAD, DONE), []),
    (DYING.replace("vm-dead", "other-mm"), (DEAD, DONE), []),
    (READ + "run\n", (DEAD, DONE), []),
    (DYING, (outcome(0, Errno.EIO, ExitReason.SYSTEM_EVENT), DONE), []),
    (DYING, (outcome(-1, Errno.EINTR, INTR), DONE), []),
    (DYING, (outcome(0, 0, ExitReason.SYSTEM_EVENT), DONE), []),
]


@pytest.mark.parametrize(("source", "runs", "clauses"), ROWS)
def test_an_end_is_condemned_by_these_clauses(
    source: str, runs: tuple[RunOutcome, ...], clauses: list[str]
) -> None:
    assert condemned(source, *runs) == clauses
