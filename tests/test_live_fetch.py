"""Fetching, from a mirror in a folder: what is verified, what is kept, and what is left alone."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from emu.live import cache, debian, fetch, images
from emu.live.apt import Apt
from emu.live.debian import Part
from emu.live.fetch import Source
from emu.live.images import Record
from emu.live.trouble import MissingPartError, RequestError
from tests.live_repository import Repository, boot_image

NEEDED: Final = ("apt-get", "dpkg-deb", "gpg", "gpgconf")
NAME: Final = "linux-binary-9.8.7+deb99-cloud-arm64"
PLACE: Final = "usr/lib/modules/9.8.7/vmlinuz"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """An empty mirror; the cache is a folder of its own, with a blank in its name."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"not found: {', '.join(missing)}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    return Repository(tmp_path / "mirror")


def fetched(mirror: Repository, name: str = "debian-9.8") -> fetch.Fetched:
    part = debian.part(name, mirror.suite)
    return fetch.fetch(part, Source(mirror.url, mirror.keys), lambda _percent, _doing: None)


def test_a_kernel_is_fetched_with_what_its_image_says(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    found = fetched(mirror).record
    assert (found.version, found.page_size, found.pinned) == ("9.8.7", 0x4000, False)


def test_a_fetched_kernel_is_the_image_that_a_box_boots(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    fetched(mirror)
    assert images.image("debian-9.8").kernel.read_bytes() == boot_image("9.8.7")


def test_nothing_but_what_was_fetched_is_left(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    fetched(mirror)
    left = {str(path.relative_to(cache.root())) for path in cache.root().rglob("*")}
    place = "images/debian-9.8"
    assert left == {".lock", "images", place, f"{place}/Image", f"{place}/record.json"}


def test_fetching_again_takes_the_place_of_what_was_there(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    (fetched(mirror).folder / "leftover").touch()
    assert not (fetched(mirror).folder / "leftover").exists()


def test_the_newest_of_the_series_is_taken(mirror: Repository) -> None:
    for version in ("9.8.7", "9.8.12", "9.9.1"):
        name = f"linux-binary-{version}+deb99-cloud-arm64"
        mirror.add(name, f"{version}-1", PLACE, boot_image(version))
    mirror.sign()
    assert fetched(mirror).record.version == "9.8.12"


def test_a_package_that_is_not_the_indexed_one_is_refused(mirror: Repository) -> None:
    package = mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    content = bytearray(package.read_bytes())
    content[-1] ^= 1
    package.write_bytes(content)
    with pytest.raises(MissingPartError, match=r"(?i)hash|sha256"):
        fetched(mirror)


def test_a_download_is_hashed_by_us_as_well(mirror: Repository, tmp_path: Path) -> None:
    mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    asked = Apt(tmp_path / "apt", mirror.url, [mirror.suite], "arm64", mirror.keys)
    package = asked.update(lambda _percent, _doing: None).newest(NAME)
    assert package is not None
    with pytest.raises(MissingPartError, match=f"SHA256 is {package.sha256}, the index says 00"):
        asked.download([package._replace(sha256="0" * 64)], lambda _percent, _doing: None)


def test_an_index_that_is_not_the_signed_one_is_refused(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    mirror.add(NAME, "9.8.8-1", PLACE, boot_image("9.8.8"))
    with pytest.raises(MissingPartError, match="apt-get: "):
        fetched(mirror)


def test_a_mirror_signed_by_another_is_refused(mirror: Repository, tmp_path: Path) -> None:
    mirror.add(NAME, "9.8.7-1", PLACE, boot_image("9.8.7"))
    mirror.sign()
    other = Repository(tmp_path / "other")
    other.sign()
    shutil.copy(other.keys, mirror.keys)
    with pytest.raises(MissingPartError, match=r"not signed|verif"):
        fetched(mirror)


def test_a_suite_that_the_mirror_lacks_is_named(mirror: Repository) -> None:
    mirror.sign()
    part = debian.part("debian-9.8", "no-suite")
    source = Source(mirror.url, mirror.keys)
    with pytest.raises((RequestError, MissingPartError), match="no-suite"):
        fetch.fetch(part, source, lambda _percent, _doing: None)


def test_a_package_without_a_kernel_is_said_to_have_none(mirror: Repository) -> None:
    mirror.add(NAME, "9.8.7-1", "usr/share/doc/readme", b"nothing")
    mirror.sign()
    with pytest.raises(MissingPartError, match=f"{NAME.partition('+')[0]}.*has no"):
        fetched(mirror)


# The loader's own name is an absolute one: what lies there is the machine's, and root could write.
def test_preparing_a_qemu_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim.so.2"
    victim.write_text("untouched")
    unpacked, prepared = tmp_path / "unpacked", tmp_path / "prepared"
    library = unpacked / "usr/lib/some/libfoo.so.1"
    loader = unpacked / "lib/some/ld-linux-some.so.2"
    program = unpacked / "usr/bin/qemu-system-aarch64"
    listing = ((victim, loader), (victim, library), (library.name, library))
    script = "".join(f"echo ' {name} => {path} (0x1)'\n" for name, path in listing)
    for path, content in ((library, "a library"), (program, "a program"), (loader, script)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{content}")
    loader.chmod(0o755)
    prepared.mkdir()
    part = Part("qemu-1.0", is_qemu=True, series="1.0", flavour="", suite="s", pin=None)
    fetch.keep_qemu(unpacked, prepared, record(part))
    assert victim.read_text() == "untouched"
    assert {path.name for path in prepared.rglob("*")} == {
        *("lib", "libfoo.so.1", "ld.so", "qemu-system-aarch64")
    }


def test_a_qemu_with_a_library_missing_is_refused(tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    loader = unpacked / "lib/some/ld-linux-some.so.2"
    program = unpacked / "usr/bin/qemu-system-aarch64"
    for path in (loader, program):
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\necho ' libfoo.so.1 => not found'\n")
    loader.chmod(0o755)
    part = Part("qemu-1.0", is_qemu=True, series="1.0", flavour="", suite="s", pin=None)
    with pytest.raises(MissingPartError, match=r"needs libfoo\.so\.1"):
        fetch.keep_qemu(unpacked, tmp_path, record(part))


def record(part: Part) -> Record:
    return Record(part.name, "1.0", "a-package", "1.0-1", "0" * 64, part.suite, pinned=False)
