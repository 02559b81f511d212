"""Exits that ask the VMM to emulate an access, or say that it cannot be (C13)."""

from typing import Final

import pytest
from msgspec.structs import replace

from emu.abi import DOORBELL, Errno, ExitReason
from emu.outcome import IDLE, RunOutcome
from tests.handmade import (
    ABORT,
    ANON,
    GMEM,
    MMIO,
    READ,
    READONLY,
    STAMP,
    UNKNOWN,
    condemned,
    outcome,
)

ENDED: Final = ExitReason.SYSTEM_EVENT
VNCR_WRITE: Final = "guest vncr-write slot1+0x8\nrun\n"

WRITE: Final = 1 << 32

NISV: Final = "vm nisv-to-user\n"

RECORD_NISV: Final = (5, 0x60000010, 0, 0)

HOLE = "guest {} 0x60000010\nrun\n"


def _nisv(address: int) -> RunOutcome:
    return outcome(0, 0, ExitReason.ARM_NISV, (5, address, 0, 0))


EMULATION = [
    # Outside the slots, with fields that fit.
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), []),
    (HOLE.format("write16"), outcome(0, 0, MMIO, (0x60000010, 0, WRITE | 2, 0)), []),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000010, 0, 4, 0)), ["C13"]),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000018, 0, 8, 0)), ["C13"]),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000000, 0, 8, 0)), ["C13"]),
    (HOLE.format("read-pair"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), ["C13"]),
    (HOLE.format("walk"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), ["C13"]),
    (HOLE.format("fetch"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (HOLE.format("read-pair"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), []),
    (HOLE.format("walk"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (NISV + HOLE.format("cas"), outcome(0, 0, ExitReason.ARM_NISV, RECORD_NISV), []),
    (
        NISV + HOLE.format("cas"),
        outcome(0, 0, ExitReason.ARM_NISV, (5, 0x60000110, 0, 0)),
        ["C13"],
    ),
    # ... in the direction of the access, at its own address.
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000010, 0, WRITE | 8, 0)), ["C13"]),
    (HOLE.format("write64"), outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)), ["C13"]),
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000014, 0, 8, 0)), ["C13"]),
    # NISV and ENOSYS are for an abort without a syndrome, and the capability decides which.
    (HOLE.format("read64"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (NISV + HOLE.format("read64"), outcome(0, 0, ExitReason.ARM_NISV, RECORD_NISV), ["C13"]),
    (HOLE.format("cas"), outcome(0, 0, ExitReason.ARM_NISV, RECORD_NISV), ["C13"]),
    (NISV + HOLE.format("cas"), outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (HOLE.format("cas"), outcome(-1, Errno.ENOSYS, MMIO, STAMP), ["C13"]),
    # A reason that was there before the call is not this call's.
    (
        HOLE.format("cas"),
        replace(outcome(-1, Errno.ENOSYS, MMIO, STAMP), before=MMIO),
        [],
    ),
    # What is above the lowest byte of is_write is no part of it.
    (HOLE.format("read64"), outcome(0, 0, MMIO, (0x60000010, 0, 1 << 40 | 8, 0)), []),
    # An NISV exit names a byte of the access.
    (NISV + HOLE.format("cas"), _nisv(0x60000017), []),
    (NISV + HOLE.format("cas"), _nisv(0x60000018), ["C13"]),
    (NISV + HOLE.format("cas"), _nisv(0x6000000F), ["C13"]),
    (HOLE.format("cas"), outcome(-1, Errno.ENOSYS, ExitReason.ARM_NISV), ["C13"]),
    (HOLE.format("cas"), outcome(-1, Errno.ENOSYS, ENDED), []),
    (HOLE.format("walk"), _nisv(0x60000010), ["C13"]),
    # A block operation may be told anywhere in its block.
    (
        NISV + HOLE.format("dc-zva"),
        outcome(0, 0, ExitReason.ARM_NISV, (0x45, 0x60000010, 0, 0)),
        [],
    ),
    # A slot serves it; a read-only one serves loads and nothing else.
    (
        ANON + "guest read64 slot1+0x0\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        ["C13"],
    ),
    (
        READONLY + "guest read64 slot1+0x0\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        ["C13"],
    ),
    (
        READONLY + "guest write64 slot1+0x0\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, WRITE | 8, 0)),
        [],
    ),
    (READONLY + "guest cas slot1+0x0\nrun\n", outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), []),
    (READONLY + "guest dc-civac slot1+0x0\nrun\n", outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), []),
    (ANON + "guest cas slot1+0x0\nrun\n", outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP), ["C13"]),
    (
        ANON + "memslot 1 delete\nguest cas 0x50000000\nrun\n",
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    # The second page of a crossing access is the hole.
    (
        ANON + "guest read64 slot1+0x1ffc\nrun\n",
        outcome(0, 0, MMIO, (0x50002000, 0, 8, 0)),
        [],
    ),
    (
        ANON + "guest read-pair slot1+0x1ff8\nrun\n",
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    ("fail kvm_gmem_get_pfn EIO\n" + READ, outcome(-1, Errno.ENOSYS, UNKNOWN), ["C13"]),
    (
        "fail kvm_gmem_get_pfn ENOSYS nth=9\n" + ANON + "guest read64 slot1+0x0\nrun\n",
        outcome(0, 0, MMIO, (0x50000000, 0, 8, 0)),
        ["C13"],
    ),
    ("vm nested\n" + READONLY + VNCR_WRITE, outcome(-1, Errno.ENOSYS, UNKNOWN), []),
    # Not sure: silent.
    (READ, outcome(0, Errno.ENOSYS, ENDED), []),
    (READ, outcome(-1, Errno.ENOSYS, UNKNOWN, access=IDLE), []),
    (
        "vm nested\n" + GMEM + "l2 read64 0x40000010\nrun\n",
        outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)),
        [],
    ),
    (
        "force-abort fsc=0x7 s1ptw\n" + HOLE.format("walk"),
        outcome(0, 0, MMIO, (0x60000010, 0, 8, 0)),
        [],
    ),
    (
        "fail kvm_gmem_get_pfn ENOSYS\n" + READ,
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    (
        "fail kvm_pgtable_stage2_map ENOSYS\n" + GMEM + "guest walk slot0+0x0\nrun\n",
        outcome(-1, Errno.ENOSYS, UNKNOWN, STAMP),
        [],
    ),
    (READ, outcome(0, 0, MMIO, (DOORBELL, 0, WRITE | 8, 0)), []),
    (READ, outcome(0, 0, MMIO, (DOORBELL, 0, WRITE | 8, 0), exceptions=((IDLE, ABORT),)), []),
]


@pytest.mark.parametrize(("source", "run", "clauses"), EMULATION)
def test_an_exit_for_emulation_is_condemned_by_these_clauses(
    source: str, run: RunOutcome, clauses: list[str]
) -> None:
    assert condemned(source, run) == clauses
