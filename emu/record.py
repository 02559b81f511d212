"""One step as a record of 32 bytes, and back.

Stored files are made of the numbers here: a new operation or a new code goes last. The layout is in
docs/case-format.md.
"""

from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Final, NamedTuple, TypeVar, assert_never

from emu.abi import U64, Errno
from emu.access import Access
from emu.case import VCPUS
from emu.injection import AbortBit, At, CpuExit, Fail, ForceAbort, ForceExit, Point, Site
from emu.steps import (
    OBJECTS,
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
    L1Bit,
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
    RunFlag,
    SelectVcpu,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
    Userfault,
    UserfaultMode,
)

T = TypeVar("T")

RECORD: Final = 32


class Op:
    """The first byte of a record. Plain numbers: packing an enum's members takes twice the time."""

    RUN: Final = 0
    GUEST: Final = 1
    MEMSLOT: Final = 2
    CREATE_GMEM: Final = 3
    CREATE_MEM: Final = 4
    PUNCH: Final = 5
    ALLOCATE: Final = 6
    RELEASE: Final = 7
    POISON_GMEM: Final = 8
    POISON_MEM: Final = 9
    MUNMAP: Final = 10
    MPROTECT: Final = 11
    TRUNCATE: Final = 12
    AGE: Final = 13
    MEMORY_LIMIT: Final = 14
    IOEVENTFD: Final = 15
    FAIL: Final = 16
    FORCE_EXIT: Final = 17
    FORCE_ABORT: Final = 18
    SKIP: Final = 19
    MMIO_DATA: Final = 20
    USERFAULT: Final = 21
    DIRTY_LOG: Final = 22
    MEMLOCK_LIMIT: Final = 23
    VCPU: Final = 24
    AT: Final = 25
    L1_MAP: Final = 26
    L1_TABLE: Final = 27
    L1_VTCR: Final = 28
    GUEST_L2: Final = 29


class Fields(NamedTuple):
    """A record taken apart: the operation, three bytes, a u32 and three u64."""

    op: int
    a: int
    b: int
    c: int
    word: int
    x: int
    y: int
    z: int


_LAYOUT: Final = Struct("<BBBBIQQQ")

# A code is a place in one of these.
_ACCESSES: Final = tuple(Access)
_SITES: Final = tuple(Site)
_ERRNOS: Final = tuple(Errno)
_CPU_EXITS: Final = tuple(CpuExit)
_MEM_KINDS: Final = tuple(MemKind)
_PROTECTIONS: Final = tuple(Protection)
_USERFAULT_MODES: Final = tuple(UserfaultMode)
_POINTS: Final = tuple(Point)
_IOEVENTFD_SIZES: Final = (1, 2, 4, 8)


def _codes(table: Sequence[T]) -> Mapping[T, int]:
    return {member: code for code, member in enumerate(table)}


_ACCESS_CODES: Final = _codes(_ACCESSES)
_SITE_CODES: Final = _codes(_SITES)
_ERRNO_CODES: Final = _codes(_ERRNOS)
_CPU_EXIT_CODES: Final = _codes(_CPU_EXITS)
_MEM_KIND_CODES: Final = _codes(_MEM_KINDS)
_PROTECTION_CODES: Final = _codes(_PROTECTIONS)
_USERFAULT_CODES: Final = _codes(_USERFAULT_MODES)
_POINT_CODES: Final = _codes(_POINTS)
_IOEVENTFD_CODES: Final = _codes(_IOEVENTFD_SIZES)

_INDEX: Final = OBJECTS - 1
_PRESENT: Final = 8  # the bit above an index: there is such a reference
_RUN_FLAGS: Final = sum(RunFlag)
_ABORT_BITS: Final = sum(AbortBit)
_L1_BITS: Final = sum(L1Bit)
_NTHS: Final = 255
_L1_LEVELS: Final = 3
_U32: Final = (1 << 32) - 1
_SIGN: Final = 1 << 31


