"""L1's VNCR page: each way in which it cannot be had, and what each kernel makes of that.

Rows that say "observed" hold what a real kernel printed. The rest is written from what was read.
ESR_EL2 as L1 gets it is inferred, but for NO_STATUS.
"""

import pytest

from emu import text
from emu.guest import SAME_ACCESS_LIMIT
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import describe
from tests.nested import DONE, FAULT, L1_FAULT, LEFT, NESTED, NO_STATUS, TOLD, VNCR, run


@pytest.fixture(scope="module")
def model() -> Model:
    """One emulated CPU for all rows."""
    return Model()


# What get_pfn() fails with for L1's VNCR page, and what KVM_RUN shows.
VNCR_ERRORS = [
    # Observed: 7.3.4, and 7.3.4 built with two of the proposals.
    ("EFAULT", "v7.3 scribble-on-exit gated-prepare", f"0 {FAULT}"),
    ("EHWPOISON", "v7.3 scribble-on-exit gated-prepare", f"0 {FAULT}"),
    ("ENOMEM", "v7.3 scribble-on-exit", f"0 {FAULT}"),
    ("EIO", "v7.3 scribble-on-exit", f"0 {FAULT}"),
    ("ENOMEM", "gated-prepare", "0 UNKNOWN"),
    ("EIO", "gated-prepare", "0 UNKNOWN"),
    # Observed: an exception for L1.
    ("EINVAL", "v7.3", NO_STATUS),
    ("ENOENT", "v7.3", NO_STATUS),
    ("EACCES", "v7.3", NO_STATUS),
    # Not run.
    ("EFAULT", "scribble-as-posted gated-prepare-reset", f"0 {FAULT}"),
    ("EHWPOISON", "scribble-as-posted gated-prepare-reset", f"0 {FAULT}"),
    ("ENOMEM", "gated-prepare-reset", "0 UNKNOWN"),
    ("EINVAL", "scribble-on-exit gated-prepare", NO_STATUS),
    ("EAGAIN", "v7.3 scribble-on-exit gated-prepare", DONE),  # once: the second try maps it
    # The RFC's description: one of the two errnos, with MEMORY_FAULT, whatever it was.
    ("EHWPOISON", "rfc-align-errno clean", f"-1 EHWPOISON {FAULT}"),
    ("EFAULT", "rfc-align-errno clean", f"-1 EFAULT {FAULT}"),
    ("ENOMEM", "rfc-align-errno clean", f"-1 EFAULT {FAULT}"),
    ("EIO", "rfc-align-errno clean", f"-1 EFAULT {FAULT}"),
    ("EINVAL", "rfc-align-errno clean", f"-1 EFAULT {FAULT}"),
    ("EAGAIN", "rfc-align-errno clean", f"-1 EFAULT {FAULT}"),
]


@pytest.mark.parametrize(("errno", "kernels", "shown"), VNCR_ERRORS)
def test_a_lookup_for_the_vncr_page_that_fails_ends_as_the_table_says(
    model: Model, errno: str, kernels: str, shown: str
) -> None:
    for kernel in kernels.split():
        assert run(model, f"fail kvm_gmem_get_pfn {errno}\n{VNCR}run", kernel) == [shown]


# The same without an injection: (what the VMM did, the errno that the RFC makes of it).
VNCR_CAUSES = [
    ("release gmem0", "EFAULT"),
    ("poison gmem0+0x0", "EHWPOISON"),
    ("memory-limit on", "EFAULT"),
]


@pytest.mark.parametrize(("cause", "errno"), VNCR_CAUSES)
def test_a_vncr_page_that_cannot_be_had_is_return_value_0_with_memory_fault(
    model: Model, cause: str, errno: str
) -> None:
    assert run(model, f"{cause}\n{VNCR}run\nrun") == [f"0 {FAULT}"] * 2  # observed
    assert run(model, f"{cause}\n{VNCR}run", "clean") == [f"-1 {errno} {FAULT}"]


# Observed: the guest re-faults until a signal comes.
@pytest.mark.parametrize("errno", ["EAGAIN", "EINTR", "EEXIST"])
def test_an_errno_that_nobody_lists_resumes_for_ever(model: Model, errno: str) -> None:
    body = f"fail kvm_gmem_get_pfn {errno}\n" * SAME_ACCESS_LIMIT + VNCR + "run"
    assert run(model, body) == [f"hang EINTR INTR {LEFT}"]
    assert run(model, body, "gated-prepare") == ["hang EINTR INTR"]
    assert run(model, body, "clean") == [f"-1 EFAULT {FAULT}"]


# (what happens, the accesses of one KVM_RUN, what v7.3 shows, what gated-prepare shows)
STALE = [
    # Observed on 7.3.4.
    ("fail kvm_gmem_get_pfn EAGAIN", "read64 slot1+0x10", f"EFAULT {FAULT}", "EFAULT UNKNOWN"),
    ("fail kvm_gmem_get_pfn EINTR", "read64 slot1+0x10", f"EFAULT {FAULT}", "EFAULT UNKNOWN"),
    ("skip", "read64 slot1+0x10", "EFAULT UNKNOWN", "EFAULT UNKNOWN"),
    ("fail kvm_gmem_get_pfn EAGAIN", "read-pair 0x60000000", f"ENOSYS {FAULT}", "ENOSYS UNKNOWN"),
]


