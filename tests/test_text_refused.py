import re
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu import text
from emu.case import Case
from tests.spellings import RUN_FLAGS, STEPS, VMS
from tests.strategies import CASES

EXAMPLES: Final = settings(max_examples=300, deadline=None)

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
     "1:12: found '07', expected a number without a leading zero"),
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


SAMPLE: Final = VMS[-1][0].splitlines() + [line for line, _ in STEPS]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_wrong_text_is_refused_with_its_place_and_what_was_expected(
    content: str, message: str
) -> None:
    with pytest.raises(text.CaseSyntaxError) as caught:
        text.load(content, "some.case")
    assert str(caught.value) == f"some.case:{message}"
    assert message.startswith(f"{caught.value.line}:{caught.value.column}: ")


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
