"""A guest that is a hypervisor: its stage 2, and what its own guest L2 meets.

Rows that say "observed" hold what a real kernel printed. The rest is written from what was read.
ESR_EL2 as L1 gets it is inferred but for the statuses of an unreadable table.
"""

from typing import Final

import pytest

from emu import text
from emu.abi import errno_name
from emu.access import Access
from emu.guest import VNCR_ACCESSES
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import describe
from tests.nested import DONE, FAULT, HA, L1_FAULT, L2_FAULT, MAPPED, NESTED, OLD, TOLD, VNCR, run


@pytest.fixture(scope="module")
def model() -> Model:
    """One emulated CPU for all rows."""
    return Model()


# L2 loads from 0x10010, which L1 maps to slot0+0x1000.
READS = [
    # Observed on 7.3.4: gpa is L2's address.
    ("release gmem0", "v7.3", f"-1 EFAULT {L2_FAULT}"),
    ("poison gmem0+0x1000", "v7.3", f"-1 EHWPOISON {L2_FAULT}"),
    ("memory-limit on", "v7.3", f"-1 ENOMEM {L2_FAULT}"),
    # Not run.
    ("release gmem0", "rfc-align-errno gated-prepare scribble-on-exit", f"-1 EFAULT {L2_FAULT}"),
    ("memory-limit on", "gated-prepare gated-prepare-reset", "-1 ENOMEM UNKNOWN"),
    ("memory-limit on", "rfc-align-errno", f"-1 EFAULT {L2_FAULT}"),
    ("release gmem0", "clean", f"-1 EFAULT {L1_FAULT}"),
    ("poison gmem0+0x1000", "clean", f"-1 EHWPOISON {L1_FAULT}"),
    ("memory-limit on", "clean", f"-1 EFAULT {L1_FAULT}"),
]


@pytest.mark.parametrize(("step", "kernels", "shown"), READS)
def test_a_page_of_l2s_that_cannot_be_had_is_reported_as_the_table_says(
    model: Model, step: str, kernels: str, shown: str
) -> None:
    for kernel in kernels.split():
        assert run(model, f"{MAPPED}{step}\nl2 read64 0x10010\nrun", kernel) == [shown]


# What of L1's tables cannot be read, and the ESR_EL2 that L1 gets, at once with an EFAULT.
UNREADABLE = [
    # Observed on 7.3.4, ESR_EL2 included (but for the register that it names).
    ("l1-table 3 0x70000000", "0x93c08017"),
    ("l1-table 2 0x70000000", "0x82000016"),
    ("l1-table 1 0x70000000", "0x82000015"),
    # Observed, but for ESR_EL2.
    ("l1-vtcr illegal", "0x82000004"),
    ("l1-table 3 slot0+0x0", "0x93c08017"),
    ("mprotect mem0+0x0 size=0x1000 none\nl1-table 3 slot1+0x0", "0x93c08017"),
    # Not run.
    ("munmap mem0+0x0 size=0x1000\nl1-table 3 slot1+0x0", "0x93c08017"),
    ("poison mem0+0x0\nl1-table 3 slot1+0x0", "0x93c08017"),
    # The two tables of level 1 are aligned to their size.
    ("munmap mem0+0x0 size=0x1000\nl1-table 1 slot1+0x1000", "0x82000015"),
]


@pytest.mark.parametrize(("step", "esr"), UNREADABLE)
def test_tables_of_l1s_that_cannot_be_read_are_an_exception_and_an_error(
    model: Model, step: str, esr: str
) -> None:
    body = f"{MAPPED}{step}\nl2 read64 0x10010\nrun\nrun"
    for kernel in ("v7.3", "rfc-align-errno", "scribble-on-exit", "gated-prepare"):
        assert run(model, body, kernel) == [f"-1 EFAULT UNKNOWN exception={esr} moved", DONE]
    assert run(model, body, "clean") == [f"{DONE} exception={esr}", DONE]


