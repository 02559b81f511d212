"""What ``gff run`` says of a case: syndromes, memslots, functions, verdicts."""

import functools
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from emu import text
from emu.kernels import KERNELS
from emu.model import Model
from emu.steps import SetMemslot
from emu.trace import Call
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.oracle.view import views
from tests.command import LEAK, Gff
from triage.case_input import CaseInput, read_case
from triage.corpus_files import case_files, corpus_dir
from triage.explain import explain
from triage.explained import explained
from triage.explanation import Explanation
from triage.passage import in_one_line, of_the_kernel, short_way
from triage.slots import slots_after
from triage.syndrome_words import syndrome
from triage.verdicts import Ruling, verdicts

# SYNDROMES

SIGNED_BYTE: Final = "ISV=1 (SAS 8 bits, SRT w0, signed)"


@pytest.mark.parametrize(
    ("esr", "words"),
    [
        (
            0x93C0_8007,
            "data abort, lower level; translation fault, level 3; ISV=1 (SAS 64 bits, SRT x0)",
        ),
        (
            0x9381_804F,
            "data abort, lower level; permission fault, level 3; WnR ISV=1 (SAS 32 bits, SRT x1)",
        ),
        (0x9200_0087, "data abort, lower level; translation fault, level 3; S1PTW ISV=0"),
        (0x9200_0147, "data abort, lower level; translation fault, level 3; WnR CM ISV=0"),
        (0x9200_0410, "data abort, lower level; synchronous external abort; FnV ISV=0"),
        (0x9600_0035, "data abort, same level; unsupported exclusive or atomic access; ISV=0"),
        (0x8200_0005, "instruction abort, lower level; translation fault, level 1"),
        (0x8600_0010, "instruction abort, same level; synchronous external abort"),
        (0x9320_0004, "data abort, lower level; translation fault, level 0; " + SIGNED_BYTE),
        (0x9600_0021, "data abort, same level; alignment fault; ISV=0"),
        (0x9200_003F, "data abort, lower level; fault status 0x3f; ISV=0"),
        (0xBE00_0000, "SError"),
        (0x5A00_0000, "HVC"),
        (0xFE00_0000, "exception class 0x3f"),
    ],
)
def test_a_syndrome_is_told_in_the_manuals_words(esr: int, words: str) -> None:
    assert syndrome(esr) == words


# MEMSLOTS


def test_the_last_memslot_step_of_a_number_says_what_it_is() -> None:
    case = text.load(
        """memslot 0 gpa=0x1000 size=0x1000 mem0+0x0 flags=0x12
memslot 2 gpa=0x8000 size=0x2000 gmem1+0x1000 flags=guest-memfd
memslot 3 gpa=0x20000 size=0x1000
memslot 3 delete
memslot 0 gpa=0x3000 size=0x1000 mem0+0x0
"""
    )
    steps = [step for step in case.steps if isinstance(step, SetMemslot)]
    slots = slots_after(steps)
    told = [(slot.slot, slot.gpa, slot.flags, slot.backing) for slot in slots]
    assert told == [
        (0, 0x3000, "-", "mem0+0x0"),
        (2, 0x8000, "guest-memfd", "gmem1+0x1000"),
    ]
    first = slots_after(steps[:1])
    assert first[0].flags == "0x12"


# FUNCTIONS


def test_the_short_way_is_what_failed_and_what_decided() -> None:
    calls = [
        Call("a", 0, -12),
        Call("quiet", 1, 0),
        Call("b", 1, -12),
        Call("lookup", 2, None),
        Call("c", 2, -12),
        Call("end", 2, None),
    ]
    assert in_one_line(short_way(calls)) == "a > b > c = -ENOMEM > end; returns -ENOMEM"


def test_an_errno_that_changes_on_its_way_is_told_where_it_changes() -> None:
    calls = [Call("a", 0, -14), Call("b", 1, -12)]
    assert in_one_line(short_way(calls)) == "a = -EFAULT > b = -ENOMEM; returns -EFAULT"


