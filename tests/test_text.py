import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import text, verbs, words
from emu.abi import PAGE_SIZE, U64, Errno
from emu.access import Access
from emu.case import (
    Age,
    Allocate,
    Case,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
    L1Map,
    L1Table,
    L1Vtcr,
    MemKind,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    PoisonGmem,
    PoisonMem,
    Protect,
    Protection,
    PunchHole,
    Ref,
    ReleaseGmem,
    Run,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
    Userfault,
    UserfaultMode,
    VcpuState,
    VmConfig,
)
from emu.injection import At, CpuExit, Fail, ForceAbort, ForceExit, Point, Site
from tests.strategies import CASES, STEPS_BY_TYPE

EXAMPLES: Final = settings(max_examples=300, deadline=None)

RUN_FLAGS: Final = [
    "immediate-exit",
    "bad-argument",
    "other-mm",
    "signal",
    "killed",
    "vm-dead",
    "suspend",
    "dirty-ring-full",
    "irq-line",
    "cpu-unsupported",
]

# Every verb in its canonical spelling, and with each thing that may be left out.
STEPS: Final[list[tuple[str, Step]]] = [
    ("create gmem0 size=0x2000", CreateGmem(0, 0x2000, 0)),
    ("create gmem7 size=0x0 flags=mmap", CreateGmem(7, 0, 1)),
    ("create gmem1 size=0x2000 flags=mmap,init-shared", CreateGmem(1, 0x2000, 3)),
    ("create gmem1 size=0x2000 flags=0x5", CreateGmem(1, 0x2000, 5)),
    ("create gmem1 size=0x2000 flags=0xffffffffffffffff", CreateGmem(1, 0x2000, U64)),
    ("create mem0 size=0x1000 anon", CreateMem(0, 0x1000, MemKind.ANONYMOUS)),
    ("create mem7 size=0xffffffffffffffff file", CreateMem(7, U64, MemKind.FILE)),
    ("memslot 0 delete", SetMemslot(0, 0, 0, 0, None, None)),
    ("memslot 0 gpa=0x1000 size=0x0", SetMemslot(0, 0x1000, 0, 0, None, None)),
    ("memslot 0 gpa=0x0 size=0x0 v1", SetMemslot(0, 0, 0, 0, None, None, v1=True)),
    ("memslot 0 gpa=0x0 size=0x0 flags=readonly", SetMemslot(0, 0, 0, 2, None, None)),
    (
        "memslot 65537 gpa=0x40000000 size=0x2000 mem2+0x0 flags=log-dirty,readonly",
        SetMemslot(65537, 0x4000_0000, 0x2000, 3, Ref(2, 0), None),
    ),
    (
        "memslot 1 gpa=0x40000000 size=0x2000 gmem0+0x1000 flags=guest-memfd",
        SetMemslot(1, 0x4000_0000, 0x2000, 4, None, Ref(0, 0x1000)),
    ),
    (
        "memslot 1 gpa=0x0 size=0x1 mem0+0x0 gmem3+0xffffffffffffffff flags=0x80000004 v1",
        SetMemslot(1, 0, 1, 0x8000_0004, Ref(0, 0), Ref(3, U64), v1=True),
    ),
    ("punch gmem0+0x0 size=0x1000", PunchHole(Ref(0, 0), 0x1000)),
    ("allocate gmem0+0x1000 size=0x1000", Allocate(Ref(0, 0x1000), 0x1000)),
    ("release gmem3", ReleaseGmem(3)),
    ("poison gmem0+0x8", PoisonGmem(Ref(0, 8))),
    ("poison mem0+0x8", PoisonMem(Ref(0, 8))),
    ("munmap mem0+0x0 size=0x1000", Unmap(Ref(0, 0), 0x1000)),
    ("mprotect mem0+0x0 size=0x1000 none", Protect(Ref(0, 0), 0x1000, Protection.NONE)),
    ("mprotect mem0+0x0 size=0x1000 read", Protect(Ref(0, 0), 0x1000, Protection.READ)),
    ("mprotect mem0+0x0 size=0x1 read-write", Protect(Ref(0, 0), 1, Protection.READ_WRITE)),
    ("truncate mem0 size=0x0", Truncate(0, 0)),
    ("age slot4294967295", Age(0xFFFF_FFFF)),
    ("memory-limit on", MemoryLimit(on=True)),
    ("memory-limit off", MemoryLimit(on=False)),
    ("ioeventfd gpa=0x9000000 size=4", IoEventFd(0x900_0000, 4)),
    ("fail kvm_gmem_get_pfn ENOMEM", Fail(Site.KVM_GMEM_GET_PFN, Errno.ENOMEM, 1)),
    ("fail __kvm_faultin_pfn EFAULT nth=255", Fail(Site.KVM_FAULTIN_PFN, Errno.EFAULT, 255)),
    ("force-exit illegal-return", ForceExit(CpuExit.ILLEGAL_RETURN)),
    ("force-abort fsc=0x3f", ForceAbort(0x3F, 0)),
    ("force-abort fsc=0x10 hpfar-invalid fnv s1ptw lst", ForceAbort(0x10, 15)),
    ("guest read64 0x40000010", Guest(Access.READ64, None, 0x4000_0010)),
    ("guest cas slot0+0x10", Guest(Access.CAS, 0, 0x10)),
    ("guest dc-zva slot2-0x8", Guest(Access.DC_ZVA, 2, U64 - 7)),
    ("guest walk slot0+0x7fffffffffffffff", Guest(Access.WALK, 0, (1 << 63) - 1)),
    ("guest walk slot0-0x8000000000000000", Guest(Access.WALK, 0, 1 << 63)),
    ("run", Run(0)),
    ("run immediate-exit", Run(1)),
    (f"run {' '.join(RUN_FLAGS)}", Run(1023)),
    ("skip", Skip()),
    ("mmio-data 0x1122", MmioData(0x1122)),
    ("userfault mem0+0x0 size=0x1000 missing", Userfault(Ref(0, 0), 0x1000, UserfaultMode.MISSING)),
    ("dirty-log slot5", GetDirtyLog(5)),
    ("memlock-limit off", MemlockLimit(False)),
    ("vcpu 3", SelectVcpu(3)),
    ("at map", At(Point.MAP)),
    ("l1-map 0x10000 slot0+0x10", L1Map(0x1_0000, 0, 0x10, 0, False)),
    ("l1-map 0x0 0x10 flags=read,write,execute block", L1Map(0, None, 0x10, 7, True)),
    ("l1-table 3 slot0-0x8", L1Table(3, 0, U64 - 7)),
    ("l1-table 1 0x10", L1Table(1, None, 0x10)),
    ("l1-vtcr illegal", L1Vtcr(False)),
    ("l2 read64 0x10000", GuestL2(Access.READ64, 0x1_0000)),
]

