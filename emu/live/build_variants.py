"""Kernels that can be built: which patches make each, and what its modelled twin is called."""

import difflib
import re
from typing import Final, NamedTuple

from emu.live.trouble import RequestError

PREFIX: Final = "gff-"  # of an image's name, and behind the version in uname's release

_CLEAN: Final = ("rfc-align-errno", "cure-gpa", "cure-nested-walk", "cure-walk-beyond")

# The patches of each, in their order; every kernel has the injection's besides.
PATCHES: Final[dict[str, tuple[str, ...]]] = {
    "v7.3": (),
    # of the thread
    "rfc-align-errno": ("rfc-align-errno",),
    "scribble-on-exit": ("scribble-on-exit",),
    "scribble-as-posted": ("scribble-as-posted",),
    "gated-prepare": ("gated-prepare",),
    "gated-prepare-reset": ("gated-prepare", "gated-prepare-reset"),
    "clean": _CLEAN,
}
SLIPS: Final = (  # one patch each, on top of clean
    "bad-dirty-once",
    "bad-fault-as-poison",
    "bad-flags-private",
    "bad-gpa-as-gfn",
    "bad-immediate-exit",
    "bad-memory-retry",
    "bad-nested-gpa",
    "bad-nested-swap-address",
    "bad-poison-as-fault",
    "bad-prepare-forgotten",
    "bad-raw-errno",
    "bad-reason-kept",
    "bad-report-and-abort",
    "bad-return-zero",
    "bad-size-zero",
    "bad-user-memory-fault",
    "bad-vncr-return-zero",
)
# clean without one of its cures, or with a proposal's slip
OTHERS: Final[dict[str, tuple[str, ...]]] = {
    "bad-nested-walk-twice": tuple(each for each in _CLEAN if each != "cure-nested-walk"),
    "bad-scribble-sign": (*_CLEAN, "scribble-as-posted"),
    "bad-walk-beyond": tuple(each for each in _CLEAN if each != "cure-walk-beyond"),
}
MODELS: Final = (*PATCHES, *sorted((*SLIPS, *OTHERS)))
KCOV: Final = "kcov"  # it tells which lines were reached
CONFIGS: Final = ("16k", KCOV)  # what may stand behind a kernel's name

_INJECTABLE: Final = "injectable"
_RELEASE: Final = re.compile(rf"-{PREFIX}(.+)-[0-9a-f]{{8}}$")


class Variant(NamedTuple):
    """A kernel to build: a modelled kernel's name, and how else it is configured."""

    model: str
    config: str  # empty for the plain one

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"{self.model}-{self.config}" if self.config else self.model

    @property
    def image(self) -> str:
        """Its name in the cache."""
        return f"{PREFIX}{self.name}"

    @property
    def patches(self) -> tuple[str, ...]:
        """Their names, in the order in which they are applied."""
        if self.model in SLIPS:
            return (_INJECTABLE, *_CLEAN, self.model)
        return (_INJECTABLE, *(PATCHES | OTHERS)[self.model])

    @property
    def configs(self) -> tuple[str, ...]:
        """The names of its lists of options, in the order in which they are laid over another."""
        return ("base", self.config) if self.config else ("base",)


def variant(name: str) -> Variant:
    """The kernel of that name, as in ``clean`` or ``v7.3-16k``. RequestError if there is none."""
    plain = name.removeprefix(PREFIX)
    for config in ("", *CONFIGS):
        model = plain.removesuffix(f"-{config}") if config else plain
        if model in MODELS:
            return Variant(model, config)
    near = difflib.get_close_matches(plain, MODELS, n=1)
    guess = f", did you mean {near[0]}?" if near else ""
    raise RequestError(f"no kernel {name!r} can be built{guess} (see gff live list)")


def modelled(release: str) -> str | None:
    """The modelled kernel that a built one of this release says it is."""
    found = _RELEASE.search(release)
    try:
        return variant(found[1]).model if found else None
    except RequestError:
        return None
