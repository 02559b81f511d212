"""Every kernel that a case can be run on, and what is known of each."""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from emu.kernels.clean import Clean
from emu.kernels.known_bad import (
    BadAddressLeft,
    BadGpaUnaligned,
    BadImmediateExit,
    BadPrepareForgotten,
    BadRawErrno,
    BadReasonKept,
    BadReturnZero,
    BadScribbleSign,
    BadSizeZero,
    BadUnknownExit,
    BadWalkMmio,
)
from emu.kernels.releases import V73
from emu.kernels.thread import (
    GatedPrepare,
    GatedPrepareReset,
    RfcAlignErrno,
    ScribbleAsPosted,
    ScribbleOnExit,
)
from emu.kvm.kvm_main import Kernel


@unique
class Kind(Enum):
    """Why a kernel is here."""

    RELEASE = "release"
    PROPOSAL = "proposal"
    CLEAN = "clean"
    KNOWN_BAD = "known bad"


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel, its kind, and the signatures that the paranoid reading finds in it.

    ``breaks`` is what tests hold the judge to: all of these, and no other.
    """

    kernel: Kernel
    kind: Kind
    breaks: tuple[str, ...]


def _bad(kernel: Kernel, *causes: str) -> Entry:
    """A known-bad kernel whose slip shows with a natural cause as well as after an injection."""
    breaks = (f"{cause}-{how}" for cause in causes for how in ("natural", "injected"))
    return Entry(kernel, Kind.KNOWN_BAD, tuple(breaks))


_LEAK: Final = ("C2-gmem_abort-natural", "C2-gmem_abort-injected")

CATALOGUE: Final[dict[str, Entry]] = {
    "v7.3": Entry(
        V73(), Kind.RELEASE, (*_LEAK, "C2-earlier-fault-injected", "C3-earlier-fault-injected")
    ),
    "rfc-align-errno": Entry(RfcAlignErrno(), Kind.PROPOSAL, ()),
    "scribble-on-exit": Entry(
        ScribbleOnExit(),
        Kind.PROPOSAL,
        (
            "C7-gmem_abort-natural",
            "C7-gmem_abort-injected",
            "C7-earlier-fault-injected",
            "C3-earlier-fault-injected",
        ),
    ),
    "scribble-as-posted": Entry(
        ScribbleAsPosted(),
        Kind.PROPOSAL,
        (
            "C5-gmem_abort-natural",
            "C5-gmem_abort-injected",
            "C7-gmem_abort-natural",
            "C7-gmem_abort-injected",
            "C7-earlier-fault-injected",
            "C3-earlier-fault-injected",
        ),
    ),
    "gated-prepare": Entry(GatedPrepare(), Kind.PROPOSAL, ()),
    "gated-prepare-reset": Entry(GatedPrepareReset(), Kind.PROPOSAL, ()),
    "clean": Entry(Clean(), Kind.CLEAN, ()),
    "bad-scribble-sign": _bad(BadScribbleSign(), "C5-gmem_abort"),
    "bad-reason-kept": _bad(BadReasonKept(), "C3-earlier-run"),
    "bad-return-zero": _bad(BadReturnZero(), "C1-gmem_abort"),
    "bad-gpa-unaligned": _bad(BadGpaUnaligned(), "C4-gmem_abort"),
    "bad-size-zero": _bad(BadSizeZero(), "C4-gmem_abort"),
    "bad-prepare-forgotten": _bad(BadPrepareForgotten(), "C5-gmem_abort"),
    "bad-address-left": Entry(
        BadAddressLeft(),
        Kind.KNOWN_BAD,
        ("C7-gmem_abort-natural", "C7-gmem_abort-injected", "C7-earlier-fault-injected"),
    ),
    "bad-raw-errno": _bad(BadRawErrno(), "C2-gmem_abort"),
    "bad-unknown-exit": _bad(BadUnknownExit(), "C6-run-loop"),
    "bad-immediate-exit": _bad(BadImmediateExit(), "C8-before-loop"),
    "bad-walk-mmio": _bad(BadWalkMmio(), "C13-io_mem_abort"),
}

KERNELS: Final[dict[str, Kernel]] = {name: entry.kernel for name, entry in CATALOGUE.items()}
