"""The differences between model and kernel that are explained, and no wider than their causes."""

from collections.abc import Callable

import msgspec
import pytest

from emu import text
from emu.abi import Errno
from emu.case import Case
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes, Refusal
from triage.conform_divergence import Divergence
from triage.conform_known import explanation

MODEL = Model()


def on(kernel: str) -> Callable[[Case], Outcomes]:
    return lambda case: MODEL.run(case, KERNELS[kernel])


REFUSED = "memory-limit on\nmemslot 0 gpa=0x40000000 size=0x1000 mem0+0x0\nmemory-limit off\nrun\n"


def refusal(step: int, errno: int) -> Divergence:
    return Divergence(step, None, Refusal(step, errno))


KNOWN = [
    #  case                                              divergence       explained by
    (REFUSED, refusal(1, 12), "charged-objects"),
    # Another errno, or no limit, or a step that makes nothing.
    (REFUSED, refusal(1, 14), ""),
    (REFUSED.replace("limit on", "limit off"), refusal(1, 12), ""),
    ("memory-limit on\npunch gmem0+0x0 size=0x1000\n", refusal(1, 12), ""),
    ("memory-limit on\nmemory-limit off\ncreate mem0 size=0x1000 anon\n", refusal(2, 12), ""),
    (
        "memory-limit on\nuserfault mem0+0x0 size=0x1000 missing\n",
        refusal(1, 12),
        "charged-objects",
    ),
    # Only a file's room can be what is short.
    ("memory-limit on\ncreate mem0 size=0x1000 file\n", refusal(1, 28), "charged-objects"),
    ("memory-limit on\ncreate mem0 size=0x1000 hugetlb\n", refusal(1, 28), "charged-objects"),
    ("memory-limit on\ncreate mem0 size=0x1000 anon\n", refusal(1, 28), ""),
    # A device's mapping has an errno of its own.
    ("memory-limit on\ncreate mem0 size=0x1000 device\n", refusal(1, 11), "charged-objects"),
    ("memory-limit on\ncreate mem0 size=0x1000 file\n", refusal(1, 11), ""),
]


@pytest.mark.parametrize(("case", "found", "name"), KNOWN)
def test_a_known_difference_is_no_wider_than_its_cause(
    case: str, found: Divergence, name: str
) -> None:
    known = explanation(text.load(case), found)
    assert (known.name if known else "") == name


MEMORY = "create mem0 size=0x1000 anon\nmemslot 0 gpa=0x40000000 size=0x1000 mem0+0x0\n"
HUGE = MEMORY.replace("anon", "hugetlb")
FAILED = MEMORY + "munmap mem0+0x0 size=0x1000\nguest read64 slot0+0x0\nrun\n"

READS = [
    #  case                                                                    explained by
    (MEMORY + "memory-limit on\nguest read64 slot0+0x0\nrun\n", "charged-page-tables"),
    (MEMORY + "guest read64 slot0+0x0\nrun\n", ""),
    (MEMORY + "memory-limit on\nguest write64 slot0+0x0\nrun\n", ""),
    (MEMORY + "memory-limit on\nguest read64 slot0+0x1000\nrun\n", ""),
    # A page of hugetlbfs is not charged, its page table is.
    (HUGE + "memory-limit on\nguest write64 slot0+0x0\nrun\n", "charged-page-tables"),
]


@pytest.mark.parametrize(("content", "name"), READS)
def test_an_access_may_fail_for_want_of_a_page_table_only_under_the_limit(
    content: str, name: str
) -> None:
    case = text.load(content)
    served = on("v7.3")(case).runs[0]
    failed = on("v7.3")(text.load(FAILED)).runs[0]
    access = next(
        n for n, step in enumerate(case.steps) if text.dump_step(step).startswith("guest")
    )
    seen = msgspec.structs.replace(failed, step=served.step, access=access)
    known = explanation(case, Divergence(served.step, served, seen))
    assert (known.name if known else "") == name


LEFT = (
    "create gmem0 size=0x1000 flags=mmap\n"
    "memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd\n"
    "create mem1 size=0x1000 anon\nmemslot 1 gpa=0x1000 size=0x1000 mem1+0x0 flags=readonly\n"
    "fail kvm_gmem_get_pfn ENOEXEC\nmemory-limit on\n"
    "guest read64 slot0+0x0\nguest cas slot1+0x0\nrun\n"
)