def pack_step(step: Step) -> bytes:  # noqa: C901 - one arm a step, nothing else
    """The record of ``step``.

    What does not fit is for the caller to find: it raises KeyError or struct.error, or unpacks to
    another step.
    """
    pack = _LAYOUT.pack
    match step:  # the steps that cases have most of come first: arms are tried in order
        case Guest():
            code, absolute = _ACCESS_CODES[step.access], step.slot is None
            return pack(Op.GUEST, code, not absolute, 0, step.slot or 0, step.address, 0, 0)
        case Run():
            return pack(Op.RUN, 0, 0, 0, step.flags, 0, 0, 0)
        case SetMemslot():
            return _pack_memslot(step)
        case CreateGmem():
            return pack(Op.CREATE_GMEM, step.index, 0, 0, 0, step.size, step.flags, 0)
        case CreateMem():
            kind = _MEM_KIND_CODES[step.kind]
            return pack(Op.CREATE_MEM, step.index, kind, 0, 0, step.size, 0, 0)
        case PunchHole():
            return pack(Op.PUNCH, step.gmem.index, 0, 0, 0, step.gmem.offset, step.size, 0)
        case Allocate():
            return pack(Op.ALLOCATE, step.gmem.index, 0, 0, 0, step.gmem.offset, step.size, 0)
        case PoisonGmem():
            return pack(Op.POISON_GMEM, step.gmem.index, 0, 0, 0, step.gmem.offset, 0, 0)
        case PoisonMem():
            return pack(Op.POISON_MEM, step.mem.index, 0, 0, 0, step.mem.offset, 0, 0)
        case Unmap():
            return pack(Op.MUNMAP, step.mem.index, 0, 0, 0, step.mem.offset, step.size, 0)
        case Protect():
            code = _PROTECTION_CODES[step.protection]
            return pack(Op.MPROTECT, step.mem.index, code, 0, 0, step.mem.offset, step.size, 0)
        case Fail():
            site, errno = _SITE_CODES[step.site], _ERRNO_CODES[step.errno]
            return pack(Op.FAIL, site, errno, step.nth - 1, 0, 0, 0, 0)
        case Skip():
            return pack(Op.SKIP, 0, 0, 0, 0, 0, 0, 0)
        case ReleaseGmem():
            return pack(Op.RELEASE, step.index, 0, 0, 0, 0, 0, 0)
        case Truncate():
            return pack(Op.TRUNCATE, step.index, 0, 0, 0, step.size, 0, 0)
        case Age():
            return pack(Op.AGE, 0, 0, 0, step.slot, 0, 0, 0)
        case MemoryLimit():
            return pack(Op.MEMORY_LIMIT, step.on, 0, 0, 0, 0, 0, 0)
        case IoEventFd():
            return pack(Op.IOEVENTFD, _IOEVENTFD_CODES[step.size], 0, 0, 0, step.gpa, 0, 0)
        case ForceExit():
            return pack(Op.FORCE_EXIT, _CPU_EXIT_CODES[step.exit], 0, 0, 0, 0, 0, 0)
        case ForceAbort():
            return pack(Op.FORCE_ABORT, step.fsc, step.bits, 0, 0, 0, 0, 0)
        case MmioData():
            return pack(Op.MMIO_DATA, 0, 0, 0, 0, step.value, 0, 0)
        case Userfault():
            code = _USERFAULT_CODES[step.mode]
            return pack(Op.USERFAULT, step.mem.index, code, 0, 0, step.mem.offset, step.size, 0)
        case GetDirtyLog():
            return pack(Op.DIRTY_LOG, 0, 0, 0, step.slot, 0, 0, 0)
        case MemlockLimit():
            return pack(Op.MEMLOCK_LIMIT, step.on, 0, 0, 0, 0, 0, 0)
        case SelectVcpu():
            return pack(Op.VCPU, step.index, 0, 0, 0, 0, 0, 0)
        case At():
            return pack(Op.AT, _POINT_CODES[step.point], 0, 0, 0, 0, 0, 0)
        case L1Map():
            bits, absolute = step.prot | step.block << 3 | step.old << 4, step.slot is None
            return pack(Op.L1_MAP, bits, not absolute, 0, step.slot or 0, step.ipa, step.address, 0)
        case L1Table():
            absolute = step.slot is None
            return pack(
                Op.L1_TABLE, step.level - 1, not absolute, 0, step.slot or 0, step.address, 0, 0
            )
        case L1Vtcr():
            return pack(Op.L1_VTCR, step.legal | step.hardware_af << 1, 0, 0, 0, 0, 0, 0)
        case GuestL2():
            return pack(Op.GUEST_L2, _ACCESS_CODES[step.access], 0, 0, 0, step.address, 0, 0)
        case _:
            assert_never(step)


def _pack_memslot(step: SetMemslot) -> bytes:
    """A record has one u64 for both offsets: a lone one takes it all, two take half each."""
    mem, gmem, offsets = 0, 0, 0
    if step.mem is not None:
        mem, offsets = _PRESENT | step.mem.index, step.mem.offset
    if step.gmem is not None:
        gmem = _PRESENT | step.gmem.index
        offsets = step.gmem.offset if not mem else (step.gmem.offset & _U32) << 32 | offsets & _U32
    refs, low, high = gmem << 4 | mem, step.flags & 0xFF, step.flags >> 8 | step.v1 << 7
    return _LAYOUT.pack(Op.MEMSLOT, refs, low, high, step.slot, step.gpa, step.size, offsets)


