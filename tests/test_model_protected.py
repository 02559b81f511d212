"""Protected VMs: a case, and what each of its KVM_RUNs must show.

The expectations are written from the facts about the kernel, not from the model.
"""

import pytest

from emu import text
from emu.abi import errno_name
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes, describe

GMEM = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
ANON = """
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""
HUGETLB = """
create mem0 size=0x200000 hugetlb
memslot 0 gpa=0x40000000 size=0x200000 mem0+0x0
"""
READ = "guest read64 0x40000010\n"

DONE = "0 MMIO doorbell"
DATA_ABORT = "0 MMIO doorbell exception=0x96000010"
NO_MEMORY = "-1 ENOMEM UNKNOWN"
NO_PAGE = "-1 EFAULT UNKNOWN"
SIGBUS = "-1 EINTR INTR sigbus"

PROTECTED = [
    ("a page is lent", ANON + READ + "run\n", [DONE]),
    ("no record for an error", GMEM + READ + "run\n", [NO_PAGE]),
    ("the lock limit", ANON + "memlock-limit on\n" + READ + "run\nmemlock-limit off\nrun\n",
     [NO_MEMORY, DONE]),
    ("no memory for the page", ANON + "memory-limit on\n" + READ + "run\n", [NO_PAGE]),
    ("a memory error", ANON + "poison mem0+0x0\n" + READ + "run\n", [SIGBUS]),
    ("a page that cannot be written", ANON + "mprotect mem0+0x0 size=0x1000 read\n" + READ
     + "run\n", [NO_PAGE]),
    ("a pin that fails", ANON + "fail pin_user_pages ENOMEM\n" + READ + "run\nrun\n",
     [NO_PAGE + " injected", DONE + " injected"]),
    ("a pin of a page with a memory error", ANON + "fail pin_user_pages EHWPOISON\n" + READ
     + "run\n", [SIGBUS + " injected"]),
    ("a map that must be tried again", ANON + "fail kvm_pgtable_stage2_map EAGAIN\n" + READ
     + "run\n", [DONE + " injected"]),
    ("a map that fails", ANON + "fail kvm_pgtable_stage2_map EPERM\n" + READ + "run\n",
     ["-1 EPERM UNKNOWN injected"]),
    ("a cache that cannot be filled has one errno",
     ANON + "fail kvm_mmu_topup_memory_cache EINVAL\n" + READ + "run\n",
     [NO_MEMORY + " injected"]),
    ("a huge page", HUGETLB + READ + "run\n", ["-1 EIO UNKNOWN"]),
    ("device memory", HUGETLB.replace("hugetlb", "device") + READ + "run\n", [NO_PAGE]),
    ("what is lent is not taken back", ANON + READ + "run\nmunmap mem0+0x0 size=0x2000\n" + READ
     + "run\nguest read64 0x40001010\nrun\n", [DONE, DONE, NO_PAGE]),
    ("no syndrome", "guest read-pair 0x50000010\nrun\n", [DATA_ABORT]),
    ("no syndrome, and a VMM that asks", "vm nisv-to-user\nguest read-pair 0x50000010\nrun\n",
     [DATA_ABORT]),
    ("a syndrome", "guest read64 0x50000010\nrun\n", ["0 MMIO gpa=0x50000010 len=8 read"]),
    ("two vCPUs want one page", ANON + READ + "vcpu 1\n" + READ + "at map\nrun\nvcpu 0\nrun\n",
     [DONE, DONE]),
    ("a pin that finds nothing", ANON + READ + "at pin\nmunmap mem0+0x0 size=0x1000\nrun\n",
     [NO_PAGE]),
    ("a page that is held already", ANON + READ + "at map\nmunmap mem0+0x0 size=0x1000\nrun\n",
     [DONE]),
    # Before kvm_run is touched.
    ("no memory for the first run", "vm cold\n" + ANON + "memory-limit on\nrun\n", [NO_MEMORY]),
]  # fmt: skip

RULE_17 = [
    ("", "0 delete", "EPERM"),
    ("", "0 gpa=0x50000000 size=0x2000 mem0+0x0", "EPERM"),
    ("", "0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=log-dirty", "EPERM"),
    ("", "1 gpa=0x50000000 size=0x1000 mem0+0x0 flags=readonly", "EPERM"),
    ("", "1 gpa=0xfffffff000 size=0x2000 mem0+0x0 flags=readonly", "EPERM"),  # before 15
    ("", "1 gpa=0x40001000 size=0x1000 mem0+0x0 flags=readonly", "EEXIST"),  # after 13
    ("", "1 gpa=0x50000000 size=0x1000 mem0+0x0", None),
    ("vm cold\n", "0 delete", None),
    ("vm cold\n", "0 gpa=0x50000000 size=0x2000 mem0+0x0", None),
]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def play(model: Model, source: str) -> Outcomes:
    return model.run(text.load(source), KERNELS["v7.3"])


@pytest.mark.parametrize(("name", "source", "expected"), PROTECTED)
def test_a_protected_vm_shows_what_the_kernel_shows(
    model: Model, name: str, source: str, expected: list[str]
) -> None:
    runs = play(model, "vm protected\n" + source).runs
    assert [describe(run) for run in runs] == expected, name


@pytest.mark.parametrize(("vm", "line", "errno"), RULE_17)
def test_a_protected_vm_keeps_its_slots(
    model: Model, vm: str, line: str, errno: str | None
) -> None:
    outcomes = play(model, f"vm protected\n{vm}{ANON}memslot {line}\n")
    assert [errno_name(each.errno) for each in outcomes.refusals] == ([errno] if errno else [])
