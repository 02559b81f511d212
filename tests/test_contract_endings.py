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
    MMIO,
    READ,
    RELEASED,
    REPORT,
    UNKNOWN,
    condemned,
    outcome,
)

AGAIN: Final = outcome(-1, Errno.EAGAIN, UNKNOWN)
ENOEXEC: Final = outcome(-1, Errno.ENOEXEC, UNKNOWN)
UNMAPPED: Final = ANON + "munmap mem0+0x0 size=0x1000\nguest read64 slot1+0x0\nrun\n"
RETRIED: Final = RELEASED + "run\n"
DEAD: Final = outcome(-1, Errno.EIO, UNKNOWN)
DYING: Final = READ.replace("run\n", "run vm-dead\nrun\n")

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
    # C10: an error, or an exit, and an exception of the same access.
    (UNMAPPED, (replace(FAULT, moved=True, exceptions=((3, ABORT),)),), ["C10"]),
    (RELEASED, (replace(REPORT, moved=True, exceptions=((3, ABORT),)),), ["C10"]),
    (
        "guest read64 0x60000000\nrun\n",
        (outcome(0, 0, MMIO, (0x60000000, 0, 8, 0), access=0, exceptions=((0, ABORT),)),),
        ["C10"],
    ),
    # ... where the exception is taken only in the next call.
    (
        RETRIED,
        (replace(REPORT, moved=True), replace(DONE, exceptions=((3, 0x96000021),))),
        ["C10"],
    ),
    (RETRIED, (REPORT, replace(DONE, exceptions=((3, 0x96000021),))), []),
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
    # C11: a hang, and what may explain it. Want of memory does not.
    (READ, (HANG,), ["C11"]),
    (READ, (replace(HANG, access=IDLE),), ["C11"]),
    ("memory-limit on\n" + READ, (HANG,), ["C11"]),
    (READ, (replace(HANG, injected=True),), []),
    ("fail kvm_gmem_get_pfn EAGAIN\n" + READ, (HANG,), []),
    ("force-abort fsc=0x7\n" + READ, (HANG,), []),
    ("force-exit irq\n" + READ, (HANG,), []),
    ("at map\npunch gmem0+0x0 size=0x1000\n" + READ, (HANG,), []),
    (ANON + "userfault mem0+0x0 size=0x1000 missing\n" + READ, (HANG,), []),
    # C17.
    (READ, (replace(DONE, others_changed=True),), ["C17"]),
    ("at map\nrun\n" + READ, (DONE, replace(DONE, others_changed=True)), []),
    # C18: every later call says EIO.
    (DYING, (DEAD, DEAD), []),
    (DYING, (DEAD, DONE), ["C18"]),
    (DYING, (DEAD, outcome(-1, Errno.EINTR, INTR)), ["C18"]),
    (DYING.replace("vm-dead", "vm-dead other-mm"), (DEAD, DONE), []),
    (DYING.replace("vm-dead", "other-mm"), (DEAD, DONE), []),
    (READ + "run\n", (DEAD, DONE), []),
    (DYING, (outcome(0, 0, ExitReason.SYSTEM_EVENT), DONE), []),
]


@pytest.mark.parametrize(("source", "runs", "clauses"), ROWS)
def test_an_end_is_condemned_by_these_clauses(
    source: str, runs: tuple[RunOutcome, ...], clauses: list[str]
) -> None:
    assert condemned(source, *runs) == clauses