VMS: Final = [
    ("", VmConfig()),
    ("vm ipa-bits=36\n", VmConfig(ipa_bits=36)),
    ("vm nisv-to-user\n", VmConfig(nisv_to_user=True)),
    ("vm sea-to-user\n", VmConfig(sea_to_user=True)),
    ("vm cold\n", VmConfig(cold=True)),
    ("vm vcpu=unfinalized\n", VmConfig(vcpu=VcpuState.UNFINALIZED)),
    (
        (
            "vm ipa-bits=32\nvm nisv-to-user\nvm sea-to-user\nvm page-size=16k\nvm nested\n"
            "vm protected\nvm mte\nvm coherent\nvm cold\nvm vcpu=uninitialized\n"
        ),
        VmConfig(32, True, True, True, VcpuState.UNINITIALIZED, 0x4000, True, True, True, True),
    ),
]

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

VERBS: Final = (
    "create, memslot, punch, allocate, release, poison, munmap, mprotect, truncate, age, "
    "memory-limit, ioeventfd, fail, force-exit, force-abort, guest, run, skip, mmio-data, "
    "userfault, dirty-log, memlock-limit, vcpu, at, l1-map, l1-table, l1-vtcr, l2"
)
FACTS: Final = (
    "ipa-bits=, nisv-to-user, sea-to-user, page-size=, nested, protected, mte, coherent, cold, "
    "vcpu="
)
KINDS: Final = "anon, file, shared, thp, hugetlb, device, pfnmap"
SITES: Final = (
    "kvm_gmem_get_pfn, kvm_mmu_topup_memory_cache, kvm_pgtable_stage2_map, "
    "kvm_pgtable_stage2_relax_perms, __kvm_faultin_pfn, kvm_gmem_bind, "
    "kvm_arch_vcpu_run_pid_change, get_user_mapping_size, pin_user_pages"
)
U64_RANGE: Final = "a number (0xHEX or decimal) from 0 to 0xffffffffffffffff"
HALF_RANGE: Final = "a number (0xHEX or decimal) from 0 to 0x8000000000000000"
U32_RANGE: Final = "a number (0xHEX or decimal) from 0 to 0xffffffff"
MEM_FLAGS: Final = "flags=log-dirty,readonly,guest-memfd|NUMBER"
ONCE: Final = "it once at most"

