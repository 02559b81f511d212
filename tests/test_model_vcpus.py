"""Several vCPUs: a case, and what each of its KVM_RUNs must show.

The expectations are written from the facts about the kernel, not from the model.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu import text
from emu.abi import ExitReason
from emu.kernels import KERNELS
from emu.kernels.releases import V73
from emu.kvm.state import Vcpu
from emu.model import Model
from emu.outcome import Outcomes, describe
from emu.steps import Run
from emu.trace import run_traced

GMEM = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
ANON = """
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""
READ = "guest read64 0x40000010\n"
POINTS = ("entry", "walk", "lookup", "pin", "map")

DONE = "0 MMIO doorbell"
READ_MMIO = "0 MMIO gpa=0x40000010 len=8 read"
FAULT = "-1 EFAULT MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0"
NO_MEMORY = "-1 ENOMEM UNKNOWN"

VCPUS = [
    (
        "each vCPU has its own accesses and its own MMIO",
        "guest read64 0x50000010\nvcpu 1\nguest read64 0x60000010\nvcpu 0\nrun\nvcpu 1\nrun\nrun\n",
        [
            (0, "0 MMIO gpa=0x50000010 len=8 read"),
            (1, "0 MMIO gpa=0x60000010 len=8 read"),
            (1, DONE),
        ],
    ),
    (
        "a VM that dies is dead for all",
        "guest read64 0x50000010\nforce-abort fsc=0x7 hpfar-invalid\nrun\nvcpu 3\nrun\n",
        [(0, "-1 EFAULT UNKNOWN"), (3, "-1 EIO UNKNOWN")],
    ),
    (
        "a VM that dies while another vCPU is in the run loop",
        GMEM + READ + "vcpu 1\nat map\nrun vm-dead\nvcpu 0\nrun\n",
        [(1, "-1 EIO UNKNOWN"), (0, "-1 EIO UNKNOWN")],
    ),
    (
        "what is taken from one is taken from all",
        GMEM + READ + "run\nvcpu 1\n" + READ + "run\nrelease gmem0\n"
        + READ + "run\nvcpu 0\n" + READ + "run\n",
        [(0, DONE), (1, DONE), (1, FAULT), (0, FAULT)],
    ),
    (
        "each vCPU fills its own page-table cache",
        "vm cold\n" + ANON + READ + "run\nvcpu 1\nguest read64 0x40001010\n"
        "memory-limit on\nrun\nvcpu 0\nguest read64 0x40001010\nrun\n",
        [(0, DONE), (1, NO_MEMORY), (0, DONE)],
    ),
    (
        "a signal is for one of them",
        "vcpu 1\nrun signal\nvcpu 0\nrun\n",
        [(1, "-1 EINTR INTR"), (0, DONE)],
    ),
    (
        "a record of one outlives the other's KVM_RUN",
        GMEM + "release gmem0\n" + READ + "run\nvcpu 1\nrun\nvcpu 0\nrun immediate-exit\n",
        [(0, FAULT), (1, DONE), (0, "-1 EINTR MEMORY_FAULT kept")],
    ),
    (
        "two vCPUs want one page, one in the midst of the other",
        GMEM + READ + "vcpu 1\nguest write64 0x40000020\nat map\nrun\nvcpu 0\nrun\n",
        [(1, DONE), (0, DONE)],
    ),
    (
        "a KVM_RUN whose point nobody reaches comes late",
        "vcpu 1\nguest read64 0x50000010\nvcpu 0\nat map\nvcpu 1\nrun\nrun\nvcpu 0\nrun\n",
        [(1, "0 MMIO gpa=0x50000010 len=8 read"), (1, DONE), (0, DONE)],
    ),
    (
        "a slot that another vCPU finds INVALID",
        GMEM + READ + "vcpu 1\nguest read64 0x40001010\nat map\nmemslot 0 delete\n"
        "at map\nrun\nvcpu 0\nrun\n",
        [(1, "0 MMIO gpa=0x40001010 len=8 read"), (0, READ_MMIO)],
    ),
]  # fmt: skip

