"""What ``gff run`` says of a guest that is a hypervisor."""

from emu.abi import PAGE_SIZE
from emu.model import Model
from emu.text import load
from fuzz.oracle.contract import Reading
from triage.case_input import CaseInput
from triage.explain import explain
from triage.explanation import Explanation
from triage.syndrome_words import is_for_el2, syndrome

GMEM = """vm nested
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""


def explanation(steps: str) -> Explanation:
    """Of Linux 7.3.4."""
    case = load(GMEM + steps)
    return explain(CaseInput("x", case, None), "v7.3", Reading.STRICT, Model())


def test_an_abort_at_the_vncr_page_has_no_guest_physical_address() -> None:
    run = explanation("release gmem0\nguest vncr-write slot0+0x110\nrun\n").runs[0]
    (abort,) = run.aborts
    assert (abort.far, abort.hpfar, abort.ipa, abort.own) == (0x4000_0110, None, None, "")
    assert abort.syndrome == "data abort, same level; translation fault, level 3; WnR VNCR ISV=0"
    assert abort.way.startswith("kvm_handle_vncr_abort > kvm_translate_vncr > kvm_gmem_get_pfn")
    assert abort.access is not None
    assert abort.access.instruction == "MSR to an EL2 register"


def test_an_access_of_l2s_is_told_by_its_own_address() -> None:
    body = "l1-map 0x10000 slot0+0x1000 flags=read\nrelease gmem0\nl2 read64 0x10010\nrun\n"
    run = explanation(body).runs[0]
    *_, abort = run.aborts  # L2's own code went with the released file
    assert abort.access is not None
    assert (abort.access.access, abort.access.address) == ("l2 read64", 0x10010)
    assert abort.ipa == 0x10010 & -PAGE_SIZE
    assert run.at == abort.access


def test_the_walk_of_l1s_tables_is_on_the_way() -> None:
    run = explanation("l1-table 3 0x70000000\nl2 read64 0x10010\nrun\n").runs[0]
    assert "kvm_walk_nested_s2 = -EFAULT" in run.aborts[-1].way
    (exception,) = run.exceptions
    assert exception.access == run.aborts[-1].access
    assert is_for_el2(exception.esr)
    assert "external abort on a walk, level 3" in exception.syndrome


def test_an_exception_of_the_guests_own_level_is_not_for_its_el2() -> None:
    assert [is_for_el2(esr) for esr in (0x9600_0010, 0x8600_0010, 0xBF00_0000)] == [False] * 3
    assert [is_for_el2(esr) for esr in (0x9600_2010, 0x8200_0015, 0x93C0_8017)] == [True] * 3
    assert "VNCR" not in syndrome(0x9200_0010 | 1 << 13)
