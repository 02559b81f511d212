"""Hypothesis' stateful testing over the same model and judge, to compare our search with.

    python -m fuzz.measuring.stateful --kernel K --seed S --seconds N --epoch T

A case is one example of a state machine. Its rules are what a VMM and its guest do, written as
Hypothesis' manual has it: objects and slots that were made are in bundles, from which later rules
draw; the values are those of ``fuzz.mutation.fresh``. Nothing but Hypothesis guides it. The last
line of standard output is what came of it.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Final, NamedTuple

import msgspec
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from emu.abi import PAGE_SIZE, GmemFlag, MemFlag
from emu.access import Access
from emu.case import PAGE_SIZES, Case, VcpuState, VmConfig
from emu.injection import At, CpuExit, Fail, ForceAbort, ForceExit
from emu.kernels import KERNELS
from emu.model import Model
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
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
from fuzz.measuring.trial import Tried
from fuzz.mutation import fresh
from fuzz.oracle.contract import Reading
from fuzz.search.sighting import Observer

EXAMPLES: Final = 2000  # in a row; Hypothesis remembers all of them
_STRIDE: Final = 1 << 20  # between the seeds of two searches
STEPS: Final = 50  # rules in a case, at most: what Hypothesis does unless told otherwise

HOW: Final = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    database=None,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=tuple(HealthCheck),
    verbosity=Verbosity.quiet,
)

_NUMBERS: Final = st.sampled_from(sorted(set(fresh.SLOTS)))
_SIZES: Final = st.sampled_from(fresh.SIZES * 4 + fresh.ODD_SIZES)
_PAGES: Final = st.integers(0, 3).map(lambda page: page * PAGE_SIZE)
_BYTES: Final = st.builds(int.__add__, _PAGES, st.sampled_from(sorted(set(fresh.WITHIN_PAGE))))
_ACCESSES: Final = st.sampled_from(Access)
_GMEM_FLAGS: Final = st.sampled_from((fresh.USABLE, fresh.USABLE, *range(sum(GmemFlag) + 1)))
_SLOT_FLAGS: Final = st.sampled_from((0, 0, 0, *map(int, MemFlag)))
_L2: Final = st.builds(
    int.__add__, st.sampled_from(fresh.L2_PAGES), st.sampled_from(sorted(set(fresh.WITHIN_PAGE)))
)
_SELDOM: Final = st.sampled_from((*(False,) * 7, True))
_ANYWHERE: Final = st.sampled_from(fresh.ODD_ADDRESSES)
_RARE: Final[st.SearchStrategy[Step]] = st.one_of(
    st.builds(MemlockLimit, st.booleans()),
    st.builds(SelectVcpu, st.sampled_from(sorted(set(fresh.VCPU_NUMBERS)))),
    st.builds(At, st.sampled_from(fresh.POINTS)),
    st.builds(L1Vtcr, st.booleans(), st.booleans()),
    st.builds(L1Table, st.integers(1, 3), st.none(), _ANYWHERE),
    st.builds(MmioData, st.integers(0, (1 << 53) - 1)),
    st.builds(ForceExit, st.sampled_from(CpuExit)),
    st.builds(ForceAbort, st.sampled_from(fresh.FAULT_STATUSES), st.integers(0, 15)),
    st.builds(Fail, st.sampled_from(fresh.SITES), st.sampled_from(fresh.ERRNOS), st.integers(1, 3)),
)


Extent = tuple[int, int] | None  # of an object: an offset and a size in bytes; None: all of it


class Part(NamedTuple):
    """An object, by its number, or some bytes of it."""

    number: int
    offset: int
    size: int

    @property
    def start(self) -> Ref:
        """Where it begins."""
        return Ref(self.number, self.offset)

    def cut(self, extent: Extent) -> "Part":
        """These bytes of the object, which may lie past its end."""
        return self if extent is None else Part(self.number, *extent)


# Beside a bundle and not made of it: Hypothesis leaves a rule out while a bundle that is an
# argument of it is empty, and gives the whole example up if it is hidden in another strategy.
_EXTENTS: Final[st.SearchStrategy[Extent]] = st.none() | st.tuples(_PAGES, _SIZES)


class _EndError(KeyboardInterrupt):
    """The end, found or not: of this kind Hypothesis makes no failing example, to shrink it."""


class Machine(RuleBasedStateMachine):
    """A VMM with its guest; the case that it has become is run and judged at its end."""

    gmems: Bundle[Part] = Bundle("gmems")
    mems: Bundle[Part] = Bundle("mems")
    slots: Bundle[int] = Bundle("slots")

    examine: Callable[[Case], None]

    def __init__(self) -> None:
        super().__init__()
        self.vm = VmConfig()
        self.steps: list[Step] = []

    @initialize(
        vm=st.builds(
            VmConfig,
            nisv_to_user=st.booleans(),
            sea_to_user=st.booleans(),
            cold=_SELDOM,
            vcpu=st.sampled_from((*(VcpuState.READY,) * 8, *VcpuState)),
            page_size=st.sampled_from((*(PAGE_SIZE,) * 8, *PAGE_SIZES)),
            nested=st.booleans(),
            protected=_SELDOM,
        ),
    )
    def boot(self, vm: VmConfig) -> None:
        """The VM."""
        self.vm = vm

    @initialize(target=gmems, size=st.sampled_from(fresh.SIZES))
    def first_gmem(self, size: int) -> Part:
        """A guest_memfd, and slot 0 of it."""
        whole = Part(0, 0, size)
        self.steps.append(CreateGmem(whole.number, size, fresh.USABLE))
        self.gmem_slot(whole, None, 0)
        return whole

    @initialize(target=mems, size=st.sampled_from(fresh.SIZES))
    def first_mem(self, size: int) -> Part:
        """Memory, and slot 1 of it."""
        whole = Part(1, 0, size)
        self.steps.append(CreateMem(whole.number, size, MemKind.ANONYMOUS))
        self.mem_slot(whole, None, 0)
        return whole

    @initialize(target=slots)
    def first_slots(self) -> MultipleResults[int]:
        """Their slots can be used from the start."""
        return multiple(0, 1)

    @rule(target=gmems, number=_NUMBERS, size=_SIZES, flags=_GMEM_FLAGS)
    def create_gmem(self, number: int, size: int, flags: int) -> Part:
        """A guest_memfd."""
        self.steps.append(CreateGmem(number, size, flags))
        return Part(number, 0, size)

    @rule(target=mems, number=_NUMBERS, size=_SIZES, kind=st.sampled_from(MemKind))
    def create_mem(self, number: int, size: int, kind: MemKind) -> Part:
        """Memory of the VMM."""
        self.steps.append(CreateMem(number, size, kind))
        return Part(number, 0, size)

    @rule(target=slots, whole=gmems, extent=_EXTENTS, flags=_SLOT_FLAGS)
    def gmem_slot(self, whole: Part, extent: Extent, flags: int) -> int:
        """A slot of a guest_memfd that there is."""
        part = whole.cut(extent)
        number, gpa = part.number, fresh.BASES[part.number]
        flags |= MemFlag.GUEST_MEMFD
        self.steps.append(SetMemslot(number, gpa, part.size, flags, None, part.start))
        return number

    @rule(target=slots, whole=mems, extent=_EXTENTS, flags=_SLOT_FLAGS)
    def mem_slot(self, whole: Part, extent: Extent, flags: int) -> int:
        """A slot of memory that there is."""
        part = whole.cut(extent)
        number, gpa = part.number, fresh.BASES[part.number]
        self.steps.append(SetMemslot(number, gpa, part.size, flags, part.start, None))
        return number

    @rule(slot=slots)
    def delete_slot(self, slot: int) -> None:
        """As a VMM deletes a slot."""
        self.steps.append(SetMemslot(slot, 0, 0, 0, None, None))

    @rule(slot=slots, access=_ACCESSES, address=_BYTES)
    def guest(self, slot: int, access: Access, address: int) -> None:
        """An access in a slot, and KVM_RUN."""
        self.steps += (Guest(access, slot, address), Run(0))

    @rule(access=_ACCESSES, address=_ANYWHERE)
    def guest_elsewhere(self, access: Access, address: int) -> None:
        """An access where there may be nothing, and KVM_RUN."""
        self.steps += (Guest(access, None, address), Run(0))

    @rule(access=_ACCESSES, address=_L2)
    def guest_l2(self, access: Access, address: int) -> None:
        """An access of L2's, and KVM_RUN."""
        self.steps += (GuestL2(access, address), Run(0))

    @rule(ipa=st.sampled_from(fresh.L2_PAGES), slot=slots, offset=_PAGES, prot=st.integers(0, 7))
    def l1_map(self, ipa: int, slot: int, offset: int, prot: int) -> None:
        """A page of L2's."""
        self.steps.append(L1Map(ipa, slot, offset, prot, False))

    @rule(flags=st.sampled_from((0, *fresh.RUN_FLAGS)))
    def run(self, flags: int) -> None:
        """KVM_RUN once more."""
        self.steps.append(Run(flags))

    @rule(on=st.booleans())
    def memory_limit(self, on: bool) -> None:
        """No page can be charged, or again some."""
        self.steps.append(MemoryLimit(on))

    @rule(whole=gmems, extent=_EXTENTS, hole=st.booleans())
    def fallocate(self, whole: Part, extent: Extent, hole: bool) -> None:
        """Pages come or go."""
        part = whole.cut(extent)
        kind = PunchHole if hole else Allocate
        self.steps.append(kind(part.start, part.size))

    @rule(gmem=gmems)
    def release(self, gmem: Part) -> None:
        """The file goes."""
        self.steps.append(ReleaseGmem(gmem.number))

    @rule(whole=gmems, extent=_EXTENTS)
    def poison_gmem(self, whole: Part, extent: Extent) -> None:
        """A memory error in a page of a file."""
        part = whole.cut(extent)
        self.steps.append(PoisonGmem(part.start))

    @rule(whole=mems, extent=_EXTENTS)
    def poison_mem(self, whole: Part, extent: Extent) -> None:
        """A memory error in a page of the VMM's."""
        part = whole.cut(extent)
        self.steps.append(PoisonMem(part.start))

    @rule(whole=mems, extent=_EXTENTS)
    def unmap(self, whole: Part, extent: Extent) -> None:
        """Memory of the VMM goes."""
        part = whole.cut(extent)
        self.steps.append(Unmap(part.start, part.size))

    @rule(whole=mems, extent=_EXTENTS, prot=st.sampled_from(fresh.PROTECTIONS))
    def protect(self, whole: Part, extent: Extent, prot: Protection) -> None:
        """Memory of the VMM becomes less accessible."""
        part = whole.cut(extent)
        self.steps.append(Protect(part.start, part.size, prot))

    @rule(whole=mems, extent=_EXTENTS)
    def truncate(self, whole: Part, extent: Extent) -> None:
        """The file behind memory gets shorter."""
        part = whole.cut(extent)
        self.steps.append(Truncate(part.number, part.offset))

    @rule(whole=mems, extent=_EXTENTS, mode=st.sampled_from(UserfaultMode))
    def userfault(self, whole: Part, extent: Extent, mode: UserfaultMode) -> None:
        """Faults of the VMM's memory go to a userfaultfd."""
        part = whole.cut(extent)
        self.steps.append(Userfault(part.start, part.size, mode))

    @rule(slot=slots, log=st.booleans())
    def look(self, slot: int, log: bool) -> None:
        """The dirty log is read, or pages lose their access flag."""
        self.steps.append(GetDirtyLog(slot) if log else Age(slot))

    @rule()
    def skip(self) -> None:
        """The access in hand is skipped."""
        self.steps.append(Skip())

    @rule(step=_RARE)
    def rare(self, step: Step) -> None:
        """What needs nothing that was made before."""
        self.steps.append(step)

    def teardown(self) -> None:
        """The case."""
        self.examine(Case(self.vm, tuple(self.steps)))