def test_a_placed_table_is_read_wherever_l1_has_mapped_nothing(model: Model) -> None:
    body = "l1-table {} 0x70000000\nl2 read64 0x10010\nrun"
    assert run(model, body.format(3)) == ["-1 EFAULT UNKNOWN exception=0x93c08017 moved"]
    legal = "l1-vtcr illegal\nl1-vtcr legal\n"
    assert run(model, legal + body.format(2)) == ["-1 EFAULT UNKNOWN exception=0x82000016 moved"]


BLOCK: Final = "l1-map 0x0 slot0+0x0 flags=read block\n"

# (what L1 does, L2's access, what comes of it): L1's own business, and the VMM is not told.
FORWARDED = [
    ("", "read64 0x20000", "0x93c08005"),  # nothing at level 1
    (MAPPED, "read64 0x20000", "0x93c08007"),
    (MAPPED, "write-pair 0x200000", "0x92000046"),
    (MAPPED, "fetch 0x20000", "0x82000007"),
    (MAPPED + "l1-map 0x10000 slot0+0x1000 flags=read", "write64 0x10010", "0x93c0804f"),
    (MAPPED + "l1-map 0x10000 slot0+0x1000 flags=read,write", "fetch 0x10010", "0x8200000f"),
    (MAPPED + "l1-map 0x10000 slot0+0x1000 flags=write", "read64 0x10010", "0x93c0800f"),
    (BLOCK, "write64 0x10", "0x93c0804e"),
    (MAPPED + "l1-table 3 slot1+0x0", "read64 0x10010", "0x93c08007"),  # an empty table
    (MAPPED + "l1-table 1 slot1+0x0", "read64 0x10010", "0x82000005"),
    ("l1-map 0x10000 0x7fffffff0000 flags=read", "read64 0x10010", "0x93c08003"),
    (MAPPED + "l1-table 3 0x7fffffff0000", "read64 0x10010", "0x93c08002"),
    # A page takes the place of a block.
    (BLOCK + MAPPED, "read64 0x11000", "0x93c08007"),
    (MAPPED + BLOCK + "l1-map 0x12000 slot0+0x0", "read64 0x10010", "0x93c08007"),
    (MAPPED, "read64 0x10000000000", "0x93c08005"),  # past L1's 40 bits
]


@pytest.mark.parametrize(("l1", "access", "esr"), FORWARDED)
def test_a_fault_in_l1s_tables_is_l1s(model: Model, l1: str, access: str, esr: str) -> None:
    assert run(model, f"{l1}\nl2 {access}\nrun") == [f"{DONE} exception={esr}"]


# (the leaf of 0x10000, L2's access, what L1 gets where nobody sets access flags)
FLAGLESS = [
    # Observed on 7.3.4.
    ("0x10000 slot0+0x0 flags=read,write old", "read64 0x10010", "0x93c0800b"),
    ("0x10000 slot0+0x0 flags=write old", "read64 0x10010", "0x93c0800b"),  # permissions later
    ("0x10000 0x60000000 flags=read old", "write64 0x10010", "0x93c0804b"),  # and slots
    ("0x0 slot0+0x0 flags=read,execute block old", "fetch 0x1000", "0x8200000a"),
    # Not run.
    ("0x10000 0x7fffffff0000 flags=read old", "read64 0x10010", "0x93c08003"),  # size first
]


@pytest.mark.parametrize(("leaf", "access", "esr"), FLAGLESS)
def test_a_leaf_without_access_flag_is_a_fault_of_l1s(
    model: Model, leaf: str, access: str, esr: str
) -> None:
    body = f"l1-map {leaf}\nl2 {access}\nrun"
    assert run(model, body) == [f"{DONE} exception={esr}"]


# (release, what two accesses of L2 come to, the second when HA is off again)
HARDWARE_AF = [
    # Observed, but for 7.2.
    ("v7.3 v7.2 v7.1 v7.0 clean", [DONE, DONE]),
    ("v6.19 v6.18", [f"{DONE} exception=0x93c0800b"] * 2),
]


