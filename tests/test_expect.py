"""What the expectation says of an access: a row for each rule."""

from typing import Final

import pytest

from emu import text
from emu.abi import Errno
from emu.access import Access
from emu.steps import Guest, GuestL2, L1Map, L1Table, L1Vtcr, effective_address
from fuzz.expectation.effects import (
    BAD_ADDRESS,
    FAULT,
    MMIO,
    NISV,
    NO_MEMORY,
    NO_SYNDROME,
    NOT_ANONYMOUS,
    POISON,
    SIGBUS,
    Effects,
    Exit,
    effects,
)
from fuzz.expectation.effects_nested import L1Tables, l2_effects, vncr_effects
from tests.premised import ANON, GMEM, premised

READONLY: Final = ANON.replace("mem0+0x0\n", "mem0+0x0 flags=readonly\n")
FILE: Final = ANON.replace("anon", "file")
DEVICE: Final = ANON.replace("anon", "device")

DONE: Final = Effects(served=True)
EXCEPTION: Final = Effects(exception=True)


def leaves(*exits: object, served: bool = False, exception: bool = False) -> Effects:
    return Effects(served, exception, frozenset(exits))  # type: ignore[arg-type]  # by the rows


PROTECTED: Final = "vm protected\n"

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
    # The VMM watches its memory: a handler serves, none does not.
    (ANON + "userfault mem0+0x0 size=0x1000 missing\n", "read64 slot0+0x0", DONE),
    (
        ANON + "userfault mem0+0x0 size=0x1000 sigbus\n",
        "read64 slot0+0x0",
        leaves(BAD_ADDRESS, served=True),
    ),
    (ANON + "userfault mem0+0x0 size=0x1000 sigbus\n", "read64 slot0+0x1000", DONE),
    # Memory that cannot hold tags is refused, but not where it must be.
    ("vm mte\n" + ANON, "read64 slot0+0x0", DONE),
    ("vm mte\n" + FILE, "read64 slot0+0x0", leaves(BAD_ADDRESS, served=True)),
    # An injected error strikes, or is tried again, or is what a cure makes of it.
    (
        GMEM + "fail kvm_gmem_get_pfn EIO\n",
        "read64 slot0+0x0",
        leaves(Exit(-1, Errno.EIO, None), FAULT, served=True),
    ),
    (
        ANON + "fail __kvm_faultin_pfn EHWPOISON\n",
        "read64 slot0+0x0",
        leaves(Exit(-1, Errno.EHWPOISON, None), BAD_ADDRESS, SIGBUS, served=True),
    ),
    (
        ANON + "fail kvm_pgtable_stage2_map ENOEXEC\n",
        "read64 slot0+0x0",
        leaves(Exit(-1, Errno.ENOEXEC, None), BAD_ADDRESS, served=True, exception=True),
    ),
    (ANON + "fail kvm_gmem_bind EIO\n", "read64 slot0+0x0", DONE),
    (ANON + "fail kvm_arch_vcpu_run_pid_change EIO\n", "read64 slot0+0x0", DONE),
    # A protected VM's pages are pinned for writing, and are the guest's own from then on.
    (PROTECTED + ANON, "read64 slot0+0x0", DONE),
    (
        PROTECTED + ANON + "mprotect mem0+0x0 size=0x1000 read\n",
        "read64 slot0+0x0",
        leaves(BAD_ADDRESS, served=True),
    ),
    (PROTECTED + ANON + "poison mem0+0x0\n", "read64 slot0+0x0", leaves(SIGBUS, served=True)),
    (PROTECTED + FILE, "read64 slot0+0x0", leaves(NOT_ANONYMOUS, BAD_ADDRESS, served=True)),
    (PROTECTED + ANON + "memlock-limit on\n", "read64 slot0+0x0", leaves(NO_MEMORY, served=True)),
    (ANON + "memlock-limit on\n", "read64 slot0+0x0", DONE),
    (PROTECTED, "read-pair 0x9000000", EXCEPTION),
]