class Search:
    """Examples, one after the other, until one shows something or the time is over."""

    def __init__(self, kernel: str, length: float, epoch: float) -> None:
        self.cases = 0
        self.ended = False
        self.signature = ""
        self.seconds = 0.0
        self._length = length
        self._observer = Observer(Model(), kernel, KERNELS[kernel], Reading.PARANOID)
        self._started = epoch

    def examine(self, case: Case) -> None:
        """One case."""
        self.cases += 1
        seen = self._observer.look(case)
        self.seconds = time.monotonic() - self._started
        if seen:
            self.signature = str(seen[0].signature)
        self.ended = bool(seen) or self.seconds >= self._length
        if self.ended:
            raise _EndError

    def run(self, first: int) -> None:
        """Until the end."""

        class Examined(Machine):
            examine = staticmethod(self.examine)

        for number in count(first * _STRIDE):
            with suppress(_EndError):
                run_state_machine_as_test(seed(number)(Examined), settings=HOW)
            if self.ended:
                return


def main() -> None:
    """Search, and say what came of it."""
    parser = argparse.ArgumentParser(prog="fuzz.measuring.stateful")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--epoch", type=float, required=True)
    given = parser.parse_args()
    search = Search(given.kernel, given.seconds, given.epoch)
    search.run(given.seed)
    tried = Tried(bool(search.signature), search.cases, round(search.seconds, 2), search.signature)
    sys.stdout.write(f"{msgspec.json.encode(tried).decode()}\n")


if __name__ == "__main__":
    main()
