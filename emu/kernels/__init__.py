"""Every kernel that a case can be run on, and what is known of each."""

from typing import Final

from emu.kernels.clean import Clean
from emu.kernels.entry import Entry, Kind, both
from emu.kernels.known_bad import KNOWN_BAD
from emu.kernels.older import V70, V71, V72, V618, V619
from emu.kernels.releases import V73
from emu.kernels.thread import (
    GatedPrepare,
    GatedPrepareReset,
    RfcAlignErrno,
    ScribbleAsPosted,
    ScribbleOnExit,
)
from emu.kernels.twins import TWINS
from emu.kvm.kvm_main import Kernel

__all__ = ["CATALOGUE", "KERNELS", "Entry", "Kind"]

_LEAK: Final = both("C2-gmem_abort", "C2-earlier-fault-injected", "C3-earlier-fault-injected")
_VNCR: Final = both("C1-kvm_translate_vncr")
# Of L2's accesses, of stage-1 tables past the IPA space, and on hosts with large pages: what no
# proposal is about.
_ASIDE: Final = both(
    "C4-gmem_abort", "C4-gmem_abort_l2", "C10-kvm_walk_nested_s2", "C11-kvm_inject_sea-natural"
)
_RELEASE: Final = _LEAK + _VNCR + _ASIDE
_LIVELOCK: Final = both("C11-gmem_abort-natural")
_SCRIBBLE: Final = both("C7-gmem_abort", "C7-earlier-fault-injected", "C3-earlier-fault-injected")
_GATED: Final = both("C6-kvm_translate_vncr")

CATALOGUE: Final[dict[str, Entry]] = {
    "v7.3": Entry(V73(), Kind.RELEASE, _RELEASE),
    "v7.2": Entry(V72(), Kind.RELEASE, _RELEASE),
    "v7.1": Entry(V71(), Kind.RELEASE, _RELEASE),
    "v7.0": Entry(V70(), Kind.RELEASE, _RELEASE + _LIVELOCK),
    "v6.19": Entry(V619(), Kind.RELEASE, _RELEASE + _LIVELOCK),
    "v6.18": Entry(V618(), Kind.RELEASE, _RELEASE + _LIVELOCK),
    "rfc-align-errno": Entry(RfcAlignErrno(), Kind.PROPOSAL, _ASIDE),
    "scribble-on-exit": Entry(ScribbleOnExit(), Kind.PROPOSAL, _VNCR + _ASIDE + _SCRIBBLE),
    "scribble-as-posted": Entry(
        ScribbleAsPosted(), Kind.PROPOSAL, _VNCR + _ASIDE + _SCRIBBLE + both("C5-gmem_abort")
    ),
    "gated-prepare": Entry(GatedPrepare(), Kind.PROPOSAL, _VNCR + _ASIDE + _GATED),
    "gated-prepare-reset": Entry(GatedPrepareReset(), Kind.PROPOSAL, _VNCR + _ASIDE + _GATED),
    "clean": Entry(Clean(), Kind.CLEAN, ()),
    **KNOWN_BAD,
    **TWINS,
}

KERNELS: Final[dict[str, Kernel]] = {name: entry.kernel for name, entry in CATALOGUE.items()}
