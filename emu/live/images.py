"""The kernels and QEMUs that are here: those in the cache, and those that the user names."""

import difflib
import os
import re
import subprocess
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from emu.live import cache, debian
from emu.live.arm64_image import inspect
from emu.live.build_variants import MODELS, PREFIX, variant
from emu.live.trouble import MissingPartError, RequestError

KERNEL: Final = "Image"
RECORD: Final = "record.json"
PROGRAM: Final = "qemu-system-aarch64"
LOADER: Final = "ld.so"
LIBRARIES: Final = "lib"
NESTED_SINCE: Final = (9, 0)  # QEMU's FEAT_NV2

_VERSION: Final = re.compile(r"QEMU emulator version (\d+)\.(\d+)")


class Transport(Enum):
    """The bus that the kernel finds the box's port on."""

    PCI = "pci"  # Debian's kernels have it built in, and no other
    MMIO = "mmio"  # a kernel without PCI


class Record(msgspec.Struct, frozen=True):
    """What is known of a fetched or built kernel, or a QEMU, kept beside it.

    The last three are a built one's: a hash of all that it is made of, and some of that by name.
    """

    name: str
    version: str
    package: str
    package_version: str
    sha256: str
    suite: str
    pinned: bool
    page_size: int = 0
    transport: Transport = Transport.PCI
    recipe: str = ""
    patches: tuple[str, ...] = ()
    compiler: str = ""


@dataclass(frozen=True, slots=True)
class Qemu:
    """A QEMU: the words that start it, and its version."""

    command: tuple[str, ...]
    version: tuple[int, int]

    @property
    def nests(self) -> bool:
        """Whether its CPU can run a nested hypervisor."""
        return self.version >= NESTED_SINCE


@dataclass(frozen=True, slots=True)
class Image:
    """A kernel to boot, and the QEMUs to boot it with, the preferred first."""

    name: str
    kernel: Path
    version: str
    page_size: int
    qemus: tuple[Qemu, ...]
    transport: Transport = Transport.PCI

    @property
    def nests(self) -> bool:
        """Whether there is a QEMU for nested boxes."""
        return any(each.nests for each in self.qemus)

    def newer(self) -> "Image":
        """With the QEMUs alone that are new enough to nest, if there are any."""
        newer = tuple(each for each in self.qemus if each.nests)
        return replace(self, qemus=newer or self.qemus)

    def qemu(self, *, nested: bool) -> Qemu:
        """The QEMU for a box."""
        for each in self.qemus:
            if each.nests or not nested:
                return each
        what = f"QEMU {NESTED_SINCE[0]} or newer" if nested else "QEMU"
        raise MissingPartError(f"no {what} in the cache: gff live fetch qemu-10.0")


def image(name: str) -> Image:
    """The image in the cache that has this name."""
    folder = cache.images() / name
    known = [each.name for each in kernels()]
    if name not in known:
        raise _absent(name, known)
    record = _record(folder)
    qemus = tuple(_fetched(each) for each in fetched_qemus())
    return Image(name, folder / KERNEL, record.version, record.page_size, qemus, record.transport)


def _absent(name: str, here: list[str]) -> MissingPartError | RequestError:
    """Not here, though it can be made or fetched; or no kernel's name at all."""
    if name.startswith(PREFIX):
        return MissingPartError(f"{name} is not in the cache: gff live build {variant(name).image}")
    if debian.is_kernel(name):
        suite = "" if name in debian.PINS else " --suite NAME"
        return MissingPartError(f"{name} is not in the cache: gff live fetch {name}{suite}")
    built = (PREFIX + each for each in MODELS)
    near = difflib.get_close_matches(name, dict.fromkeys((*here, *debian.KERNELS, *built)), n=1)
    guess = f", did you mean {near[0]}?" if near else ""
    return RequestError(f"no kernel is called {name!r}{guess} (see gff live list)")


def own(kernel: Path, qemu: Path | None, transport: Transport = Transport.PCI) -> Image:
    """A kernel of the user's, with a QEMU of the user's or those of the cache."""
    seen = inspect(kernel)
    found = (users_qemu(qemu),) if qemu else tuple(_fetched(each) for each in fetched_qemus())
    return Image(str(kernel), kernel, seen.version, seen.page_size, found, transport)


def users_qemu(path: Path) -> Qemu:
    """A QEMU of the user's. RequestError if it is none."""
    if not path.is_file() or not os.access(path, os.X_OK):
        raise RequestError(f"--qemu {path}: not a program")
    try:
        told = subprocess.run(
            [path.resolve(), "--version"], capture_output=True, text=True, check=False, timeout=30
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RequestError(f"--qemu {path}: {error}") from None
    found = _VERSION.match(told)
    if found is None:
        raise RequestError(f"--qemu {path}: not a QEMU")
    return Qemu((str(path.resolve()),), (int(found[1]), int(found[2])))


def kernels() -> list[Record]:
    """The kernels in the cache."""
    return _records(cache.images())


def fetched_qemus() -> list[Record]:
    """The QEMUs in the cache, the oldest first: it is the fastest."""
    return sorted(_records(cache.qemus()), key=lambda each: _numbers(each.version))


def command(folder: Path) -> tuple[str, ...]:
    """The words that start the QEMU in a folder, with nothing of this machine's libraries."""
    libraries = str(folder / LIBRARIES)
    return (str(folder / LOADER), "--library-path", libraries, str(folder / PROGRAM))


def _fetched(record: Record) -> Qemu:
    return Qemu(command(cache.qemus() / record.name), _numbers(record.version))


def _records(folder: Path) -> list[Record]:
    return [_record(each.parent) for each in sorted(folder.glob(f"*/{RECORD}"))]


def _record(folder: Path) -> Record:
    path = folder / RECORD
    try:
        return msgspec.json.decode(path.read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError) as error:
        raise MissingPartError(f"{path}: {error}; remove its folder and fetch it again") from None


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = (*version.split("."), "0")
    return int(major), int(minor)