REFUSED: Final = [
    # words that nobody knows
    ("crate gmem0", "1:1: found 'crate', expected one of: " + VERBS),
    ("---", "1:1: found '---', expected one of: " + VERBS),
    ("Run", "1:1: found 'Run', expected one of: " + VERBS),
    ("\x00run", "1:1: found '\\x00run', expected one of: " + VERBS),
    ("x" * 40, f"1:1: found '{'x' * 40}', expected one of: {VERBS}"),
    ("x" * 50, f"1:1: found '{'x' * 40}...', expected one of: {VERBS}"),
    ("create foo size=0x0", "1:8: found 'foo', expected one of: gmemN, memN"),
    ("create mem0 size=0x0 huge", "1:22: found 'huge', expected one of: " + KINDS),
    ("create gmem0 size=0x0 flags=mmap,x", "1:34: found 'x', expected one of: mmap, init-shared"),
    ("create gmem0 size=0x0 flags=mmap,1", "1:34: found '1', expected one of: mmap, init-shared"),
    ("create gmem0 size=0x0 flags=", "1:29: found '', expected one of: mmap, init-shared"),
    ("memslot 0 delte", "1:11: found 'delte', expected one of: delete, gpa=NUMBER"),
    ("poison slot0+0x0", "1:8: found 'slot0+0x0', expected one of: gmemN+OFFSET, memN+OFFSET"),
    ("memory-limit maybe", "1:14: found 'maybe', expected one of: on, off"),
    ("fail x ENOMEM", "1:6: found 'x', expected one of: " + SITES),
    ("run signal later", f"1:12: found 'later', expected one of: {', '.join(RUN_FLAGS)}"),
    ("force-exit now",
     "1:12: found 'now', expected one of: irq, serror, illegal-return, hyp-gone, unknown"),
    ("force-abort fsc=0x0 x", "1:21: found 'x', expected one of: hpfar-invalid, fnv, s1ptw, lst"),
    ("guest cas here", "1:11: found 'here', expected one of: slotN+OFFSET, ADDRESS"),
    ("guest cas mem0+0x0", "1:11: found 'mem0+0x0', expected one of: slotN+OFFSET, ADDRESS"),
    ("guest cas slot0", "1:11: found 'slot0', expected one of: slotN+OFFSET, ADDRESS"),
    ("vm hot", "1:4: found 'hot', expected one of: " + FACTS),
    ("vm cold=1", "1:4: found 'cold=', expected one of: " + FACTS),
    ("vm ipa-bits", "1:4: found 'ipa-bits', expected one of: " + FACTS),
    ("vm ipa-bits=48", "1:13: found '48', expected one of: 32, 36, 40, 42"),
    ("vm vcpu=off", "1:9: found 'off', expected one of: ready, uninitialized, unfinalized"),
    # what is missing
    ("vm", "1:3: found the end of the line, expected one of: " + FACTS),
    ("create gmem0", "1:13: found the end of the line, expected size=NUMBER"),
    ("create mem0 size=0x0", "1:21: found the end of the line, expected one of: " + KINDS),
    ("create gmem0 flags=mmap", "1:14: found 'flags=mmap', expected size=NUMBER"),
    ("memslot", "1:8: found the end of the line, expected the number of a slot"),
    ("memslot 0  # x", "1:10: found the end of the line, expected one of: delete, gpa=NUMBER"),
    ("memslot 0 gpa=0x0", "1:18: found the end of the line, expected size=NUMBER"),
    ("punch gmem0 size=0x1", "1:7: found 'gmem0', expected gmemN+OFFSET"),
    ("punch gmem0+ size=0x1", "1:13: found '', expected " + U64_RANGE),
    ("punch gmem0+0x0", "1:16: found the end of the line, expected size=NUMBER"),
    ("age", "1:4: found the end of the line, expected slotN"),
    ("guest cas", "1:10: found the end of the line, expected one of: slotN+OFFSET, ADDRESS"),
    ("mmio-data", "1:10: found the end of the line, expected NUMBER"),
    # what is said twice, or too much
    ("vm cold\nvm cold", f"2:4: found 'cold' again, expected {ONCE}"),
    ("vm ipa-bits=36\nvm ipa-bits=40", f"2:4: found 'ipa-bits=40' again, expected {ONCE}"),
    ("create gmem0 size=0x0 size=0x0", f"1:23: found 'size=0x0' again, expected {ONCE}"),
    ("create gmem0 size=0x0 flags=mmap,mmap", f"1:34: found 'mmap' again, expected {ONCE}"),
    ("run signal killed signal", f"1:19: found 'signal' again, expected {ONCE}"),
    ("force-abort fsc=0x0 lst fsc=0x0",
     "1:25: found 'fsc=0x0', expected one of: hpfar-invalid, fnv, s1ptw, lst"),
    ("skip it", "1:6: found 'it', expected the end of the line"),
    ("vm cold nisv-to-user", "1:9: found 'nisv-to-user', expected the end of the line"),
    ("memslot 0 delete v1", "1:18: found 'v1', expected the end of the line"),
    ("memslot 0 gpa=0x0 size=0x0 v1 flags=readonly",
     "1:31: found 'flags=readonly', expected the end of the line"),
    ("memslot 0 gpa=0x0 size=0x0 gmem0+0x0 mem0+0x0",
     f"1:38: found 'mem0+0x0', expected one of: {MEM_FLAGS}, v1, the end of the line"),
    ("fail kvm_gmem_bind EIO nht=2",
     "1:24: found 'nht=2', expected one of: nth=NUMBER, the end of the line"),
    # numbers
    ("create gmem8 size=0x0", "1:12: found '8', expected a number (0xHEX or decimal) from 0 to 7"),
    ("create mem8 size=0x0", "1:11: found '8', expected a number (0xHEX or decimal) from 0 to 7"),
    ("create gmem07 size=0x0",
     "1:12: found '07', expected a number (0xHEX or decimal) from 0 to 7"),
    ("memslot 4294967296 delete", "1:9: found '4294967296', expected " + U32_RANGE),
    ("memslot 0 gpa=0x0 size=0x0 flags=0x100000000",
     "1:34: found '0x100000000', expected " + U32_RANGE),
    ("age slot4294967296", "1:9: found '4294967296', expected " + U32_RANGE),
    ("age slot\u0663", "1:9: found '\u0663', expected " + U32_RANGE),
    ("punch gmem0-0x8 size=0x1", "1:7: found 'gmem0-0x8', expected gmemN+OFFSET"),
    ("punch gmem0+0x0 size=0x10000000000000000",
     "1:22: found '0x10000000000000000', expected " + U64_RANGE),
    (f"mmio-data {'9' * 5000}", f"1:11: found '{'9' * 40}...', expected {U64_RANGE}"),
    ("mmio-data -1", "1:11: found '-1', expected " + U64_RANGE),
    ("mmio-data 1_0", "1:11: found '1_0', expected " + U64_RANGE),
    ("mmio-data 0x", "1:11: found '0x', expected " + U64_RANGE),
    ("ioeventfd gpa=0x0 size=3", "1:24: found '3', expected one of: 1, 2, 4, 8"),
    ("fail kvm_gmem_bind EIO nth=0",
     "1:28: found '0', expected a number (0xHEX or decimal) from 1 to 255"),
    ("fail kvm_gmem_bind EIO nth=256",
     "1:28: found '256', expected a number (0xHEX or decimal) from 1 to 255"),
    ("force-abort fsc=64",
     "1:17: found '64', expected a number (0xHEX or decimal) from 0 to 63"),
    ("guest cas slot0-0x8000000000000001",
     f"1:17: found '0x8000000000000001', expected {HALF_RANGE}"),
    # where
    ("run\n\n  vm cold", "3:3: found 'vm', expected vm lines only before the first other line"),
    ("# a\n\nrun\n\tskip  it", "4:8: found 'it', expected the end of the line"),
]  # fmt: skip


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


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_wrong_text_is_refused_with_its_place_and_what_was_expected(
    content: str, message: str
) -> None:
    with pytest.raises(text.CaseSyntaxError) as caught:
        text.load(content, "some.case")
    assert str(caught.value) == f"some.case:{message}"
    assert message.startswith(f"{caught.value.line}:{caught.value.column}: ")


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


