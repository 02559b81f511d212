"""Kernels and QEMUs brought into the cache, out of Debian's packages, without root."""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from emu.live import apt, cache, debian, images
from emu.live.apt import Apt, Tell
from emu.live.arm64_image import inspect
from emu.live.debian import Choice, Part
from emu.live.images import Record
from emu.live.packages import Index, Package
from emu.live.trouble import MissingPartError

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_KERNELS: Final = ("usr/lib/modules/*/vmlinuz", "boot/vmlinuz-*")  # where it has been since 7.1
_LOADERS: Final = ("lib/*/ld-linux-*.so.*", "usr/lib/*/ld-linux-*.so.*")
_FOUND: Final = re.compile(r"^\s*\S+ => (\S+) \(", re.MULTILINE)
_NOT_FOUND: Final = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """Where packages come from; None is for what this machine's configuration has."""

    mirror: str | None
    keys: Path | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A kernel or a QEMU that is in the cache now."""

    record: Record
    folder: Path
    mirror: str  # empty if it was here already
    downloaded: int  # bytes
    remark: str


def present(part: Part) -> Fetched | None:
    """The part, if it is in the cache and the pinned one, or of the suite that was asked for."""
    records = images.fetched_qemus() if part.is_qemu else images.kernels()
    for record in records:
        if record.name == part.name and record.suite == part.suite:
            return Fetched(record, _place(part), "", 0, "already here")
    return None


def fetch(part: Part, source: Source, tell: Tell) -> Fetched:
    """Bring a part into the cache, in the place of one of the same name."""
    mirror, keys = apt.mirror(source.mirror), apt.keyring(source.keys)
    architecture = _architecture() if part.is_qemu else "arm64"
    with cache.workshop() as folder:
        packages = Apt(folder / "apt", mirror, debian.suites(part), architecture, keys)
        index = packages.update(tell)
        choice = debian.choose(part, index)
        wanted = _wanted(part, choice, index)
        unpack(packages.download(wanted, tell), folder / "unpacked")
        record = _prepared(part, folder, _record(part, choice))
        cache.install(folder / "prepared", _place(part))
    downloaded = sum(each.size for each in wanted)
    return Fetched(record, _place(part), mirror, downloaded, choice.remark)


def _prepared(part: Part, folder: Path, record: Record) -> Record:
    """Of what is unpacked in a folder, that which is to be kept, with its record."""
    unpacked, prepared = folder / "unpacked", folder / "prepared"
    prepared.mkdir()
    prepare = keep_qemu if part.is_qemu else keep_kernel
    done = prepare(unpacked, prepared, record)
    (prepared / images.RECORD).write_bytes(msgspec.json.encode(done))
    return done


def _place(part: Part) -> Path:
    return (cache.qemus() if part.is_qemu else cache.images()) / part.name


def _architecture() -> str:
    """Debian's name for this machine's programs."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise MissingPartError(f"no QEMU can be fetched for {machine}: name one with --qemu")
    return _ARCHITECTURES[machine]


def _wanted(part: Part, choice: Choice, index: Index) -> list[Package]:
    if not part.is_qemu:
        return [choice.package]
    return index.closure(choice.package, debian.is_library)


def _record(part: Part, choice: Choice) -> Record:
    package = choice.package
    return Record(
        name=part.name,
        version=debian.upstream(package),
        package=package.name,
        package_version=package.version,
        sha256=package.sha256,
        suite=part.suite,
        pinned=choice.pinned,
    )


def unpack(files: Iterable[Path], folder: Path) -> None:
    """What is in packages, into a folder."""
    for file in files:
        try:
            done = subprocess.run(
                ["dpkg-deb", "--extract", file, folder], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise MissingPartError("dpkg-deb: not found") from None
        if done.returncode:
            raise MissingPartError(" ".join(done.stderr.split()))


def keep_kernel(unpacked: Path, prepared: Path, record: Record) -> Record:
    """The boot image, and what it says of itself."""
    kernel = _first(unpacked, _KERNELS, record.package)
    shutil.copyfile(kernel, prepared / images.KERNEL)
    seen = inspect(kernel)
    return msgspec.structs.replace(record, page_size=seen.page_size)


def keep_qemu(unpacked: Path, prepared: Path, record: Record) -> Record:
    """QEMU, its libraries and its loader, and none of what else the packages have."""
    program = _first(unpacked, (f"usr/bin/{images.PROGRAM}",), record.package)
    loader = _first(unpacked, _LOADERS, "libc6")
    libraries = prepared / images.LIBRARIES
    libraries.mkdir()
    for path in _libraries(unpacked, loader, program):
        # Not the name that was asked for: the loader's own is the machine's, from the root on.
        shutil.copy(path, libraries / path.name)
    shutil.copy(program, prepared / images.PROGRAM)
    shutil.copy(loader, prepared / images.LOADER)
    return record


def _libraries(unpacked: Path, loader: Path, program: Path) -> list[Path]:
    """What the loader finds among the unpacked."""
    folders = sorted({str(each.parent) for each in unpacked.rglob("*.so.*")})
    listed = subprocess.run(
        [loader, "--library-path", ":".join(folders), "--list", program],
        capture_output=True,
        text=True,
        check=False,
    )
    missing = _NOT_FOUND.findall(listed.stdout)
    if listed.returncode or missing:
        what = f"needs {', '.join(missing)}" if missing else listed.stderr.strip()
        raise MissingPartError(f"{program.name}: {what}")
    found = map(Path, _FOUND.findall(listed.stdout))
    return [path for path in found if path.is_relative_to(unpacked) and path != loader]


def _first(folder: Path, patterns: Iterable[str], package: str) -> Path:
    for pattern in patterns:
        for found in sorted(folder.glob(pattern)):
            return found
    raise MissingPartError(f"{package}: has no {' or '.join(patterns)}")
