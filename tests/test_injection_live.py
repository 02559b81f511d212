"""Errors injected into a stock kernel by a debugger, in a box that has one."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from emu import casefile, text
from emu.abi import Errno
from emu.case import Case
from emu.expectation import expected_lines
from emu.kernels import KERNELS
from emu.live import box
from emu.live.gdbstub import Stub, StubError
from emu.live.machine import LiveMachine
from emu.live.needs import Needs
from emu.live.trouble import BoxError
from emu.live.unsupported import Unsupported, objection
from emu.model import Model
from emu.outcome import Outcomes, describe
from tests.live_boxes import cached_image, executor

pytestmark = pytest.mark.live

CORPUS = Path(__file__).parent.parent / "corpus"
FILES = [
    path
    for path in sorted(CORPUS.glob("*/*.case"))
    if re.search("^fail ", path.read_text(), re.MULTILINE)
    and "vm nested" not in path.read_text()
    and path.parent.name != "nested"
]
GMEM = (
    "create gmem0 size=0x4000 flags=mmap\n"
    "memslot 0 gpa=0x40000000 size=0x4000 gmem0+0x0 flags=guest-memfd\n"
)
REPORTED = "MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0 injected"


@pytest.fixture(scope="module")
def machine() -> Iterator[LiveMachine]:
    with box.start(cached_image(), executor(), Needs(injecting=True)) as started:
        yield LiveMachine(started)


def played(machine: LiveMachine, case: Case) -> Outcomes:
    answer = machine.run(case)
    assert isinstance(answer, Outcomes), str(answer)
    return answer


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_injected_error_does_on_a_kernel_what_it_does_on_the_model(
    machine: LiveMachine, path: Path
) -> None:
    case = casefile.load(path.read_text(), path.name).case
    if found := objection(case, machine.host):
        pytest.skip(str(found))
    model = Model().run(case, KERNELS["v7.3"])
    assert expected_lines(played(machine, case), {}) == expected_lines(model, {})


@pytest.mark.parametrize("errno", ["ENOMEM", "EIO", "EINTR", "EAGAIN", "EINVAL", "EEXIST"])
def test_an_errno_of_guest_memfd_reaches_the_vmm_with_a_memory_fault(
    machine: LiveMachine, errno: str
) -> None:
    case = text.load(f"{GMEM}fail kvm_gmem_get_pfn {errno}\nguest read64 slot0+0x0\nrun\nrun\n")
    told = [describe(run) for run in played(machine, case).runs]
    assert told == [f"-1 {errno} {REPORTED}", "0 MMIO doorbell injected"]


@pytest.mark.parametrize("site", ["kvm_pgtable_stage2_map", "kvm_mmu_topup_memory_cache"])
@pytest.mark.parametrize("nth", range(1, 7))
def test_a_cold_guest_meets_the_faults_of_the_models_and_no_others(
    machine: LiveMachine, site: str, nth: int
) -> None:
    """Of code, tables, and one page of the case, and none between its accesses, nor at the end."""
    accesses = "guest read64 slot0+0x0\nguest write64 slot0+0x8\n"
    case = text.load(f"vm cold\n{GMEM}fail {site} EIO nth={nth}\n{accesses}run\n")
    model = Model().run(case, KERNELS["v7.3"])
    assert expected_lines(played(machine, case), {}) == expected_lines(model, {})
    assert model.runs[0].injected == (nth < 5)


def test_what_a_case_did_not_reach_does_not_fail_in_the_next_one(machine: LiveMachine) -> None:
    played(machine, text.load(f"{GMEM}fail kvm_gmem_get_pfn {Errno.EIO.name}\nrun\n"))
    (run,) = played(machine, text.load(f"{GMEM}guest read64 slot0+0x0\nrun\n")).runs
    assert describe(run) == "0 MMIO doorbell"


def test_a_stub_that_is_not_understood_costs_one_case_and_the_box_starts_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_understood(_: Stub) -> NoReturn:
        monkeypatch.undo()
        raise StubError(b"nonsense")

    case = text.load(f"{GMEM}fail kvm_gmem_get_pfn EIO\nguest read64 slot0+0x0\nrun\n")
    with box.start(cached_image(), executor(), Needs(injecting=True)) as started:
        machine = LiveMachine(started)
        monkeypatch.setattr(Stub, "registers", not_understood)
        with pytest.raises(BoxError, match=r"gone.*: QEMU's gdbstub said 'nonsense'"):
            machine.run(case)
        (run,) = played(machine, case).runs
        assert describe(run) == f"-1 EIO {REPORTED}"
        assert started.restarts == 1


def test_a_kernel_without_the_function_plays_no_such_case(machine: LiveMachine) -> None:
    answer = machine.run(text.load("fail get_user_mapping_size EFAULT\nrun\n"))
    if isinstance(answer, Outcomes):
        pytest.skip("this kernel has it")
    assert isinstance(answer, Unsupported)
    assert "no function get_user_mapping_size of its own" in answer.reason


def test_a_box_without_a_debugger_plays_none() -> None:
    with box.start(cached_image(), executor(), Needs()) as started:
        answer = LiveMachine(started).run(text.load("fail kvm_gmem_get_pfn EIO\nrun\n"))
    assert answer == Unsupported("a stock kernel injects no errors", 0)