SAMPLE: Final = VMS[-1][0].splitlines() + [line for line, _ in STEPS]


def _breakages(line: str) -> Iterator[str]:
    """Ways to break a canonical line in one place."""
    yield f"{line} stray"
    yield f"stray {line}"
    for word in re.finditer(r"\S+", line):
        before, after = line[: word.start()], line[word.end() :]
        # Without its second character: without its first, gmem would be mem.
        if len(word[0]) > 1 and not word[0].isdecimal():
            yield before + word[0][0] + word[0][2:] + after
        for number in re.finditer(r"0x[0-9a-f]+|(?<![0-9a-z])[0-9]+", word[0]):
            at = word.start() + number.start()
            yield f"{line[:at]}0x1{'0' * 16}{line[at + len(number[0]) :]}"
            yield f"{line[:at]}-1{line[at + len(number[0]) :]}"
        if word[0].startswith(("mem", "gmem", "slot")) and word[0][-1].isdecimal():
            yield re.sub(r"(mem|slot)[0-9]+", r"\g<1>4294967296", line)


@pytest.mark.parametrize("index", range(len(SAMPLE)), ids=SAMPLE)
def test_a_broken_line_is_refused_where_it_is(index: int) -> None:
    for broken in _breakages(SAMPLE[index]):
        lines = [*SAMPLE[:index], broken, *SAMPLE[index + 1 :]]
        with pytest.raises(text.CaseSyntaxError) as caught:
            text.load("\n".join(lines))
        assert (caught.value.line, broken) == (index + 1, broken)
        assert 1 <= caught.value.column <= len(broken) + 1


@EXAMPLES
@given(CASES, st.integers(0, 400), st.integers(0, 6), st.text(max_size=6))
def test_any_text_is_a_case_or_refused_at_a_place_in_it(
    case: Case, start: int, length: int, inserted: str
) -> None:
    whole = text.dump(case)
    damaged = whole[:start] + inserted + whole[start + length :]
    read = _read(damaged)
    if isinstance(read, Case):
        assert text.load(text.dump(read)) == read
    else:
        line = damaged.split("\n")[read.line - 1]
        assert 1 <= read.column <= len(line) + 1
        assert "\n" not in str(read)


def _read(content: str) -> Case | text.CaseSyntaxError:
    try:
        return text.load(content)
    except text.CaseSyntaxError as error:
        return error


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