@pytest.mark.parametrize(("gpa", "name"), [(0x40000000, "charged-page-tables"), (0x1000, "")])
def test_the_record_of_an_earlier_fault_may_be_there_and_no_other(gpa: int, name: str) -> None:
    case = text.load(LEFT)
    run = on("v7.3")(case).runs[0]
    assert (run.fresh, run.errno) == (True, Errno.ENOSYS)
    live = msgspec.structs.replace(run, errno=int(Errno.EFAULT), union=(0, gpa, 0x1000, 0))
    known = explanation(case, Divergence(run.step, run, live))
    assert (known.name if known else "") == name


def test_an_access_past_the_models_host_is_explained_and_one_below_is_not() -> None:
    for address, name in ((0x400_0000_0000, "host-ipa-limit"), (0x3FF_0000_0000, "")):
        case = text.load(f"guest read64 {address:#x}\nrun\n")
        run = on("v7.3")(case).runs[0]
        ours = msgspec.structs.replace(run, exceptions=((0, 0x9600_0000),))
        its = msgspec.structs.replace(run, exceptions=((0, 0x9600_0010),))
        known = explanation(case, Divergence(1, ours, its))
        assert (known.name if known else "") == name


WATCHED = (
    MEMORY + "userfault mem0+0x0 size=0x1000 missing\nmemory-limit on\nrun\nmemory-limit off\nrun\n"
)


@pytest.mark.parametrize(
    ("content", "name"),
    [(WATCHED, "charged-page-tables"), (WATCHED.replace("limit on", "limit off"), "")],
)
def test_a_fault_is_heard_of_later_only_after_a_limit(content: str, name: str) -> None:
    case = text.load(content)
    run = on("v7.3")(case).runs[1]
    heard = msgspec.structs.replace(run, userfaults=1)
    known = explanation(case, Divergence(run.step, run, heard))
    assert (known.name if known else "") == name


def zero_page(model: int, live: int) -> str:
    case = text.load("create mem0 size=0x1000 anon\npoison mem0+0x0\nrun\n")
    known = explanation(case, Divergence(1, Refusal(1, model), Refusal(1, live)))
    return known.name if known else ""


def test_the_zero_page_is_marked_once_for_all_cases_of_a_box() -> None:
    assert zero_page(Errno.EBUSY, Errno.EHWPOISON) == "zero-page"
    assert zero_page(Errno.EFAULT, Errno.EHWPOISON) == ""


FOR_EVER = [(32, "given-up"), (31, "")]


@pytest.mark.parametrize(("errors", "name"), FOR_EVER)
def test_a_fault_that_the_model_gives_up_was_met_so_often_by_injection(
    errors: int, name: str
) -> None:
    case = text.load("fail kvm_gmem_get_pfn EAGAIN\n" * errors + "run\n")
    live = MODEL.run(text.load("run\n"), KERNELS["v7.3"]).runs[0]
    model = msgspec.structs.replace(live, stuck=True)
    known = explanation(case, Divergence(errors, model, live))
    assert (known.name if known else "") == name


PAST = [
    #  L1's step, and what it gets on the model            explained by
    ("l1-map 0x10000 0x40000000000 flags=read", 0x93C0_8003, "host-ipa-limit"),
    ("l1-table 3 0x40000000000", 0x93C0_8002, "host-ipa-limit"),
    ("l1-map 0x10000 0x20000000000 flags=read", 0x93C0_8003, ""),
    ("l1-map 0x10000 0x40000000000 flags=read", 0x93C0_8007, ""),
]


@pytest.mark.parametrize(("step", "esr", "name"), PAST)
def test_tables_of_l1_past_the_models_host_are_explained(step: str, esr: int, name: str) -> None:
    case = text.load(f"vm nested\n{step}\nl2 read64 0x10010\nrun\n")
    live = MODEL.run(text.load("vm nested\nrun\n"), KERNELS["v7.3"]).runs[0]
    model = msgspec.structs.replace(live, exceptions=((1, esr),))
    known = explanation(case, Divergence(2, model, live))
    assert (known.name if known else "") == name


@pytest.mark.parametrize(
    ("offset", "name"), [(0xFFFF_FFFF_F000, "host-va-limit"), (0xFFF_FFFF_F000, "")]
)
def test_only_addresses_past_those_of_the_models_host_are_explained(offset: int, name: str) -> None:
    case = text.load(f"memslot 0 gpa=0x40000000 size=0x1000 mem0+{offset:#x}\n")
    known = explanation(case, Divergence(0, Refusal(0, Errno.EINVAL), None))
    assert (known.name if known else "") == name
