"""The builds in the cache: each found by a digest of all that it is made of, and whole.

So one of other source is never used, nor one that something was removed from.
"""

import hashlib
import importlib.metadata
import platform
import shutil
import sysconfig
from pathlib import Path
from typing import Final

import msgspec

from emu.live import cache
from fuzz.native.modules import PACKAGES
from fuzz.processes import SOURCE

KEPT: Final = 3  # the newest; a worker whose build goes runs the source when it starts again
NOT_COPIED: Final = "__pycache__"
_SIZES: Final = "build.json"  # of every extension module


def folder() -> Path:
    """Where they are."""
    return cache.root() / "native"


def found() -> Path | None:
    """The build of the source that runs here, if it was made and is whole."""
    place = place_of(SOURCE)
    return place if is_whole(place) else None


def are_unfit() -> bool:
    """Whether there are builds, but none that is whole and of the source that runs here."""
    return found() is None and any(folder().glob(f"*/{_SIZES}"))


def place_of(tree: Path) -> Path:
    """Where the build of the packages below ``tree`` is, if it was made."""
    return folder() / digest(tree)


def digest(tree: Path) -> str:
    """Of the packages below ``tree``, of what compiles them, and of the Python that loads that."""
    made_by = f"{_version('mypy')} {platform.python_version()} {sysconfig.get_config_var('SOABI')}"
    found = hashlib.sha256(made_by.encode())
    files = (path for package in PACKAGES for path in (tree / package).rglob("*"))
    for path in sorted(path for path in files if path.is_file()):
        if path.parent.name != NOT_COPIED:
            content = path.read_bytes()
            found.update(f"\n{path.relative_to(tree)} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def is_whole(place: Path) -> bool:
    """Whether nothing was removed or cut short since it was made."""
    try:
        sizes = msgspec.json.decode((place / _SIZES).read_bytes(), type=dict[str, int])
        return all((place / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return False


def seal(root: Path) -> None:
    """Writes down what a build has, as its last file."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    sizes = {str(file.relative_to(root)): file.stat().st_size for file in root.rglob(f"*{suffix}")}
    (root / _SIZES).write_bytes(msgspec.json.encode(sizes))


def forget_all_but_the_newest() -> None:
    """Removes the older ones."""
    builds = sorted(folder().glob(f"*/{_SIZES}"), key=lambda path: path.stat().st_mtime)
    for path in builds[:-KEPT]:
        shutil.rmtree(path.parent)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