def test_a_function_and_what_it_overrides_are_one_and_helpers_are_none() -> None:
    calls = [
        Call("gmem_abort", 0, -14),
        Call("gmem_abort", 1, -12),
        Call("helper", 2, None),
        Call("kvm_gmem_get_pfn", 3, -12),
        Call("kvm_is_write_fault", 1, None),
    ]
    assert of_the_kernel(calls) == [
        Call("gmem_abort", 0, -14),
        Call("kvm_gmem_get_pfn", 1, -12),
        Call("kvm_is_write_fault", 1, None),
    ]


def test_a_run_without_functions_has_no_way() -> None:
    assert of_the_kernel([]) == []
    assert in_one_line([]) == ""


# VERDICTS


@pytest.mark.parametrize("reading", Reading)
def test_the_verdicts_are_the_judges(reading: Reading) -> None:
    model = Model()
    for path in case_files(corpus_dir()):
        case = read_case(str(path)).case
        outcomes = model.run(case, KERNELS["v7.3"])
        told = [
            (each.clause, number, each.reason)
            for number, view in enumerate(views(case, outcomes))
            for each in verdicts(view, reading)
            if each.ruling is Ruling.BROKEN
        ]
        assert told == [tuple(breach) for breach in judge(case, outcomes, reading)]


# THE WHOLE


def told(explanation: Explanation, width: int, *, trace: bool = False) -> str:
    console = Console(width=width, color_system=None, markup=False)
    with console.capture() as capture:
        console.print(explained(explanation, trace=trace))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def explanation(case: str, kernel: str = "v7.3", reading: Reading = Reading.STRICT) -> Explanation:
    given = CaseInput("some.case", text.load(case), None)
    return explain(given, kernel, reading, machine())


@functools.cache
def machine() -> Model:
    """One for all cases: to make one takes longer than to run most."""
    return Model()


def test_the_leak_is_explained_on_one_page() -> None:
    assert told(explanation(LEAK), 100).startswith(
        """some.case on v7.3, strict reading

KVM_RUN 1
       1  create gmem0 size=0x1000 flags=mmap
       2  memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
       3  memory-limit on
       4  guest read64 slot0+0x0
       5  run
  slots   slot  guest-physical range   size    flags        backing
          0     0x40000000-0x40000fff  0x1000  guest-memfd  gmem0+0x0
  guest   read64 at 0x40000000: ldr x0,[x1]
  abort   ESR_EL2 0x93c08005: data abort, lower level; translation fault, level 1;"""
    )


def test_the_explanation_of_the_leak_names_its_cause_and_the_broken_clause() -> None:
    page = told(explanation(LEAK), 100)
    way = page.partition("kvm_handle_guest_abort")[2]
    assert "kvm_gmem_get_pfn" in way
    assert "= -ENOMEM" in way
    assert "kvm_prepare_memory_fault_exit" in way
    assert "  C2      broken: MEMORY_FAULT was filled under ENOMEM\n" in page
    assert "claim (model)" in page
    assert "observed" not in page


def test_the_whole_way_is_shown_on_demand() -> None:
    page = told(explanation(LEAK), 100, trace=True)
    assert "  passed  kvm_vcpu_ioctl_run = -ENOMEM\n            kvm_arch_vcpu_ioctl_run" in page


def test_a_reading_excuses_what_it_does_not_ask_for() -> None:
    excused = explanation(LEAK, reading=Reading.DOCUMENTED)
    assert not excused.broken
    assert "  C2      excused: MEMORY_FAULT was filled under ENOMEM\n" in told(excused, 100)


def test_a_clause_that_applies_and_is_kept_is_held() -> None:
    page = told(explanation(LEAK, "clean"), 100)
    assert "held: C1 C2 C3 C4 C5 C12 C16\n" in page
    assert "not applicable: C6 C7 C8 C9 C10 C11 C13" in page


