import re
import struct
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emu import text, wire
from emu.abi import U64, Errno
from emu.access import Access
from emu.case import Case, VcpuState, VmConfig
from emu.injection import CpuExit, Fail, ForceAbort, Site
from emu.steps import (
    CreateGmem,
    Guest,
    IoEventFd,
    MmioData,
    PunchHole,
    Ref,
    ReleaseGmem,
    Run,
    SetMemslot,
    Skip,
    Step,
)
from tests.strategies import CASES, STEPS, STEPS_BY_TYPE

EXAMPLES: Final = settings(max_examples=400, deadline=None)
NO_VM: Final = bytes((1, 0, 0, 0))


def record(op: int, a: int = 0, b: int = 0, c: int = 0, word: int = 0, *longs: int) -> bytes:
    """A record as docs/case-format.md lays it out."""
    x, y, z = (*longs, 0, 0, 0)[:3]
    return struct.pack("<BBBBIQQQ", op, a, b, c, word, x, y, z)


# Stored files depend on these: a row may be added, none may change.
RECORDS: Final = [
    ("run", record(0)),
    ("run signal cpu-unsupported", record(0, 0, 0, 0, 0x208)),
    ("guest read8 0x40000000", record(1, 0, 0, 0, 0, 0x4000_0000)),
    ("guest read8 slot3+0x10", record(1, 0, 1, 0, 3, 0x10)),
    ("memslot 1 delete", record(2, 0, 0, 0, 1)),
    (
        "memslot 1 gpa=0x1000 size=0x2000 mem2+0x3000 flags=readonly v1",
        record(2, 0x0A, 2, 0x80, 1, 0x1000, 0x2000, 0x3000),
    ),
    (
        "memslot 65536 gpa=0x0 size=0x1 gmem7+0xffffffffffffffff flags=0x7fff",
        record(2, 0xF0, 0xFF, 0x7F, 0x10000, 0, 1, U64),
    ),
    (
        "memslot 0 gpa=0x0 size=0x1 mem0+0x1000 gmem1+0xfffffffffffff000 flags=guest-memfd",
        record(2, 0x98, 4, 0, 0, 0, 1, 0xFFFF_F000_0000_1000),
    ),
    ("create gmem1 size=0x1000 flags=mmap", record(3, 1, 0, 0, 0, 0x1000, 1)),
    ("create mem1 size=0x1000 file", record(4, 1, 1, 0, 0, 0x1000)),
    ("punch gmem1+0x2 size=0x3", record(5, 1, 0, 0, 0, 2, 3)),
    ("allocate gmem1+0x2 size=0x3", record(6, 1, 0, 0, 0, 2, 3)),
    ("release gmem1", record(7, 1)),
    ("poison gmem1+0x2", record(8, 1, 0, 0, 0, 2)),
    ("poison mem1+0x2", record(9, 1, 0, 0, 0, 2)),
    ("munmap mem1+0x2 size=0x3", record(10, 1, 0, 0, 0, 2, 3)),
    ("mprotect mem1+0x2 size=0x3 read-write", record(11, 1, 2, 0, 0, 2, 3)),
    ("truncate mem1 size=0x3", record(12, 1, 0, 0, 0, 3)),
    ("age slot5", record(13, 0, 0, 0, 5)),
    ("memory-limit on", record(14, 1)),
    ("ioeventfd gpa=0x9000000 size=8", record(15, 3, 0, 0, 0, 0x900_0000)),
    ("fail kvm_gmem_get_pfn EPERM nth=255", record(16, 0, 0, 254)),
    ("force-exit irq", record(17, 0)),
    ("force-abort fsc=0x10 fnv", record(18, 0x10, 2)),
    ("skip", record(19)),
    ("mmio-data 0x1122", record(20, 0, 0, 0, 0, 0x1122)),
    ("userfault mem1+0x2 size=0x3 write-protect", record(21, 1, 1, 0, 0, 2, 3)),
    ("dirty-log slot5", record(22, 0, 0, 0, 5)),
    ("memlock-limit on", record(23, 1)),
    ("vcpu 3", record(24, 3)),
    ("at map", record(25, 4)),
    ("at swap", record(25, 5)),
    ("l1-map 0x1 slot5+0x2 flags=read,execute block", record(26, 13, 1, 0, 5, 1, 2)),
    ("l1-map 0x1 0x2", record(26, 0, 0, 0, 0, 1, 2)),
    ("l1-map 0x1 0x2 flags=write old", record(26, 18, 0, 0, 0, 1, 2)),
    ("l1-table 3 slot5+0x2", record(27, 2, 1, 0, 5, 2)),
    ("l1-table 1 0x2", record(27, 0, 0, 0, 0, 2)),
    ("l1-vtcr legal", record(28, 1)),
    ("l1-vtcr illegal hardware-af", record(28, 2)),
    ("l2 write64 0x2", record(29, 18, 0, 0, 0, 2)),
]