LINES = st.sampled_from(
    [
        *["run"] * 3,
        *(f"at {point}" for point in POINTS),
        *(f"vcpu {number}" for number in range(3)),
        *("guest read64 slot0+0x10", "guest write64 slot0+0x1010", "guest read64 0x50000010"),
        *("release gmem0", "punch gmem0+0x0 size=0x1000", "memory-limit on", "memory-limit off"),
        *("memslot 0 delete", "memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd"),
        *("skip", "mmio-data 0x1", "run signal", "run vm-dead", "force-abort fsc=0x7"),
    ]
)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


@pytest.fixture(scope="module")
def other_model() -> Model:
    return Model()


def play(model: Model, source: str) -> Outcomes:
    return model.run(text.load(source), KERNELS["v7.3"])


@pytest.mark.parametrize(("name", "source", "expected"), VCPUS)
def test_vcpus_of_one_vm_show_what_the_kernel_shows(
    model: Model, name: str, source: str, expected: list[tuple[int, str]]
) -> None:
    runs = play(model, source).runs
    assert [(run.vcpu, describe(run)) for run in runs] == expected, name


class Neighbour(V73):
    """A kernel that fills in the record of every vCPU."""

    def kvm_prepare_memory_fault_exit(self, vcpu: Vcpu, gpa: int, size: int) -> None:
        super().kvm_prepare_memory_fault_exit(vcpu, gpa, size)
        if vcpu.kvm.races is not None:
            for other in vcpu.kvm.races.vcpus:
                other.run.exit_reason = ExitReason.MEMORY_FAULT


def test_what_happens_to_another_vcpus_record_is_told(model: Model) -> None:
    case = text.load(GMEM + "release gmem0\nvcpu 1\nrun\nvcpu 0\n" + READ + "run\n")
    changed = [run.others_changed for run in model.run(case, Neighbour()).runs]
    assert changed == [False, True]
    assert not any(run.others_changed for run in model.run(case, V73()).runs)


def test_a_kvm_run_inside_another_is_no_change_by_that_one(model: Model) -> None:
    source = GMEM + READ + "vcpu 1\nguest read64 0x50000010\nat map\nrun\nvcpu 0\nrun\n"
    assert [run.others_changed for run in play(model, source).runs] == [False, False]


def test_a_kvm_run_counts_its_own_userfaults(model: Model) -> None:
    source = (
        ANON + "userfault mem0+0x0 size=0x2000 missing\n" + READ
        + "vcpu 1\nguest read64 0x40001010\nat map\nrun\nvcpu 0\nrun\n"
    )  # fmt: skip
    assert [run.userfaults for run in play(model, source).runs] == [1, 1]


def test_every_kvm_run_of_a_case_has_its_outcome_and_its_trace(model: Model) -> None:
    case = text.load(
        GMEM + READ + "vcpu 1\nguest write64 0x40000020\nat map\nrun\nat pin\nrun signal\n"
        "vcpu 0\nrun\nat entry\nrun\n"
    )
    steps = [index for index, step in enumerate(case.steps) if isinstance(step, Run)]
    outcomes, traces = run_traced(model, case, KERNELS["v7.3"])
    assert [run.step for run in outcomes.runs] == steps
    assert [trace.step for trace in traces] == steps
    assert all(trace.calls[0].name == "kvm_vcpu_ioctl_run" for trace in traces)


def test_a_case_with_one_vcpu_follows_one_with_more(model: Model) -> None:
    lonely = GMEM + READ + "run\npunch gmem0+0x0 size=0x1000\nrelease gmem0\n" + READ + "run\n"
    before = play(model, lonely)
    play(model, "vcpu 2\nvcpu 1\n" + GMEM + READ + "run\nvcpu 2\n" + READ + "run\n")
    assert play(model, lonely) == before


@given(lines=st.lists(LINES, max_size=24))
def test_whatever_the_interleaving_each_kvm_run_has_one_outcome_and_always_the_same(
    model: Model, other_model: Model, lines: list[str]
) -> None:
    case = text.load("\n".join([GMEM, *lines]))
    outcomes = model.run(case, KERNELS["v7.3"])
    steps = [index for index, step in enumerate(case.steps) if isinstance(step, Run)]
    assert [run.step for run in outcomes.runs] == steps
    assert all(run.access < run.step and not run.others_changed for run in outcomes.runs)
    assert other_model.run(case, KERNELS["v7.3"]) == outcomes
