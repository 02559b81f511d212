"""The reader of each verb of a case's text: the words of a line, to a step."""

from collections.abc import Callable, Mapping
from typing import Final

from emu.abi import U64
from emu.injection import At, Fail, ForceAbort, ForceExit
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
    L1Map,
    L1Table,
    L1Vtcr,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    PoisonGmem,
    PoisonMem,
    Protect,
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
)
from emu.tokens import U32, Line, Thing
from emu.words import (
    ABORT_BITS,
    ACCESSES,
    CPU_EXITS,
    ERRNOS,
    GMEM_FLAGS,
    IOEVENTFD_SIZES,
    L1_BITS,
    LEGALITY,
    LEVELS,
    MEM_FLAGS,
    MEM_KINDS,
    POINTS,
    PROTECTIONS,
    RUN_FLAGS,
    SITES,
    SWITCH,
    USERFAULT_MODES,
    VCPU_NUMBERS,
)

# What several verbs have.


def _index(line: Line, thing: Thing) -> int:
    return line.index(line.need(f"{thing.value}N"), thing)


def _ref(line: Line, thing: Thing) -> Ref:
    return line.reference(line.need(f"{thing.value}N+OFFSET"), thing)


def _size(line: Line) -> int:
    return line.integer(line.value("size"))


def _gpa(line: Line) -> int:
    return line.integer(line.value("gpa"))


def _flags(line: Line, table: Mapping[str, int], last: int) -> int:
    """Nothing, the words of ``table`` with commas between them, or a number."""
    shape = f"{','.join(table)}|NUMBER"
    if not line.ahead("flags=", f"flags={shape}"):
        return 0
    value = line.value("flags", shape)
    if value.text[:1].isdecimal():
        return line.integer(value, last=last)
    return line.bits(value.parts(), table)


def _place(line: Line) -> tuple[int | None, int]:
    """A slot and an offset from its address, or None and an address."""
    where = line.need("one of: slotN+OFFSET, ADDRESS")
    if where.text[:1].isdecimal():
        return None, line.integer(where)
    ref = line.reference(where, Thing.SLOT)
    return ref.index, ref.offset


# The reader of each verb; it takes the words after the verb.


def _create(line: Line) -> CreateGmem | CreateMem:
    if line.ahead("gmem", "gmemN"):
        return CreateGmem(_index(line, Thing.GMEM), _size(line), _flags(line, GMEM_FLAGS, U64))
    return CreateMem(_index(line, Thing.MEM), _size(line), line.pick(MEM_KINDS))


def _memslot(line: Line) -> SetMemslot:
    slot = line.integer(line.need("the number of a slot"), last=U32)
    if line.accept("delete"):
        return SetMemslot(slot, 0, 0, 0, None, None)
    gpa, size = _gpa(line), _size(line)
    mem = _ref(line, Thing.MEM) if line.ahead("mem", "memN+OFFSET") else None
    gmem = _ref(line, Thing.GMEM) if line.ahead("gmem", "gmemN+OFFSET") else None
    flags = _flags(line, MEM_FLAGS, U32)
    return SetMemslot(slot, gpa, size, flags, mem, gmem, line.accept("v1"))


def _punch(line: Line) -> PunchHole:
    return PunchHole(_ref(line, Thing.GMEM), _size(line))


def _allocate(line: Line) -> Allocate:
    return Allocate(_ref(line, Thing.GMEM), _size(line))


def _release(line: Line) -> ReleaseGmem:
    return ReleaseGmem(_index(line, Thing.GMEM))


def _poison(line: Line) -> PoisonGmem | PoisonMem:
    if line.ahead("gmem", "gmemN+OFFSET"):
        return PoisonGmem(_ref(line, Thing.GMEM))
    return PoisonMem(_ref(line, Thing.MEM))


def _munmap(line: Line) -> Unmap:
    return Unmap(_ref(line, Thing.MEM), _size(line))


