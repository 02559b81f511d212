import re
from pathlib import Path
from typing import Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import text, verbs, words
from emu.abi import PAGE_SIZE
from emu.case import Case, VcpuState, VmConfig
from emu.steps import Step
from tests.spellings import STEPS, VMS
from tests.strategies import CASES, STEPS_BY_TYPE

EXAMPLES: Final = settings(max_examples=300, deadline=None)

# Other ways to write a case, which are read and not written.
ALTERNATIVES: Final = [
    ("", ""),
    ("\n \t\n# nothing\n", ""),
    ("run", "run\n"),
    ("\t run  # twice\r\n  \r\nrun#twice\r\n", "run\nrun\n"),
    ("run signal immediate-exit\n", "run immediate-exit signal\n"),
    ("force-abort fsc=16 lst fnv\n", "force-abort fsc=0x10 fnv lst\n"),
    (
        "create gmem0 size=8192 flags=init-shared,mmap\n",
        "create gmem0 size=0x2000 flags=mmap,init-shared\n",
    ),
    ("create gmem0 size=0x0 flags=3\n", "create gmem0 size=0x0 flags=mmap,init-shared\n"),
    ("create gmem0 size=0x0 flags=0\n", "create gmem0 size=0x0\n"),
    ("create gmem7 size=0xABcd\n", "create gmem7 size=0xabcd\n"),
    ("memslot 0x10 gpa=0 size=0\n", "memslot 16 delete\n"),
    ("fail kvm_gmem_bind EINVAL nth=0x1\n", "fail kvm_gmem_bind EINVAL\n"),
    ("guest cas slot0-0\n", "guest cas slot0+0x0\n"),
    ("guest cas slot0+0xfffffffffffffff8\n", "guest cas slot0-0x8\n"),
    ("vm cold\nvm ipa-bits=40\nvm vcpu=ready\n", "vm cold\n"),
]


@pytest.mark.parametrize(("line", "step"), STEPS)
def test_each_step_has_one_canonical_line(line: str, step: Step) -> None:
    assert text.dump_step(step) == line
    assert text.load(line) == Case(VmConfig(), (step,))


@pytest.mark.parametrize(("lines", "vm"), VMS)
def test_a_vm_is_told_by_what_is_not_the_default(lines: str, vm: VmConfig) -> None:
    assert text.dump(Case(vm, ())) == lines
    assert text.load(lines) == Case(vm, ())


def test_the_table_of_lines_and_the_strategies_have_every_step() -> None:
    assert {type(step) for _, step in STEPS} == set(get_args(Step))
    assert set(STEPS_BY_TYPE) == set(get_args(Step))


@pytest.mark.parametrize(("alternative", "canonical"), ALTERNATIVES)
def test_other_spellings_are_read_as_the_canonical_one(alternative: str, canonical: str) -> None:
    assert text.dump(text.load(alternative)) == canonical


@EXAMPLES
@given(CASES)
def test_text_round_trips(case: Case) -> None:
    spelling = text.dump(case)
    assert text.load(spelling) == case
    assert spelling.splitlines()[len(spelling.splitlines()) - len(case.steps) :] == [
        text.dump_step(step) for step in case.steps
    ]


@EXAMPLES
@given(CASES, st.data())
def test_a_case_without_one_of_its_lines_is_a_case(case: Case, data: st.DataObject) -> None:
    lines = text.dump(case).splitlines()
    facts = len(lines) - len(case.steps)
    gone = data.draw(st.integers(0, max(len(lines) - 1, 0)))
    rest = text.load("\n".join(lines[:gone] + lines[gone + 1 :]))
    if gone < facts:
        assert rest == Case(_without(case.vm, lines[gone]), case.steps)
    else:
        kept = case.steps[: gone - facts] + case.steps[gone - facts + 1 :]
        assert rest == Case(case.vm, kept)


def _without(vm: VmConfig, line: str) -> VmConfig:
    """``vm`` with the default for the fact that ``line`` tells."""
    return VmConfig(
        40 if "ipa-bits" in line else vm.ipa_bits,
        vm.nisv_to_user and "nisv" not in line,
        vm.sea_to_user and "sea" not in line,
        vm.cold and "cold" not in line,
        VcpuState.READY if "vcpu" in line else vm.vcpu,
        PAGE_SIZE if "page-size" in line else vm.page_size,
        vm.nested and "nested" not in line,
        vm.protected and "protected" not in line,
        vm.mte and "mte" not in line,
        vm.coherent and "coherent" not in line,
    )


def test_the_documentation_has_every_word_and_no_other_verb() -> None:
    page = (Path(__file__).parent.parent / "docs" / "case-format.md").read_text()
    tables = (
        words.ACCESSES, words.SITES, words.CPU_EXITS, words.MEM_KINDS, words.PROTECTIONS,
        words.VCPU_STATES, words.ERRNOS, words.SWITCH, words.IPA_SIZES, words.IOEVENTFD_SIZES,
        words.GMEM_FLAGS, words.MEM_FLAGS, words.ABORT_BITS, words.RUN_FLAGS,
    )  # fmt: skip
    said = set(re.findall(r"[\w-]+", page.replace("&#124;", " ")))
    assert {word for table in tables for word in table} <= said
    steps = page.partition("### Steps")[2].partition("| word |")[0]
    assert set(re.findall(r"^\| `([a-z0-9-]+)", steps, re.MULTILINE)) == set(verbs.READERS)