@pytest.mark.parametrize(("kernels", "shown"), HARDWARE_AF)
@pytest.mark.parametrize("old", [OLD, "l1-map 0x0 slot0+0x0 flags=read block old\n"])
def test_an_access_flag_is_set_where_l1_asks_for_it_and_stays(
    model: Model, kernels: str, shown: list[str], old: str
) -> None:
    access = "l2 read64 0x{}\nrun\n"
    where = "10010" if old == OLD else "10"
    body = f"{HA}{old}{access.format(where)}l1-vtcr legal\n{access.format(where)}"
    level = shown if old == OLD else [line.replace("0x93c0800b", "0x93c0800a") for line in shown]
    for kernel in kernels.split():
        assert run(model, body, kernel) == level


# (what L1 writes while KVM sets an access flag, what L2's load comes to)
SWAPPED = [
    ("0x10000 slot0+0x1000 flags=read,write", DONE),
    ("0x10000 slot0+0x1000 flags=read,write old", DONE),  # the same again: nothing was seen
    ("0x10000 slot0+0x0 flags=read old", DONE),
    ("0x10000 slot0+0x0 flags=write", f"{DONE} exception=0x93c0800f"),
    ("0x10000 0x60000000 flags=read", "0 MMIO gpa=0x60000010 len=8 read"),
    ("0x0 0x60000000 flags=read block", "0 MMIO gpa=0x60010010 len=8 read"),
    ("0x20000 0x60000000 flags=read", DONE),
]


@pytest.mark.parametrize(("leaf", "shown"), SWAPPED)
def test_what_l1_writes_while_its_access_flag_is_set_is_what_counts(
    model: Model, leaf: str, shown: str
) -> None:
    body = f"{HA}{OLD}at swap\nl1-map {leaf}\nl2 read64 0x10010\nrun"
    assert run(model, body) == [shown]


def test_a_walk_begins_again_only_where_its_own_leaf_has_changed(model: Model) -> None:
    body = f"{HA}{OLD}at swap\nl1-map {{}} slot0+0x1000 flags=read\nl2 read64 0x10010\nrun"
    assert run(model, body.format("0x10000"), "bad-nested-walk-again") == ["-1 EAGAIN UNKNOWN"]
    assert run(model, body.format("0x20000"), "bad-nested-walk-again") == [DONE]


def test_l1_writes_where_its_line_says_whatever_its_slot_is_later(model: Model) -> None:
    leaf = "l1-map 0x10000 slot0+0x0 flags=read\n"
    body = f"{HA}{OLD}at swap\n{leaf}memslot 0 delete\nl2 read64 0x10010\nrun"
    assert run(model, body) == ["0 MMIO gpa=0x40000010 len=8 read"]


def test_what_l1_wrote_at_a_swap_is_forgotten_with_its_next_change(model: Model) -> None:
    body = f"{HA}{OLD}at swap\nl1-map 0x10000 slot0+0x0 flags=read\nl2 read64 0x10010\nrun\n"
    body += "l1-map 0x10000 slot0+0x0 flags=write\nl2 read64 0x10010\nrun"
    assert run(model, body) == [DONE, f"{DONE} exception=0x93c0800f"]


@pytest.mark.parametrize("point", ["entry", "walk", "lookup", "pin", "map"])
def test_elsewhere_what_l1_does_is_not_moved(model: Model, point: str) -> None:
    body = f"{MAPPED}l2 read64 0x10010\nat {point}\nl1-map 0x10000 slot0+0x0 flags=write\nrun"
    assert run(model, body) == [f"{DONE} exception=0x93c0800f"]


def test_only_the_first_leaf_of_a_table_is_where_bad_swap_address_looks(model: Model) -> None:
    body = "l1-map {0} slot0+0x0 flags=read old\nl2 read64 {0}\nrun"
    kernel = "bad-nested-swap-address"
    assert run(model, HA + body.format("0x200000"), kernel) == [DONE]
    assert run(model, HA + body.format("0x201000"), kernel) == ["hang EINTR INTR"]


