"""Hypothesis strategies for cases: what a record has room for, with a liking for what matters.

``STEPS`` and ``CASES`` make only what both spellings can say.
"""

from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from emu.abi import U64, Errno, GmemFlag, MemFlag
from emu.access import Access
from emu.case import IPA_BITS, PAGE_SIZES, VCPUS, Case, VcpuState, VmConfig
from emu.injection import At, CpuExit, Fail, ForceAbort, ForceExit, Point, Site
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
)

_U32: Final = (1 << 32) - 1
_PAGE: Final = 0x1000

INDICES: Final = st.integers(0, OBJECTS - 1)
SLOTS: Final = st.one_of(st.integers(0, 3), st.integers(0, _U32))
NUMBERS: Final = st.one_of(
    st.sampled_from([0, 1, _PAGE, 2 * _PAGE, 0x4000_0000, 1 << 63, U64 - _PAGE + 1, U64]),
    st.integers(0, U64),
)
REFS: Final = st.builds(Ref, INDICES, NUMBERS)
# Beside another reference, a memslot's has 32 bits for its offset, with a sign.
NEAR_REFS: Final = st.builds(
    Ref, INDICES, st.integers(-(1 << 31), (1 << 31) - 1).map(lambda offset: offset & U64)
)
_MEMSLOT_FLAGS: Final = st.one_of(st.integers(0, sum(MemFlag)), st.integers(0, (1 << 15) - 1))


def _memslots(
    mem: SearchStrategy[Ref | None], gmem: SearchStrategy[Ref | None]
) -> SearchStrategy[SetMemslot]:
    return st.builds(SetMemslot, SLOTS, NUMBERS, NUMBERS, _MEMSLOT_FLAGS, mem, gmem, st.booleans())


DELETIONS: Final = SLOTS.map(lambda slot: SetMemslot(slot, 0, 0, 0, None, None))
MEMSLOTS: Final = st.one_of(
    DELETIONS,
    _memslots(st.none(), st.none()),
    _memslots(REFS, st.none()),
    _memslots(st.none(), REFS),
    _memslots(NEAR_REFS, NEAR_REFS),
)

# One for each member of Step, in its order.
STEPS_BY_TYPE: Final[dict[type[Step], SearchStrategy[Step]]] = {
    CreateGmem: st.builds(
        CreateGmem, INDICES, NUMBERS, st.one_of(st.integers(0, sum(GmemFlag)), NUMBERS)
    ),
    CreateMem: st.builds(CreateMem, INDICES, NUMBERS, st.sampled_from(MemKind)),
    SetMemslot: MEMSLOTS,
    PunchHole: st.builds(PunchHole, REFS, NUMBERS),
    Allocate: st.builds(Allocate, REFS, NUMBERS),
    ReleaseGmem: st.builds(ReleaseGmem, INDICES),
    PoisonGmem: st.builds(PoisonGmem, REFS),
    PoisonMem: st.builds(PoisonMem, REFS),
    Unmap: st.builds(Unmap, REFS, NUMBERS),
    Protect: st.builds(Protect, REFS, NUMBERS, st.sampled_from(Protection)),
    Truncate: st.builds(Truncate, INDICES, NUMBERS),
    Age: st.builds(Age, SLOTS),
    MemoryLimit: st.builds(MemoryLimit, st.booleans()),
    IoEventFd: st.builds(IoEventFd, NUMBERS, st.sampled_from([1, 2, 4, 8])),
    Fail: st.builds(Fail, st.sampled_from(Site), st.sampled_from(Errno), st.integers(1, 255)),
    ForceExit: st.builds(ForceExit, st.sampled_from(CpuExit)),
    ForceAbort: st.builds(ForceAbort, st.integers(0, 63), st.integers(0, 15)),
    Guest: st.builds(Guest, st.sampled_from(Access), st.one_of(st.none(), SLOTS), NUMBERS),
    Run: st.builds(Run, st.one_of(st.just(0), st.integers(0, 1023))),
    Skip: st.just(Skip()),
    MmioData: st.builds(MmioData, NUMBERS),
    Userfault: st.builds(Userfault, REFS, NUMBERS, st.sampled_from(UserfaultMode)),
    GetDirtyLog: st.builds(GetDirtyLog, SLOTS),
    MemlockLimit: st.builds(MemlockLimit, st.booleans()),
    SelectVcpu: st.builds(SelectVcpu, st.integers(0, VCPUS - 1)),
    At: st.builds(At, st.sampled_from(Point)),
    L1Map: st.builds(
        L1Map,
        NUMBERS,
        st.one_of(st.none(), SLOTS),
        NUMBERS,
        st.integers(0, 7),
        st.booleans(),
        st.booleans(),
    ),
    L1Table: st.builds(L1Table, st.integers(1, 3), st.one_of(st.none(), SLOTS), NUMBERS),
    L1Vtcr: st.builds(L1Vtcr, st.booleans(), st.booleans()),
    GuestL2: st.builds(GuestL2, st.sampled_from(Access), NUMBERS),
}

VMS: Final = st.builds(
    VmConfig,
    st.sampled_from(IPA_BITS),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(VcpuState),
    st.sampled_from(PAGE_SIZES),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
STEPS: Final[SearchStrategy[Step]] = st.one_of(*STEPS_BY_TYPE.values())
CASES: Final[SearchStrategy[Case]] = st.builds(Case, VMS, st.lists(STEPS, max_size=12).map(tuple))