def test_refused_regions_stand_in_the_table_with_their_errno() -> None:
    case = LEAK.replace("run\n", "memslot 1 gpa=0x40000000 size=0x1000\nrun\nrun immediate-exit\n")
    page = told(explanation(case), 100)
    assert "       5  memslot 1 gpa=0x40000000 size=0x1000  refused: EEXIST\n" in page
    row = next(line for line in page.splitlines() if line.startswith("          1 "))
    assert row.split() == ["1", "0x40000000-0x40000fff", "0x1000", "-", "-", "refused:", "EEXIST"]


def test_memslots_are_shown_again_only_when_they_change() -> None:
    case = f"{LEAK}run\nmemslot 0 delete\nrun\n"
    page = told(explanation(case), 100)
    assert page.count("  slots ") == 2
    assert "  slots   none\n" in page


MOVED: Final = """create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
at pin
memslot 0 delete
guest read64 0x40000010
run
run
"""


def test_a_memslot_step_that_was_moved_is_in_the_table_where_it_took_place() -> None:
    page = told(explanation(MOVED), 100)
    first, _, second = page.partition("KVM_RUN 2")
    table = first.partition("  slots ")[2]
    assert table.index("mem0+0x0") < table.index("  guest ") < table.index("  slots   none\n")
    assert "  slots " not in second


def test_a_memslot_step_that_was_moved_and_never_took_place_is_not_in_the_table() -> None:
    given = explanation(MOVED.replace("guest read64 0x40000010\n", ""))
    page = told(given, 100)
    assert page.count("  slots ") == 1
    assert [len(run.memslots) for run in given.runs] == [1, 1]


def test_a_run_that_never_enters_the_guest_shows_the_way_through_kvm() -> None:
    page = told(explanation("run bad-argument\n"), 100)
    assert "  kernel  kvm_vcpu_ioctl_run = -EINVAL; returns -EINVAL\n" in page


def test_exceptions_stand_where_the_guest_took_them() -> None:
    page = told(explanation("guest fetch 0x9000000\nguest read64 0x9000000\nrun\n"), 100)
    order = [
        "guest   fetch at 0x9000000: br x1",
        "guest   fetch at 0x9000000: an exception at EL1",
        "except  ESR_EL1 0x86000010: instruction abort, same level; synchronous external abort",
        "guest   read64 at 0x9000000",
    ]
    assert sorted(order, key=page.index) == order


def test_a_repeated_abort_is_told_once() -> None:
    case = """create mem0 size=0x1000 anon
memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0
fail kvm_pgtable_stage2_map EAGAIN
guest read64 slot0+0x0
run
"""
    page = told(explanation(case), 120)
    assert page.count("guest   read64") == 2
    assert "= -EAGAIN" in page


def test_an_abort_is_one_also_where_a_variant_calls_what_it_overrides() -> None:
    hole = "guest read64 0x50000000\nrun\n"
    for kernel in KERNELS:
        (run,) = explanation(hole, kernel).runs
        assert {abort.far for abort in run.aborts} == {0x5000_0000}, kernel
    (run,) = explanation(hole, "bad-return-zero").runs
    assert len(run.aborts) == 1


def test_vm_facts_and_steps_after_the_last_run_are_told() -> None:
    page = told(explanation("vm ipa-bits=36\nvm nisv-to-user\nrun\nskip\n"), 80)
    assert page.startswith("some.case on v7.3, strict reading\nvm ipa-bits=36\nvm nisv-to-user\n")
    assert page.endswith("after the last KVM_RUN\n       2  skip")


@pytest.mark.parametrize("path", case_files(corpus_dir()), ids=lambda path: path.stem)
def test_no_corpus_case_overflows_the_page(path: Path) -> None:
    told_of = explain(read_case(str(path)), "v7.3", Reading.STRICT, machine())
    for width in (60, 80, 120):
        page = told(told_of, width, trace=True)
        assert not [line for line in page.splitlines() if len(line) > width]