HEADERS: Final = [
    (VmConfig(), bytes((1, 0, 0, 0))),
    (VmConfig(32, nisv_to_user=True), bytes((1, 1, 1, 0))),
    (VmConfig(36, sea_to_user=True), bytes((1, 2, 2, 0))),
    (VmConfig(42, cold=True), bytes((1, 3, 4, 0))),
    (VmConfig(nested=True), bytes((1, 0, 8, 0))),
    (VmConfig(protected=True), bytes((1, 0, 16, 0))),
    (VmConfig(mte=True), bytes((1, 0, 32, 0))),
    (VmConfig(coherent=True), bytes((1, 0, 64, 0))),
    (VmConfig(page_size=0x4000), bytes((1, 4, 0, 0))),
    (VmConfig(42, page_size=0x1_0000), bytes((1, 11, 0, 0))),
    (VmConfig(vcpu=VcpuState.UNINITIALIZED), bytes((1, 0, 0, 1))),
    (VmConfig(vcpu=VcpuState.UNFINALIZED), bytes((1, 0, 0, 2))),
]

# The codes of what is named, in order; new names go last.
ACCESSES: Final = """
    read8 read16 read32 read64 read-signed8 read-signed16 read-signed32 read-acquire read-rcpc
    read-pre-index read-post-index read-pair read-exclusive read-simd read-simd-multiple
    write8 write16 write32 write64 write-release write-pre-index write-post-index write-pair
    write-exclusive write-simd write-simd-multiple cas casp swp ldadd stadd dc-zva dc-cvac dc-civac
    ic-ivau prefetch fetch walk at-walk walk-af vncr-read vncr-write
"""
SITES: Final = """
    kvm_gmem_get_pfn kvm_mmu_topup_memory_cache kvm_pgtable_stage2_map
    kvm_pgtable_stage2_relax_perms __kvm_faultin_pfn kvm_gmem_bind kvm_arch_vcpu_run_pid_change
    get_user_mapping_size pin_user_pages
"""
ERRNOS: Final = """
    EPERM ENOENT EINTR EIO E2BIG ENOEXEC EBADF EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST ENODEV
    EINVAL ENOSPC ERANGE ENOSYS EOPNOTSUPP EHWPOISON
"""
CPU_EXITS: Final = ["irq", "serror", "illegal-return", "hyp-gone", "unknown"]

# Bytes that encode() does not make, and the step that they stand for all the same.
REDUCED: Final = [
    (record(30), "run"),
    (record(255, 1, 1, 9, 9, 9, 10, 11), "ioeventfd gpa=0x9 size=2"),
    (record(0, 255, 255, 255, 0xFFFF_FC08, 1, 1, 1), "run signal"),
    (record(1, 42 + 3, 0xFE, 0, 7, 8), "guest read64 0x8"),
    (record(1, 3, 0xFF, 0, 7, 8), "guest read64 slot7+0x8"),
    (record(2, 0x77, 1, 0, 0, 0, 0, 5), "memslot 0 gpa=0x0 size=0x0 flags=log-dirty"),
    (record(4, 0, 8), "create mem0 size=0x0 file"),
    (record(11, 0, 5), "mprotect mem0+0x0 size=0x0 read-write"),
    (record(14, 2), "memory-limit off"),
    (record(15, 6), "ioeventfd gpa=0x0 size=4"),
    (record(16, 10, 21, 255), "fail kvm_mmu_topup_memory_cache ENOENT"),
    (record(17, 7), "force-exit illegal-return"),
    (record(18, 0x50, 0xF1), "force-abort fsc=0x10 hpfar-invalid"),
]

