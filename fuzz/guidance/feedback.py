"""What guides the search: branch arms and outcomes, as 8-bit counters that libFuzzer reads.

libFuzzer is given the addresses of two bytearrays, clears them before each case, and keeps an input
that leaves something new in them. One holds a counter for each branch arm of the model, the other
a mark for each kind of outcome: what KVM_RUN said is what the search is for.
"""

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Final

from emu.abi import ExitReason
from emu.outcome import RunOutcome
from fuzz.guidance.counted import CAPACITY
from fuzz.guidance.coverage import Arms

OUTCOMES: Final = 1 << 12
MEMORY_FAULT: Final = int(ExitReason.MEMORY_FAULT)
# Fill sites, as marks tell them apart.
NOWHERE: Final = 0
THIS_ACCESS: Final = 1
AN_EARLIER_ACCESS: Final = 2
_ALIGN: Final = 64
_FIRST_PC: Final = 1 << 12
_NO_ARMS: Final = bytes(CAPACITY)
_NO_OUTCOMES: Final = bytes(OUTCOMES)
_Bounds = tuple[ctypes.c_void_p, ctypes.c_void_p]


class Feedback:
    """The marks that cases of this process leave."""

    def __init__(self, arms: Arms) -> None:
        self.outcomes = bytearray(OUTCOMES)
        self._arms = arms
        self._seen = 0

    def mark(self, runs: Sequence[RunOutcome]) -> None:
        """Marks each KVM_RUN: fill site, errno, exit_reason, fresh, and what was there before."""
        outcomes = self.outcomes
        for run in runs:
            kept = run.before == MEMORY_FAULT
            filled = run.fresh and run.exit_reason == MEMORY_FAULT
            site = _fill_site(run) if filled else NOWHERE
            # Hashes of numbers, unlike those of text, are the same in every process.
            key = hash((site, run.errno, run.exit_reason, run.fresh, kept, run.access < 0))
            outcomes[key & OUTCOMES - 1] = 1

    def note_arms(self) -> None:
        """Adds the arms of the present case to those ever seen."""
        self._seen |= int.from_bytes(self._arms.counts[: len(self._arms.places)], "little")

    @property
    def arms_seen(self) -> int:
        """How many arms were seen at all."""
        size = len(self._arms.places)
        return size - self._seen.to_bytes(size, "little").count(0)

    @property
    def arms_known(self) -> int:
        """How many arms there are."""
        return len(self._arms.places)

    def features(self) -> int:
        """What the present case reached: its outcomes and its arms, a byte each of one number."""
        arms = self._arms.counts[: len(self._arms.places)]
        return int.from_bytes(self.outcomes + arms, "little")

    def clear(self) -> None:
        """Forgets the present case, as libFuzzer does before each."""
        self._arms.counts[:] = _NO_ARMS
        self.outcomes[:] = _NO_OUTCOMES

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs in here leaves no marks."""
        counts, outcomes = bytes(self._arms.counts), bytes(self.outcomes)
        try:
            yield
        finally:
            self._arms.counts[:] = counts
            self.outcomes[:] = outcomes

    @cached_property
    def regions(self) -> tuple["Region", "Region"]:
        """For libFuzzer; made after the last module with counters was imported, and kept alive."""
        size = -(-max(len(self._arms.places), 1) // _ALIGN) * _ALIGN
        return (
            Region(self._arms.counts, size, _FIRST_PC),
            Region(self.outcomes, OUTCOMES, _FIRST_PC + size),
        )


def _fill_site(run: RunOutcome) -> int:
    """What filled MEMORY_FAULT, as far as it can be told without the scene.

    gmem_abort() is the only function that does, today; what it filled for is another access if the
    guest has gone on from one in the same call.
    """
    return AN_EARLIER_ACCESS if run.exceptions else THIS_ACCESS


class Region:
    """The first bytes of a bytearray as 8-bit counters; keeps alive what it points to."""

    def __init__(self, counts: bytearray, size: int, first_pc: int) -> None:
        self._bytes = (ctypes.c_ubyte * size).from_buffer(counts)
        # libFuzzer wants a distinct address for each counter, and flags: here none.
        rows = [word for pc in range(first_pc, first_pc + size) for word in (pc, 0)]
        self._pcs = (ctypes.c_size_t * len(rows))(*rows)

    @property
    def counters(self) -> _Bounds:
        """Begin and end of the counters."""
        return _bounds(self._bytes)

    @property
    def pcs(self) -> _Bounds:
        """Begin and end of the PC table."""
        return _bounds(self._pcs)


def _bounds(array: ctypes.Array[ctypes.c_ubyte] | ctypes.Array[ctypes.c_size_t]) -> _Bounds:
    start = ctypes.addressof(array)
    return ctypes.c_void_p(start), ctypes.c_void_p(start + ctypes.sizeof(array))


def register(core: ctypes.CDLL, regions: Sequence[Region]) -> None:
    """Hands the regions to the libFuzzer inside ``core``; only from a running TestOneInput."""
    for region in regions:
        core.__sanitizer_cov_8bit_counters_init(*region.counters)
        core.__sanitizer_cov_pcs_init(*region.pcs)