L2 = [
    # Where L1 leads to no slot, L2 is treated as L1 would be, at L1's address.
    ("0x60000000", "read64 0x10010", ["0 MMIO gpa=0x60000010 len=8 read", DONE]),
    ("0x60000000", "read-pair 0x10010", ["-1 ENOSYS UNKNOWN"] * 2),
    ("0x60000000", "fetch 0x10010", [f"{DONE} exception=0x86000010", DONE]),
    ("0x60000000", "walk 0x10010", [f"{DONE} exception=0x96000015", DONE]),
    ("0x60000000", "dc-cvac 0x10010", [DONE, DONE]),
    # Past what the host has: L2's address is looked at first.
    ("0x60000000", "read64 0x40000000000", [f"{DONE} exception=0x96000000", DONE]),
]


@pytest.mark.parametrize(("output", "access", "shown"), L2)
def test_l2_outside_the_slots_ends_as_the_table_says(
    model: Model, output: str, access: str, shown: list[str]
) -> None:
    body = f"l1-map 0x10000 {output} flags=read,write,execute\nl2 {access}\nrun\nrun"
    assert run(model, body) == shown


@pytest.mark.parametrize("access", [each for each in Access if each not in VNCR_ACCESSES])
@pytest.mark.parametrize("cold", ["", "vm cold\n"])
def test_l2_can_do_whatever_l1_can(model: Model, access: Access, cold: str) -> None:
    body = f"{cold}{NESTED}{MAPPED}l2 {access.value} 0x10040\nguest read64 slot1+0x0\nrun"
    outcomes = model.run(text.load(body), KERNELS["v7.3"])
    assert [describe(each) for each in outcomes.runs] == [DONE]


@pytest.mark.parametrize(
    "step",
    ["punch gmem0+0x1000 size=0x1000", "release gmem0", "memslot 0 delete", "l1-vtcr illegal"],
)
def test_what_changes_under_l2_is_taken_out_of_the_shadow(model: Model, step: str) -> None:
    before, after = run(
        model,
        f"{MAPPED}l2 write64 0x10010\nrun\n{step}\nmemory-limit on\nl2 read-pair 0x10010\nrun",
    )
    assert before == DONE
    assert after != DONE


def test_what_has_not_changed_stays_in_the_shadow(model: Model) -> None:
    body = f"{MAPPED}l2 write64 0x10010\nrun\nmemory-limit on\nl2 read64 0x10010\nrun"
    assert run(model, body) == [DONE, DONE]


def test_l2_and_l1_reach_the_same_page(model: Model) -> None:
    body = f"{MAPPED}guest write64 slot0+0x1010\nrun\nmemory-limit on\nl2 read64 0x10010\nrun"
    assert run(model, body) == [DONE, DONE]


def test_a_block_takes_the_place_of_pages(model: Model) -> None:
    body = f"{MAPPED}{BLOCK}l2 read64 0x10010\nrun"
    assert run(model, body) == ["0 MMIO gpa=0x40010010 len=8 read"]


def test_what_l2_and_the_vncr_page_write_is_on_the_dirty_log(model: Model) -> None:
    body = """vm nested
    create mem0 size=0x2000 anon
    memslot 1 gpa=0x50000000 size=0x2000 mem0+0x0 flags=log-dirty
    l1-map 0x10000 slot1+0x0 flags=read,write
    """
    write = "l2 write64 0x10010\nguest vncr-write slot1+0x1010\nrun\ndirty-log slot1\n"
    read = "l2 read64 0x10010\nguest vncr-read slot1+0x1010\nrun\ndirty-log slot1\n"
    outcomes = model.run(text.load(body + 2 * write + read), KERNELS["v7.3"])
    assert [log.pages for log in outcomes.logs][:2] == [(0, 1), (0, 1)]
    assert 0 not in outcomes.logs[2].pages


def test_the_vmm_can_skip_an_access_of_l2s(model: Model) -> None:
    body = f"{MAPPED}release gmem0\nl2 read64 0x10010\nrun\nskip\nguest read64 slot1+0x0\nrun"
    assert run(model, body) == [f"-1 EFAULT {L2_FAULT}", DONE]