SKIP: Final = NO_VM + record(19)
REFUSED: Final = [
    (b"", "byte 0: truncated header, 0 of 4 bytes"),
    (b"\x01\0", "byte 2: truncated header, 2 of 4 bytes"),
    (b"\x02", "byte 0: wrong version 0x02, expected 0x01"),
    (b"\x02" + SKIP[1:], "byte 0: wrong version 0x02, expected 0x01"),
    (b"\x01\x0c\0\0", "byte 1: non-canonical field in the header, 0x0c"),
    (b"\x01\0\x80\0", "byte 2: non-canonical field in the header, 0x80"),
    (b"\x01\0\0\x03", "byte 3: non-canonical field in the header, 0x03"),
    (SKIP + b"\0", "byte 36: truncated record, 1 of 32 bytes"),
    (SKIP[:-1], "byte 4: truncated record, 31 of 32 bytes"),
    (SKIP + record(30), "byte 36: unknown operation 0x1e, expected at most 0x1d"),
    (SKIP + record(19, 0, 0, 1), "byte 39: non-canonical field in record 2, 0x01"),
    (SKIP + record(1, 42), "byte 37: non-canonical field in record 2, 0x2a"),
    (SKIP + record(2, 0, 0, 0, 0, 0, 0, 1 << 56), "byte 67: non-canonical field in record 2, 0x01"),
    (NO_VM + record(19) * 257, "byte 8196: too many records, expected at most 256"),
    (NO_VM + record(19) * 256 + b"\0", "byte 8196: too many records, expected at most 256"),
]

MISFITS: Final[list[Step]] = [
    Run(1024),
    Run(-1),
    Guest(Access.CAS, 1 << 32, 0),
    Guest(Access.CAS, None, 1 << 64),
    Guest(Access.CAS, None, -1),
    ReleaseGmem(8),
    CreateGmem(0, 1 << 64, 0),
    PunchHole(Ref(256, 0), 0),
    IoEventFd(0, 3),
    Fail(Site.KVM_GMEM_BIND, Errno.EIO, 0),
    Fail(Site.KVM_GMEM_BIND, Errno.EIO, 256),
    ForceAbort(64, 0),
    ForceAbort(0, 16),
    MmioData(-1),
    SetMemslot(0, 0, 0, 0x8000, None, None),
    SetMemslot(0, 0, 0, 0, Ref(8, 0), None),
    SetMemslot(0, 0, 0, 0, None, Ref(8, 0)),
    SetMemslot(0, 0, 0, 0, Ref(16, 0), None),
    SetMemslot(0, 0, 0, 0, Ref(0, 0), Ref(0, 1 << 31)),
    SetMemslot(0, 0, 0, 0, Ref(0, 1 << 63), Ref(0, 0)),
]


@pytest.mark.parametrize(("line", "data"), RECORDS, ids=[line for line, _ in RECORDS])
def test_each_step_has_its_record(line: str, data: bytes) -> None:
    assert wire.encode(text.load(line)) == NO_VM + data
    assert text.dump_step(wire.decode_record(data)) == line


def test_the_table_of_records_has_every_operation_and_every_step() -> None:
    assert {data[0] for _, data in RECORDS} == set(range(30))
    assert {type(wire.decode_record(data)) for _, data in RECORDS} == set(STEPS_BY_TYPE)


@pytest.mark.parametrize(("vm", "header"), HEADERS)
def test_each_fact_of_the_vm_has_its_bits_in_the_header(vm: VmConfig, header: bytes) -> None:
    assert wire.encode(Case(vm, ())) == header
    assert wire.decode(header) == Case(vm, ())


def test_names_keep_their_codes() -> None:
    lines = [text.dump_step(wire.decode_record(record(1, code))) for code in range(len(Access))]
    assert lines == [f"guest {access} 0x0" for access in ACCESSES.split()]
    lines = [text.dump_step(wire.decode_record(record(16, code))) for code in range(len(Site))]
    assert lines == [f"fail {site} EPERM" for site in SITES.split()]
    lines = [text.dump_step(wire.decode_record(record(16, 0, code))) for code in range(len(Errno))]
    assert lines == [f"fail kvm_gmem_get_pfn {errno}" for errno in ERRNOS.split()]
    lines = [text.dump_step(wire.decode_record(record(17, code))) for code in range(len(CpuExit))]
    assert lines == [f"force-exit {cpu_exit}" for cpu_exit in CPU_EXITS]


@EXAMPLES
@given(CASES)
@example(Case(VmConfig(), (Skip(),) * wire.MAX_STEPS))
def test_bytes_round_trip(case: Case) -> None:
    data = wire.encode(case)
    assert len(data) == wire.HEADER + wire.RECORD * len(case.steps)
    assert wire.decode(data) == case
    assert wire.load(data, "x") == case


@EXAMPLES
@given(STEPS)
def test_a_step_has_the_same_record_alone_as_in_a_case(step: Step) -> None:
    data = wire.encode_step(step)
    assert wire.decode_record(data) == step
    assert wire.encode(Case(VmConfig(), (step,))) == NO_VM + data


