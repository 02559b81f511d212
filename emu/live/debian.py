"""The Debian packages that a kernel or a QEMU is made of, and versions of them known to work."""

import re
from typing import Final, NamedTuple

from emu.live.packages import Index, Package, Version
from emu.live.trouble import RequestError

DEFAULT: Final = "debian-7.3"

_CLOUD: Final = "cloud-arm64"
_FLAVOURS: Final = {"": _CLOUD, "-16k": "arm64-16k", "-generic": "arm64"}
_NAME: Final = re.compile(r"(debian|qemu)-(\d+\.\d+(?:\.\d+)?)(-16k|-generic)?")
_QEMU: Final = "qemu-system-arm"
_ABI: Final = r"\d[\d.]*(?:[+~-](?:deb|rc)?\d[\d.]*)*"  # 7.3.4+deb13, 6.1.0-50, 7.4-rc2


class Pin(NamedTuple):
    """A version known to work, the hash of its package, and the suite that had it."""

    suite: str
    version: str
    sha256: str


# Written in November 2026. Mirrors drop old versions: then the newest of the series is taken.
PINS: Final = {
    "debian-7.3": Pin(
        "trixie-backports",
        "7.3.4-1~bpo13+1",
        "34dc0e1a6320440cc3f6e34d12ae099041a2e10555061d50ff4e5af602121788",
    ),
    "debian-7.3-16k": Pin(
        "trixie-backports",
        "7.3.4-1~bpo13+1",
        "40420b132c7ac6628f2e0f81de762a82423cc41b9df596f07fe5f9168a601185",
    ),
    "debian-7.3-generic": Pin(
        "trixie-backports",
        "7.3.4-1~bpo13+1",
        "0bbfeddbecdea8ab294daf09eb5cc1f4405af5c044b4b7aa57f5d1eaa205530f",
    ),
    "debian-7.2": Pin(
        "trixie-backports",
        "7.2.12-1~bpo13+1",
        "366671e9f5ee75dfaa64d08a0f627f2fedd0864c51c08871ac6634d521a22e79",
    ),
    "debian-7.1": Pin(
        "trixie-backports",
        "7.1.13-1~bpo13+1",
        "040813dd4f14307933172cc1a265cf63f6369112291ac82d8fd51d445066f198",
    ),
    "debian-7.0": Pin(
        "trixie-backports",
        "7.0.13-1~bpo13+1",
        "53eacd6e32d97f42a407f326d0bb42112dadfd09c434123404ef27860136cd86",
    ),
    "debian-6.19": Pin(
        "trixie-backports",
        "6.19.14-1~bpo13+1",
        "b971bc512825f5c82f4b98611139348be50e3495b2403884f31129d2aec74ec4",
    ),
    "debian-6.18": Pin(
        "trixie-backports",
        "6.18.15-1~bpo13+1",
        "d8769e7a5cd50d504354c1bb13d92becb004178ed1195e575d5680e33cb84c30",
    ),
    "qemu-7.2": Pin(  # the fastest of those tried
        "bookworm",
        "1:7.2+dfsg-7+deb12u18+b3",
        "78c4adf16152bb8ae1994784e966365128cae04d8ae37bc161bb0b6617c17d9c",
    ),
    "qemu-10.0": Pin(  # nested virtualisation needs 9 or newer
        "bookworm-backports",
        "1:10.0.2+ds-2+deb13u1~bpo12+1",
        "edebbab09db3882c48ef9c00049c7c6a2d76d195cb88d830baadd1fb705bbc66",
    ),
}
QEMUS: Final = tuple(name for name in PINS if name.startswith("qemu-"))
KERNELS: Final = tuple(name for name in PINS if name not in QEMUS)


class Part(NamedTuple):
    """A kernel or a QEMU to fetch. ``series`` may be a whole version, as in debian-7.3.4."""

    name: str
    is_qemu: bool
    series: str
    flavour: str
    suite: str
    pin: Pin | None


class Choice(NamedTuple):
    """The package that a part is, and what is to be said of the choice."""

    package: Package
    pinned: bool
    remark: str


def is_kernel(name: str) -> bool:
    """Whether a kernel to fetch may have this name."""
    form = _NAME.fullmatch(name)
    return form is not None and form[1] == "debian"


def part(name: str, suite: str | None) -> Part:
    """The part that has this name. RequestError if it cannot be one, or no suite is known."""
    form = _NAME.fullmatch(name)
    if form is None or (form[1] == "qemu" and form[3]):
        known = ", ".join(PINS)
        raise RequestError(f"unknown image {name!r} (known: {known}; others with --suite)")
    pin = PINS.get(name)
    if pin is not None and suite in (None, pin.suite):
        suite = pin.suite
    elif suite is None:
        raise RequestError(f"{name}: name the suite that has it with --suite")
    else:
        pin = None
    return Part(name, form[1] == "qemu", form[2], _FLAVOURS[form[3] or ""], suite, pin)


def suites(wanted: Part) -> tuple[str, ...]:
    """The part's suite; for a QEMU of backports also the suite that has its libraries."""
    base, backports, _ = wanted.suite.partition("-backports")
    return (base, wanted.suite) if wanted.is_qemu and backports else (wanted.suite,)


def choose(wanted: Part, index: Index) -> Choice:
    """The pinned package, or the newest of the series."""
    found = [each for each in _candidates(wanted, index) if _is_of(wanted.series, each)]
    if not found:
        raise RequestError(f"{wanted.name}: the suite {wanted.suite} has no such package")
    newest = max(found, key=lambda each: Version(each.version))
    if wanted.pin is None:
        return Choice(newest, pinned=False, remark="not pinned: the newest of the suite")
    for package in found:
        if package.sha256 == wanted.pin.sha256:
            return Choice(package, pinned=True, remark="")
        if package.version == wanted.pin.version:
            raise RequestError(f"{wanted.name}: the mirror's {package.version} has another hash")
    remark = f"the pinned {wanted.pin.version} is gone from the mirror: the newest of the series"
    return Choice(newest, pinned=False, remark=remark)


def is_library(name: str) -> bool:
    """Whether a package that QEMU needs may hold a library."""
    return name.startswith("lib") or name == "zlib1g"


def upstream(package: Package) -> str:
    """The version without Debian's part, as in 7.3.4."""
    digits = re.match(r"[0-9.]*[0-9]", Version(package.version).upstream)
    return digits[0] if digits else package.version


def _candidates(wanted: Part, index: Index) -> list[Package]:
    """The packages that hold it.

    Since 6.19 kernels are in linux-binary; the linux-image beside it is empty.
    """
    if wanted.is_qemu:
        return index.versions(_QEMU)
    for kind in ("binary", "image"):
        pattern = re.compile(rf"linux-{kind}-{_ABI}-{re.escape(wanted.flavour)}")
        found = index.matching(pattern)
        if any(_is_of(wanted.series, each) for each in found):
            return found
    return []


def _is_of(series: str, package: Package) -> bool:
    return f"{upstream(package)}.".startswith(f"{series}.")