def _mprotect(line: Line) -> Protect:
    return Protect(_ref(line, Thing.MEM), _size(line), line.pick(PROTECTIONS))


def _truncate(line: Line) -> Truncate:
    return Truncate(_index(line, Thing.MEM), _size(line))


def _age(line: Line) -> Age:
    return Age(_index(line, Thing.SLOT))


def _memory_limit(line: Line) -> MemoryLimit:
    return MemoryLimit(line.pick(SWITCH))


def _ioeventfd(line: Line) -> IoEventFd:
    return IoEventFd(_gpa(line), line.choice(line.value("size"), IOEVENTFD_SIZES))


def _fail(line: Line) -> Fail:
    site, errno = line.pick(SITES), line.pick(ERRNOS)
    nth = line.integer(line.value("nth"), 1, 255) if line.ahead("nth=", "nth=NUMBER") else 1
    return Fail(site, errno, nth)


def _force_exit(line: Line) -> ForceExit:
    return ForceExit(line.pick(CPU_EXITS))


def _force_abort(line: Line) -> ForceAbort:
    return ForceAbort(line.integer(line.value("fsc"), last=63), line.bits(line.rest(), ABORT_BITS))


def _guest(line: Line) -> Guest:
    return Guest(line.pick(ACCESSES), *_place(line))


def _run(line: Line) -> Run:
    return Run(line.bits(line.rest(), RUN_FLAGS))


def _skip(_line: Line) -> Skip:
    return Skip()


def _mmio_data(line: Line) -> MmioData:
    return MmioData(line.integer(line.need("NUMBER")))


def _userfault(line: Line) -> Userfault:
    return Userfault(_ref(line, Thing.MEM), _size(line), line.pick(USERFAULT_MODES))


def _dirty_log(line: Line) -> GetDirtyLog:
    return GetDirtyLog(_index(line, Thing.SLOT))


def _memlock_limit(line: Line) -> MemlockLimit:
    return MemlockLimit(line.pick(SWITCH))


def _vcpu(line: Line) -> SelectVcpu:
    return SelectVcpu(line.pick(VCPU_NUMBERS))


def _at(line: Line) -> At:
    return At(line.pick(POINTS))


def _l1_map(line: Line) -> L1Map:
    ipa = line.integer(line.need("ADDRESS"))
    slot, address = _place(line)
    prot = _flags(line, L1_BITS, sum(L1_BITS.values()))
    return L1Map(ipa, slot, address, prot, line.accept("block"), line.accept("old"))


def _l1_table(line: Line) -> L1Table:
    return L1Table(line.pick(LEVELS), *_place(line))


def _l1_vtcr(line: Line) -> L1Vtcr:
    return L1Vtcr(line.pick(LEGALITY), line.accept("hardware-af"))


def _l2(line: Line) -> GuestL2:
    return GuestL2(line.pick(ACCESSES), line.integer(line.need("ADDRESS")))


READERS: Final[Mapping[str, Callable[[Line], Step]]] = {
    "create": _create,
    "memslot": _memslot,
    "punch": _punch,
    "allocate": _allocate,
    "release": _release,
    "poison": _poison,
    "munmap": _munmap,
    "mprotect": _mprotect,
    "truncate": _truncate,
    "age": _age,
    "memory-limit": _memory_limit,
    "ioeventfd": _ioeventfd,
    "fail": _fail,
    "force-exit": _force_exit,
    "force-abort": _force_abort,
    "guest": _guest,
    "run": _run,
    "skip": _skip,
    "mmio-data": _mmio_data,
    "userfault": _userfault,
    "dirty-log": _dirty_log,
    "memlock-limit": _memlock_limit,
    "vcpu": _vcpu,
    "at": _at,
    "l1-map": _l1_map,
    "l1-table": _l1_table,
    "l1-vtcr": _l1_vtcr,
    "l2": _l2,
}