@pytest.mark.parametrize(("step", "then", "shown", "gated"), STALE)
def test_a_record_left_by_the_vncr_path_is_shown_with_a_later_error(
    model: Model, step: str, then: str, shown: str, gated: str
) -> None:
    body = f"munmap mem0+0x0 size=0x1000\n{step}\n{VNCR}guest {then}\nrun"
    assert run(model, body) == [f"-1 {shown}"]
    assert run(model, body, "gated-prepare") == [f"-1 {gated}"]


# L1's VNCR page in the VMM's own memory, and where there is none: never an exit for the VMM.
ELSEWHERE = [
    ("", "guest vncr-write slot1+0x10", DONE),
    ("", "guest vncr-write 0x60000010", TOLD),
    ("", "guest vncr-write 0x1000000000010", f"{DONE} exception=0x96002044"),
    ("munmap mem0+0x0 size=0x1000", "guest vncr-write slot1+0x10", TOLD),
    ("mprotect mem0+0x0 size=0x1000 none", "guest vncr-write slot1+0x10", TOLD),
    ("mprotect mem0+0x0 size=0x1000 read", "guest vncr-write slot1+0x10", TOLD),
    ("memory-limit on", "guest vncr-write slot1+0x10", TOLD),
    ("poison mem0+0x0", "guest vncr-write slot1+0x10", TOLD),  # and no SIGBUS
    ("fail __kvm_faultin_pfn EFAULT", "guest vncr-write slot1+0x10", TOLD),
    # A read maps the zero page, which the write that follows may not use.
    ("", "guest vncr-read slot1+0x10\nguest vncr-write slot1+0x18", DONE),
]


@pytest.mark.parametrize(("step", "access", "shown"), ELSEWHERE)
def test_a_vncr_page_outside_guest_memfd_is_between_l1_and_kvm(
    model: Model, step: str, access: str, shown: str
) -> None:
    assert run(model, f"{step}\n{access}\nrun") == [shown]


def test_a_read_only_slot_can_hold_a_vncr_page_that_is_read(model: Model) -> None:
    body = "create mem1 size=0x1000 file\nmemslot 2 gpa=0x60000000 size=0x1000 mem1+0x0 "
    body += "flags=readonly\nguest vncr-read slot2+0x0\nguest vncr-write slot2+0x0\nrun"
    assert run(model, body) == [TOLD]


# A mapping is kept until something takes it away; under a limit a new one cannot be had.
KEPT = [
    ("run", DONE),
    ("punch gmem0+0x1000 size=0x1000", DONE),
    ("punch gmem0+0x0 size=0x1000", f"0 {FAULT}"),
    ("release gmem0", f"0 {FAULT}"),
    ("memslot 0 delete", f"{DONE} exception=0x96002010"),
]


@pytest.mark.parametrize(("step", "shown"), KEPT)
def test_a_vncr_mapping_is_kept_until_its_page_goes(model: Model, step: str, shown: str) -> None:
    body = f"{VNCR}run\n{step}\nmemory-limit on\nguest vncr-read 0x40000110\nrun"
    assert run(model, body)[-1] == shown


def test_another_vncr_page_is_another_mapping(model: Model) -> None:
    body = f"{VNCR}run\nmemory-limit on\nguest vncr-read slot0+0x1110\nrun"
    assert run(model, body) == [DONE, f"0 {L1_FAULT}"]


# Aborts at the VNCR page that no CPU is known to report.
FORCED = [
    ("", "fsc=0x10", [f"{DONE} exception=0xbf000000"]),
    ("vm sea-to-user", "fsc=0x10", ["0 ARM_SEA flags=0x0 esr=0x96000050 gva=0x40000110 gpa=0x0"]),
    ("", "fsc=0x30", ["-1 EIO UNKNOWN", "-1 EIO UNKNOWN"]),  # and the VM is dead
    ("", "fsc=0xd", [DONE]),
]


@pytest.mark.parametrize(("vm", "abort", "shown"), FORCED)
def test_an_odd_abort_at_the_vncr_page_ends_as_the_table_says(
    model: Model, vm: str, abort: str, shown: list[str]
) -> None:
    body = f"{vm}\n{NESTED}force-abort {abort}\n{VNCR}" + "run\n" * len(shown)
    outcomes = model.run(text.load(body), KERNELS["v7.3"])
    assert [describe(each) for each in outcomes.runs] == shown


def test_on_a_host_with_large_pages_clean_reports_the_host_page_of_the_vncr_page(
    model: Model,
) -> None:
    body = """vm nested
    vm page-size=16k
    create gmem0 size=0x4000 flags=mmap,init-shared
    memslot 0 gpa=0x40000000 size=0x4000 gmem0+0x0 flags=guest-memfd
    release gmem0
    guest vncr-read slot0+0x1000
    run"""
    case = text.load(body)
    shown = {name: describe(model.run(case, KERNELS[name]).runs[0]) for name in ("v7.3", "clean")}
    assert shown == {
        "v7.3": "0 MEMORY_FAULT gpa=0x40001000 size=0x4000 flags=0x0",
        "clean": "-1 EFAULT MEMORY_FAULT gpa=0x40000000 size=0x4000 flags=0x0",
    }