def test_a_case_without_a_run_is_explained_too(call: Gff, tmp_path: Path) -> None:
    (tmp_path / "still.case").write_text("create gmem0 size=0x1\n")
    ended = call("run", "still.case")
    assert ended.status == 0
    assert "1  create gmem0 size=0x1  refused: EINVAL" in ended.out
    assert ended.out.endswith("\nThe case has no KVM_RUN: nothing was judged.\n")


def test_a_case_of_comments_alone_says_that_it_has_no_step(call: Gff, tmp_path: Path) -> None:
    (tmp_path / "still.case").write_text("# nothing\n")
    ended = call("run", "still.case")
    assert ended.status == 0
    assert ended.out.endswith("\nThe case has no step: nothing was judged.\n")


def test_freshness_is_told_of_memory_fault_alone() -> None:
    kept = explanation(f"{LEAK}run immediate-exit\n")
    assert [run.exit_reason for run in kept.runs] == ["MEMORY_FAULT", "MEMORY_FAULT"]
    page = told(kept, 100)
    assert page.index("; record fresh; ") < page.index("; record kept; ")
    doorbell = explanation("run\n")
    assert doorbell.runs[0].exit_reason == "MMIO"
    assert "record" not in told(doorbell, 100)


def test_several_kernels_end_with_a_verdict_each(call: Gff, leak: Path) -> None:
    leak.write_text(f"{LEAK}---\nclaim clean\n  run 1: 0 MMIO doorbell\n")
    ended = call("run", "leak.case", "-k", "v7.3", "-k", "clean")
    assert ended.out.endswith(
        """
kernel  verdict
v7.3    breaks C2
clean   keeps the contract, not as the file expects
"""
    )
    assert "verdict" not in call("run", "leak.case").out


def test_the_verdicts_of_several_files_name_them(call: Gff, leak: Path) -> None:
    Path("still.case").write_text("skip\n")
    ended = call("run", "leak.case", "still.case", "-k", "v7.3", "-k", "clean")
    rows = [line.split(maxsplit=2) for line in ended.out.splitlines()[-4:]]
    assert rows == [
        ["leak.case", "v7.3", "breaks C2"],
        ["leak.case", "clean", "keeps the contract"],
        ["still.case", "v7.3", "no KVM_RUN"],
        ["still.case", "clean", "no KVM_RUN"],
    ]


@pytest.mark.parametrize("width", [56, 60, 80, 120])
def test_no_address_of_a_memslot_is_broken(width: int) -> None:
    slot = "gpa=0xffffffff40000000 size=0x2000 mem0+0x1000 gmem0+0x1000 flags=0x7"
    page = told(explanation(f"memslot 4294967295 {slot}\nrun\n"), width)
    words = page.split()
    for word in ("0xffffffff40000000-0xffffffff40001fff", "mem0+0x1000", "gmem0+0x1000", "EINVAL"):
        assert word in words


def test_a_dirty_log_is_shown_with_its_step_and_userfaults_with_their_run() -> None:
    page = told(
        explanation(
            "create mem0 size=0x2000 anon\n"
            "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=log-dirty\n"
            "userfault mem0+0x0 size=0x2000 missing\n"
            "guest write64 slot0+0xffc\nrun\n"
            "dirty-log slot0\ndirty-log slot0\ndirty-log slot1\n"
        ),
        width=120,
    )
    lines = [" ".join(line.split()) for line in page.splitlines()]
    assert "6 dirty-log slot0 dirty: pages 0, 1" in lines
    assert "7 dirty-log slot0 clean" in lines
    assert "8 dirty-log slot1 refused: ENOENT" in lines
    assert "; userfaultfd told the VMM of 2 faults" in page
