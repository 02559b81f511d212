"""The kernel's source, from a mirror in a folder: unpacked once, and refused if it is another."""

import io
import shutil
import tarfile
from pathlib import Path
from typing import Final

import pytest

from emu.live import build_source
from emu.live.build_source import Tree
from emu.live.debian import Pin
from emu.live.fetch import Source
from emu.live.trouble import RequestError
from tests.live_repository import Repository

NEEDED: Final = ("apt-get", "dpkg-deb", "gpg", "gpgconf", "tar", "xz")
NAME: Final = "linux-source-7.3"
FILE: Final = b"VERSION = 9\n"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A mirror whose suite is the pinned one; the cache is a folder of its own."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not found: {', '.join(missing)}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Repository(tmp_path / "mirror")
    monkeypatch.setattr(build_source, "PIN", Pin(made.suite, "9.8.7-1", "00"))
    return made


def archive() -> bytes:
    """A source of one file, as Debian packs it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as tar:
        entry = tarfile.TarInfo(f"{NAME}/Makefile")
        entry.size = len(FILE)
        tar.addfile(entry, io.BytesIO(FILE))
    return content.getvalue()


def fetched(mirror: Repository) -> Tree:
    return build_source.fetch(Source(mirror.url, mirror.keys), lambda _percent, _doing: None)


def test_a_source_is_unpacked_and_is_there_from_then_on(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.8-1", f"usr/src/{NAME}.tar.xz", archive())
    mirror.sign()
    assert build_source.present() is None
    tree = fetched(mirror)
    assert (tree.path / "Makefile").read_bytes() == FILE
    assert (tree.origin.version, tree.origin.pinned) == ("9.8.8", False)
    assert build_source.present() == tree


def test_a_source_that_another_build_brought_meanwhile_is_left_alone(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.8-1", f"usr/src/{NAME}.tar.xz", archive())
    mirror.sign()
    built_in = fetched(mirror).path / "object"
    built_in.touch()
    assert fetched(mirror).path / "object" == built_in
    assert built_in.exists()


def test_the_pinned_version_with_another_hash_is_refused(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.7-1", f"usr/src/{NAME}.tar.xz", archive())
    mirror.sign()
    with pytest.raises(RequestError, match=r"the mirror's 9\.8\.7-1 has another hash"):
        fetched(mirror)


def test_a_suite_without_a_source_is_named(mirror: Repository) -> None:
    mirror.add("another", "1", "usr/share/doc/readme", b"nothing")
    mirror.sign()
    with pytest.raises(RequestError, match=f"{mirror.suite} has no {NAME}"):
        fetched(mirror)