@pytest.mark.parametrize(("setup", "access", "expected"), ROWS)
def test_what_may_come_of_an_access(setup: str, access: str, expected: Effects) -> None:
    step = text.load(f"guest {access}\n").steps[0]
    assert isinstance(step, Guest)
    address = step.address if step.slot is None else 0x4000_0000 + step.address
    assert effects([premised(setup)], step.access, address) == expected


def test_what_may_come_of_an_access_in_one_of_two_worlds_may_come_of_it() -> None:
    worlds = [premised(each) for each in ("", GMEM)]
    either = leaves(served=True, exception=True)
    assert effects(worlds, Access.FETCH, 0x4000_0000) == either
    assert effects(worlds[::-1], Access.FETCH, 0x4000_0000) == either
    tables = L1Tables()
    tables.map(L1Map(0x5000, 0, 0, 0, block=False), 0x4000_0000)
    assert l2_effects(worlds, tables, Access.DC_CVAC, 0x5000) == either
    worlds.append(premised("fail kvm_gmem_get_pfn EIO\n"))
    assert l2_effects(worlds, L1Tables(), Access.READ64, 0x5000) is None


OLD: Final = "l1-map 0x5000 slot0+0x0 flags=read old\n"
HA: Final = "l1-vtcr legal hardware-af\n"