def unpack_step(record: bytes) -> Step:
    """The step that a record stands for, whatever its bytes are."""
    fields = Fields._make(_LAYOUT.unpack(record))
    return _DECODERS[fields.op % OPERATIONS](fields)


def _ref(fields: Fields) -> Ref:
    return Ref(fields.a & _INDEX, fields.x)


def _at(table: Sequence[T], code: int) -> T:
    return table[code % len(table)]


def _guest(fields: Fields) -> Guest:
    slot = fields.word if fields.b & 1 else None
    return Guest(_at(_ACCESSES, fields.a), slot, fields.x)


def _memslot(fields: Fields) -> SetMemslot:
    has_mem, has_gmem = fields.a & _PRESENT, fields.a >> 4 & _PRESENT
    mem_offset = gmem_offset = fields.z
    if has_mem and has_gmem:
        mem_offset, gmem_offset = _extended(fields.z & _U32), _extended(fields.z >> 32)
    return SetMemslot(
        slot=fields.word,
        gpa=fields.x,
        size=fields.y,
        flags=fields.b | (fields.c & 0x7F) << 8,
        mem=Ref(fields.a & _INDEX, mem_offset) if has_mem else None,
        gmem=Ref(fields.a >> 4 & _INDEX, gmem_offset) if has_gmem else None,
        v1=bool(fields.c >> 7),
    )


def _l1_map(fields: Fields) -> L1Map:
    slot, block, old = fields.word if fields.b & 1 else None, fields.a & 8, fields.a & 16
    return L1Map(fields.x, slot, fields.y, fields.a & _L1_BITS, bool(block), bool(old))


def _l1_table(fields: Fields) -> L1Table:
    slot = fields.word if fields.b & 1 else None
    return L1Table(fields.a % _L1_LEVELS + 1, slot, fields.x)


def _extended(offset: int) -> int:
    """32 bits as 64, with the sign: -0x1000 is the offset that KVM takes for a negative one."""
    return (offset ^ _SIGN) - _SIGN & U64


_DECODERS: Final[Mapping[int, Callable[[Fields], Step]]] = {
    Op.RUN: lambda f: Run(f.word & _RUN_FLAGS),
    Op.GUEST: _guest,
    Op.MEMSLOT: _memslot,
    Op.CREATE_GMEM: lambda f: CreateGmem(f.a & _INDEX, f.x, f.y),
    Op.CREATE_MEM: lambda f: CreateMem(f.a & _INDEX, f.x, _at(_MEM_KINDS, f.b)),
    Op.PUNCH: lambda f: PunchHole(_ref(f), f.y),
    Op.ALLOCATE: lambda f: Allocate(_ref(f), f.y),
    Op.RELEASE: lambda f: ReleaseGmem(f.a & _INDEX),
    Op.POISON_GMEM: lambda f: PoisonGmem(_ref(f)),
    Op.POISON_MEM: lambda f: PoisonMem(_ref(f)),
    Op.MUNMAP: lambda f: Unmap(_ref(f), f.y),
    Op.MPROTECT: lambda f: Protect(_ref(f), f.y, _at(_PROTECTIONS, f.b)),
    Op.TRUNCATE: lambda f: Truncate(f.a & _INDEX, f.x),
    Op.AGE: lambda f: Age(f.word),
    Op.MEMORY_LIMIT: lambda f: MemoryLimit(bool(f.a & 1)),
    Op.IOEVENTFD: lambda f: IoEventFd(f.x, _at(_IOEVENTFD_SIZES, f.a)),
    Op.FAIL: lambda f: Fail(_at(_SITES, f.a), _at(_ERRNOS, f.b), f.c % _NTHS + 1),
    Op.FORCE_EXIT: lambda f: ForceExit(_at(_CPU_EXITS, f.a)),
    Op.FORCE_ABORT: lambda f: ForceAbort(f.a & 63, f.b & _ABORT_BITS),
    Op.SKIP: lambda _f: Skip(),
    Op.MMIO_DATA: lambda f: MmioData(f.x),
    Op.USERFAULT: lambda f: Userfault(_ref(f), f.y, _at(_USERFAULT_MODES, f.b)),
    Op.DIRTY_LOG: lambda f: GetDirtyLog(f.word),
    Op.MEMLOCK_LIMIT: lambda f: MemlockLimit(bool(f.a & 1)),
    Op.VCPU: lambda f: SelectVcpu(f.a % VCPUS),
    Op.AT: lambda f: At(_at(_POINTS, f.a)),
    Op.L1_MAP: _l1_map,
    Op.L1_TABLE: _l1_table,
    Op.L1_VTCR: lambda f: L1Vtcr(bool(f.a & 1), bool(f.a & 2)),
    Op.GUEST_L2: lambda f: GuestL2(_at(_ACCESSES, f.a), f.x),
}
OPERATIONS: Final = len(_DECODERS)