@EXAMPLES
@given(st.binary(max_size=300))
def test_any_bytes_are_a_case_that_both_spellings_can_say(data: bytes) -> None:
    case = wire.decode(data)
    assert len(case.steps) == max(len(data) - wire.HEADER, 0) // wire.RECORD
    assert wire.decode(wire.encode(case)) == case
    assert text.load(text.dump(case)) == case


@EXAMPLES
@given(st.integers(0, 255), st.binary(min_size=31, max_size=31))
def test_any_record_is_a_step_that_both_spellings_can_say(op: int, rest: bytes) -> None:
    step = wire.decode_record(bytes((op,)) + rest)
    assert wire.decode_record(wire.encode_step(step)) == step
    assert text.load(text.dump_step(step)).steps == (step,)


@pytest.mark.parametrize(("data", "line"), REDUCED, ids=[line for _, line in REDUCED])
def test_what_has_no_meaning_is_reduced(data: bytes, line: str) -> None:
    assert text.dump_step(wire.decode_record(data)) == line


def test_a_header_is_padded_and_reduced() -> None:
    assert wire.decode(b"") == Case(VmConfig(), ())
    assert wire.decode(b"\x07\x01") == Case(VmConfig(32), ())
    unfinalized = VmConfig(32, True, True, True, VcpuState.UNFINALIZED)
    assert wire.decode(bytes((0, 13, 0x87, 5))) == Case(unfinalized, ())


def test_what_is_too_short_or_too_much_is_cut() -> None:
    assert wire.decode(SKIP + record(19)[:-1]).steps == (Skip(),)
    assert wire.decode(NO_VM + record(19) * 300).steps == (Skip(),) * 256


@pytest.mark.parametrize("step", MISFITS, ids=str)
def test_what_has_no_room_in_a_record_is_refused(step: Step) -> None:
    with pytest.raises(ValueError, match="a record has no room for"):
        wire.encode_step(step)


def test_what_has_no_room_in_a_file_is_refused() -> None:
    with pytest.raises(ValueError, match="257 steps, of at most 256"):
        wire.encode(Case(VmConfig(), (Skip(),) * 257))
    with pytest.raises(ValueError, match="a header has no room for"):
        wire.encode(Case(VmConfig(ipa_bits=39), ()))


@pytest.mark.parametrize(("data", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_a_file_that_encode_does_not_make_is_refused_with_the_reason(
    data: bytes, reason: str
) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.load(data, "some.bin")
    assert str(caught.value) == f"some.bin: {reason}"


def test_every_truncation_of_a_file_is_refused_unless_it_ends_with_a_record() -> None:
    whole = NO_VM + b"".join(data for _, data in RECORDS)
    for length in range(len(whole)):
        if length >= wire.HEADER and (length - wire.HEADER) % wire.RECORD == 0:
            assert wire.encode(wire.load(whole[:length], "x")) == whole[:length]
        else:
            with pytest.raises(wire.WireError, match="truncated"):
                wire.load(whole[:length], "x")


@pytest.mark.parametrize(("line", "data"), RECORDS, ids=[line for line, _ in RECORDS])
def test_every_wrong_byte_makes_another_case_or_is_refused(line: str, data: bytes) -> None:
    whole = NO_VM + data
    case = text.load(line)
    for at in range(len(whole)):
        for value in set(range(256)) - {whole[at]}:
            damaged = whole[:at] + bytes((value,)) + whole[at + 1 :]
            read = _load(damaged)
            if isinstance(read, Case):
                assert read != case
                assert wire.encode(read) == damaged
            else:
                assert at <= int(str(read).split()[2].rstrip(":")) < len(damaged)


def _load(data: bytes) -> Case | wire.WireError:
    try:
        return wire.load(data, "x")
    except wire.WireError as error:
        return error


def test_equal_records_are_decoded_once_and_what_is_kept_of_them_is_bounded() -> None:
    wire._MEMO.clear()
    records = [record(20, 0, 0, 0, 0, value) for value in range(16_384)]
    steps = [wire.decode_record(each) for each in records]
    assert steps == [MmioData(value) for value in range(16_384)]
    assert wire.decode(NO_VM + records[0]).steps[0] is steps[0]
    assert len(wire._MEMO) == 16_384
    wire.decode_record(record(19))
    assert len(wire._MEMO) == 1


def test_the_documentation_has_the_number_of_every_operation() -> None:
    page = (Path(__file__).parent.parent / "docs" / "case-format.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `([a-z0-9-]+)", page.partition("### Records")[2], re.MULTILINE)
    records = {data[0]: line.split()[0] for line, data in RECORDS}
    assert {int(number): verb for number, verb in rows} == records
    assert len(rows) == len(records)