NESTED: Final = [
    # VNCR: the file's fault is told, and what the VMM's own memory cannot give is L1's exception.
    (GMEM, "guest vncr-read slot0+0x110", DONE),
    (GMEM + "release gmem0\n", "guest vncr-read slot0+0x110", leaves(FAULT)),
    (GMEM + "poison gmem0+0x0\n", "guest vncr-write slot0+0x110", leaves(POISON)),
    (GMEM + "memory-limit on\n", "guest vncr-read slot0+0x110",
     leaves(NO_MEMORY, FAULT, served=True)),
    (ANON + "munmap mem0+0x0 size=0x1000\n", "guest vncr-read slot0+0x110", EXCEPTION),
    (ANON + "poison mem0+0x0\n", "guest vncr-read slot0+0x110", EXCEPTION),
    ("", "guest vncr-read 0x9000000", EXCEPTION),
    (READONLY, "guest vncr-read slot0+0x110", DONE),
    (READONLY, "guest vncr-write slot0+0x110", EXCEPTION),
    (DEVICE, "guest vncr-read slot0+0x110", None),
    # L2: what L1 does not map or permit is L1's exception.
    (GMEM, "l2 read64 0x5000", EXCEPTION),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\n", "l2 read64 0x5008", DONE),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\n", "l2 write64 0x5008", EXCEPTION),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read,execute\n", "l2 fetch 0x5008", DONE),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\n", "l2 read64 0x5ffc", EXCEPTION),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\nrelease gmem0\n", "l2 read64 0x5008",
     leaves(FAULT)),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\nrelease gmem0\n", "l2 write64 0x5008",
     leaves(FAULT, exception=True)),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\nl1-map 0x5000 slot0+0x0 flags=write\n",
     "l2 read64 0x5008", EXCEPTION),
    (DEVICE + "l1-map 0x5000 slot0+0x0 flags=read\n", "l2 read64 0x5008", None),
    (DEVICE + "l1-map 0x5000 slot0+0x0 flags=read\n", "l2 write64 0x5008", None),
    ("l1-map 0x5000 0x9000000 flags=read\n", "l2 read64 0x5008", leaves(MMIO)),
    ("l1-map 0x5000 0x1000009000000 flags=read\n", "l2 read64 0x5008", leaves(MMIO)),
    ("l1-map 0x5000 0x10000000000 flags=read\n", "l2 read64 0x5008", None),
    # Maintenance of what is not there may be passed over before L1's permissions are looked at.
    ("l1-map 0x5000 0x9000000\n", "l2 dc-cvac 0x5008", leaves(served=True, exception=True)),
    ("l1-map 0x5000 0x9000000\n", "l2 read64 0x5008", leaves(MMIO, exception=True)),
    (GMEM + "l1-map 0x5000 slot0+0x0\n", "l2 dc-cvac 0x5008", EXCEPTION),
    (GMEM + "l1-map 0x0 slot0+0x0 flags=read block\n", "l2 read64 0x1008", DONE),
    (GMEM + "l1-map 0x0 slot0+0x0 flags=read block\nl1-map 0x5000 slot0+0x0 flags=read\n",
     "l2 read64 0x1008", EXCEPTION),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\nl1-table 3 0x9000000\n", "l2 read64 0x5008",
     EXCEPTION),
    (GMEM + "l1-map 0x0 slot0+0x0 flags=read block\nl1-table 3 0x9000000\n",
     "l2 read64 0x1008", DONE),
    (GMEM + "l1-map 0x0 slot0+0x0 flags=read block\nl1-table 2 0x9000000\n",
     "l2 prefetch 0x1008", EXCEPTION),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\nl1-vtcr illegal\n", "l2 read64 0x5008",
     EXCEPTION),
    (GMEM + "l1-map 0x5000 slot0+0x0 flags=read\nl1-vtcr illegal\nl1-vtcr legal\n",
     "l2 read64 0x5008", DONE),
    # L1's access flags.
    (GMEM + OLD, "l2 read64 0x5008", EXCEPTION),
    (GMEM + OLD, "l2 dc-cvac 0x5008", EXCEPTION),
    (GMEM + OLD, "l2 prefetch 0x5008", DONE),
    ("l1-map 0x5000 0x10000000000 flags=read old\n", "l2 read64 0x5008", EXCEPTION),
    (GMEM + HA + OLD, "l2 read64 0x5008", DONE),
    (GMEM + HA + OLD, "l2 write64 0x5008", EXCEPTION),
    (GMEM + OLD + HA, "l2 read64 0x5008", DONE),
    (GMEM + OLD + HA + "l1-vtcr legal\n", "l2 read64 0x5008", None),
    (GMEM + OLD + HA + "l1-vtcr legal\nl1-vtcr legal\n", "l2 read64 0x5008", None),
    (GMEM + OLD + "l1-vtcr legal\n", "l2 read64 0x5008", EXCEPTION),
    (GMEM + HA + "l1-vtcr legal\nl1-map 0x5000 slot0+0x0 flags=read\n", "l2 read64 0x5008", DONE),
]  # fmt: skip


@pytest.mark.parametrize(("setup", "access", "expected"), NESTED)
def test_what_may_come_of_a_hypervisors_access(
    setup: str, access: str, expected: Effects | None
) -> None:
    content = f"vm nested\n{setup}{access}\n"
    case = text.load(content)
    bases = {0: 0x4000_0000}
    tables = L1Tables()
    for each in case.steps:
        if isinstance(each, L1Map):
            tables.map(each, effective_address(each, bases))
        elif isinstance(each, L1Table | L1Vtcr):
            tables.disturb(each)
    step = case.steps[-1]
    worlds = [premised(content)]
    if isinstance(step, GuestL2):
        assert l2_effects(worlds, tables, step.access, step.address) == expected
    else:
        assert isinstance(step, Guest)
        assert vncr_effects(worlds, step.access, effective_address(step, bases)) == expected


def test_every_access_has_an_opinion_in_an_ordinary_slot() -> None:
    worlds = [premised(GMEM)]
    vncr = {Access.VNCR_READ, Access.VNCR_WRITE}
    assert all(effects(worlds, each, 0x4000_0000) == DONE for each in set(Access) - vncr - _AT)
    assert all(vncr_effects(worlds, each, 0x4000_0000) == DONE for each in vncr)


_AT: Final = {Access.AT_WALK}  # which may fail, and tells that in a register
