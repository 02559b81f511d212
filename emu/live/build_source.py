"""The kernel's source, out of Debian's package of it, in the cache."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from emu.live import apt, cache, debian
from emu.live.apt import Apt, Tell
from emu.live.debian import Pin
from emu.live.fetch import Source, unpack
from emu.live.packages import Index, Package, Version
from emu.live.trouble import MissingPartError, RequestError

# Written in November 2026. Where it is gone, the newest of the series is taken, as for an image.
PIN: Final = Pin(
    "trixie-backports",
    "7.3.4-1~bpo13+1",
    "703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3",
)
_PACKAGE: Final = "linux-source-7.3"
_ARCHIVE: Final = f"usr/src/{_PACKAGE}.tar.xz"
_TREE: Final = "tree"
_ORIGINALS: Final = "originals"
_RECORD: Final = "source.json"


class Origin(msgspec.Struct, frozen=True):
    """Which source it is, kept beside it."""

    version: str  # upstream's
    package: str
    package_version: str
    sha256: str
    suite: str
    pinned: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """An unpacked source. Files that were changed once have their originals beside the tree."""

    folder: Path
    origin: Origin

    @property
    def path(self) -> Path:
        """Where make is told to find it."""
        return self.folder / _TREE

    def original(self, file: str) -> str:
        """A file's content before any patch."""
        kept = self.folder / _ORIGINALS / file
        try:
            return (kept if kept.exists() else self.path / file).read_text()
        except FileNotFoundError:
            raise MissingPartError(f"{self.origin.package}: has no {file}") from None

    def change(self, files: dict[str, str]) -> None:
        """Make the tree the original with these files in it.

        What is the same already is not written, so that make leaves its objects alone.
        """
        for file in files:
            kept = self.folder / _ORIGINALS / file
            if not kept.exists():
                _write(kept, (self.path / file).read_text())
        originals = self.folder / _ORIGINALS
        for kept in sorted(path for path in originals.rglob("*") if path.suffix in (".c", ".h")):
            file = str(kept.relative_to(originals))
            content = files.get(file) or kept.read_text()
            if (self.path / file).read_text() != content:
                _write(self.path / file, content)


def folder() -> Path:
    """Where the source and what is built of it are kept."""
    return cache.root() / "build"


def present() -> Tree | None:
    """The source, if it is here."""
    path = folder() / _RECORD
    if not path.exists():
        return None
    try:
        return Tree(folder(), msgspec.json.decode(path.read_bytes(), type=Origin))
    except (OSError, msgspec.DecodeError) as error:
        raise MissingPartError(f"{path}: {error}; remove its folder and build again") from None


def fetch(source: Source, tell: Tell) -> Tree:
    """Bring the source into the cache."""
    mirror, keys = apt.mirror(source.mirror), apt.keyring(source.keys)
    with cache.workshop() as work:
        if here := present():  # another build brought it meanwhile, and may be at work in it
            return here
        packages = Apt(work / "apt", mirror, (PIN.suite,), "arm64", keys)
        origin, package = _chosen(packages.update(tell))
        unpack(packages.download([package], tell), work / "unpacked")
        prepared = work / "prepared"
        tree = prepared / _TREE
        tree.mkdir(parents=True)
        tell(100.0, "unpacking the source")
        _extract(work / "unpacked" / _ARCHIVE, tree)
        (prepared / _RECORD).write_bytes(msgspec.json.encode(origin))
        cache.install(prepared, folder())
    return Tree(folder(), origin)


def _chosen(index: Index) -> tuple[Origin, Package]:
    found = index.versions(_PACKAGE)
    if not found:
        raise RequestError(f"the suite {PIN.suite} has no {_PACKAGE}")
    pinned = [each for each in found if each.sha256 == PIN.sha256]
    if not pinned and any(each.version == PIN.version for each in found):
        raise RequestError(f"{_PACKAGE}: the mirror's {PIN.version} has another hash")
    package = pinned[0] if pinned else max(found, key=lambda each: Version(each.version))
    origin = Origin(
        version=debian.upstream(package),
        package=package.name,
        package_version=package.version,
        sha256=package.sha256,
        suite=PIN.suite,
        pinned=bool(pinned),
    )
    return origin, package


def _extract(archive: Path, tree: Path) -> None:
    command = [
        "tar",
        "-xJf",
        str(archive),
        "-C",
        str(tree),
        "--strip-components=1",
        "--no-same-owner",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingPartError(f"tar: {' '.join(done.stderr.split())}")


def _write(path: Path, content: str) -> None:
    """Whole or not at all: a build that is killed leaves no half of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.gff")
    new.write_text(content)
    new.replace(path)