# (point, what another thread does there, the access, what comes of it)
RACES = [
    ("pin", "release gmem0", "guest vncr-write slot0+0x110", f"0 {FAULT}"),
    ("map", "release gmem0", "guest vncr-write slot0+0x110", f"0 {FAULT}"),  # asked for again
    ("map", "punch gmem0+0x0 size=0x1000", "guest vncr-write slot0+0x110", DONE),
    ("walk", "memslot 0 delete", "guest vncr-write 0x40000110", TOLD),
    ("lookup", "memslot 0 delete", "guest vncr-write 0x40000110", TOLD),
    ("map", "release gmem0", "l2 read64 0x10010", f"-1 EFAULT {L2_FAULT}"),
    ("map", "punch gmem0+0x1000 size=0x1000", "l2 read64 0x10010", DONE),
    ("walk", "memslot 0 delete", "l2 read64 0x10010", "0 MMIO gpa=0x40001010 len=8 read"),
    ("map", "memslot 0 delete", "l2 read64 0x10010", "0 MMIO gpa=0x40001010 len=8 read"),
]


@pytest.mark.parametrize(("point", "step", "access", "shown"), RACES)
def test_a_race_that_is_lost_ends_as_the_table_says(
    model: Model, point: str, step: str, access: str, shown: str
) -> None:
    assert run(model, f"{MAPPED}at {point}\n{step}\n{access}\nrun") == [shown]


REFUSED = [
    ("", "guest vncr-read 0x40000000", "EOPNOTSUPP"),
    ("", "l2 read64 0x10000", "EOPNOTSUPP"),
    ("", "l1-map 0x10000 0x40000000 flags=read", "EOPNOTSUPP"),
    ("", "l1-table 3 0x40000000", "EOPNOTSUPP"),
    ("", "l1-vtcr illegal", "EOPNOTSUPP"),
    ("vm nested\nvm protected", "guest vncr-read 0x40000000", "EOPNOTSUPP"),
    ("vm nested\nvm page-size=16k", "l2 read64 0x10000", "EOPNOTSUPP"),
    ("vm nested", "l2 vncr-read 0x10000", "EINVAL"),
    # The harness's own addresses, in L2's space and in L1's.
    ("vm nested", "l2 read64 0xf0000000", "EINVAL"),
    ("vm nested", "l1-map 0xf0000000 0x40000000 flags=read", "EINVAL"),
    ("vm nested", "l1-map 0x10000 0xf0200000 flags=write", "EINVAL"),
    ("vm nested", "l1-map 0xf03fffff 0x40000000 flags=read block", "EINVAL"),
    ("vm nested", "l1-table 3 0xf0000000", "EINVAL"),
]


@pytest.mark.parametrize(("vm", "step", "errno"), REFUSED)
def test_a_step_that_this_guest_cannot_do_is_refused(
    model: Model, vm: str, step: str, errno: str
) -> None:
    outcomes = model.run(text.load(f"{vm}\n{step}\nrun"), KERNELS["v7.3"])
    assert [errno_name(each.errno) for each in outcomes.refusals] == [errno]
    assert [describe(each) for each in outcomes.runs] == [DONE]


def test_a_vcpu_has_a_vncr_mapping_of_its_own_and_shares_the_shadow(model: Model) -> None:
    body = f"{MAPPED}{VNCR}l2 read64 0x10010\nrun\nmemory-limit on\nvcpu 1\n"
    assert run(model, f"{body}guest vncr-read slot0+0x110\nl2 read64 0x10010\nrun") == [DONE, DONE]
    hole = "memory-limit off\npunch gmem0+0x0 size=0x2000\nmemory-limit on\n"
    again = f"{body}{VNCR}run\n{hole}vcpu 0\nguest vncr-read slot0+0x110\nrun"
    assert run(model, again) == [DONE, DONE, f"0 {FAULT}"]


def test_l2_leaves_nothing_behind_for_the_next_case(model: Model) -> None:
    plain = text.load("vm ipa-bits=32\nguest read64 0x10010\nguest walk 0x20000\nrun")
    before = model.run(plain, KERNELS["v7.3"])
    run(model, f"{MAPPED}release gmem0\nl2 read64 0x10010\nrun")  # L2 is what runs at the end
    assert model.run(plain, KERNELS["v7.3"]) == before
