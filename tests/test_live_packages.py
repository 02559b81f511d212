"""Debian's indexes read: versions, dependencies, and which package a name stands for."""

from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from emu.live import debian
from emu.live.debian import PINS, Pin
from emu.live.packages import Index, Package, Version
from emu.live.trouble import RequestError

# Debian Policy 5.6.12, its example among them: each is older than the next.
ASCENDING: Final = (
    *("1~~", "1~~a", "1~", "1", "1a", "1+b1", "1.0-1~bpo12+1", "1.0-1", "1.0-1+b2", "1.0-2"),
    *("1.0.1-1", "7.3.4-1", "7.3.12-1", "7.10-1", "1:0.1-1", "2:0-1"),
)
SUITE: Final = "trixie-backports"


def paragraph(name: str, version: str, sha256: str = "", needs: str = "") -> str:
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: arm64\n"
        f"Depends: {needs}\nSize: 1\nSHA256: {sha256}\nDescription: text\n"
    )


def index(tmp_path: Path, *paragraphs: str) -> Index:
    file = tmp_path / "Packages"
    file.write_text("\n".join(paragraphs))
    return Index([file])


def kernels(tmp_path: Path, *names_and_versions: tuple[str, str]) -> Index:
    return index(tmp_path, *(paragraph(*each) for each in names_and_versions))


@pytest.mark.parametrize(("older", "newer"), list(pairwise(ASCENDING)))
def test_versions_are_in_the_order_of_debians_policy(older: str, newer: str) -> None:
    assert Version(older) < Version(newer)
    assert not Version(newer) < Version(older)


def test_zeros_before_a_number_do_not_count() -> None:
    assert Version("1.02-1") == Version("1.2-1")


def test_the_upstream_version_is_what_the_kernel_calls_itself() -> None:
    package = Package("name", "7.3.4-1~bpo13+1", "arm64", 1, "", ())
    assert debian.upstream(package) == "7.3.4"


def test_needs_are_followed_as_far_as_they_are_wanted(tmp_path: Path) -> None:
    found = index(
        tmp_path,
        paragraph("program", "1", needs="libone (>= 1), data, libtwo | libthree, libc6:any"),
        paragraph("libone", "1", needs="libtwo, libone"),
        paragraph("libtwo", "1"),
        paragraph("libtwo", "2", needs="program"),
        paragraph("libthree", "1"),
        paragraph("libc6", "1"),
        paragraph("data", "1"),
    )
    program = found.newest("program")
    assert program is not None
    closure = {each.name: each.version for each in found.closure(program, debian.is_library)}
    assert closure == {"program": "1", "libone": "1", "libtwo": "2", "libc6": "1"}


# Name asked for, the packages there are, the one taken.
KERNELS: Final = (
    # Since 6.19 the kernel is in linux-binary, and linux-image is empty.
    ("debian-7.3", ("image-7.3.4+deb13-cloud-arm64", "binary-7.3.4+deb13-cloud-arm64"), 1),
    ("debian-6.18", ("image-6.18.15+deb13-cloud-arm64", "image-6.18.5+deb13-cloud-arm64"), 0),
    # Neither unsigned kernels nor debug symbols, nor another flavour or series.
    ("debian-7.3", ("binary-unsigned-7.3.9-cloud-arm64", "binary-7.3.4-cloud-arm64"), 1),
    ("debian-7.3", ("image-7.3.9-cloud-arm64-dbg", "image-7.3.4-cloud-arm64"), 1),
    ("debian-7.3", ("binary-7.3.9-arm64", "binary-7.3.4-cloud-arm64"), 1),
    ("debian-7.3-generic", ("binary-7.3.4-cloud-arm64", "binary-7.3.4-arm64"), 1),
    ("debian-7.3-16k", ("binary-7.3.4-arm64", "binary-7.3.4-arm64-16k"), 1),
    ("debian-7.3", ("binary-7.30.1-cloud-arm64", "binary-7.3.4-cloud-arm64"), 1),
    # A whole version is a series too.
    ("debian-7.3.4", ("binary-7.3.9-cloud-arm64", "binary-7.3.4-cloud-arm64"), 1),
    ("debian-6.1", ("image-6.1.0-50-cloud-arm64", "image-6.1.0-9-cloud-arm64"), 0),
)


@pytest.mark.parametrize(("name", "there", "taken"), KERNELS)
def test_a_name_stands_for_one_kernel(
    name: str, there: tuple[str, ...], taken: int, tmp_path: Path
) -> None:
    versions = {each: each.split("-cloud")[0].split("-arm64")[0].split("-", 1)[1] for each in there}
    found = kernels(tmp_path, *((f"linux-{each}", f"{versions[each]}-1") for each in there))
    choice = debian.choose(debian.part(name, "some-suite"), found)
    assert choice.package.name == f"linux-{there[taken]}"


def pinned(tmp_path: Path, *versions_and_hashes: tuple[str, str]) -> debian.Choice:
    name = "linux-binary-7.3.4+deb13-cloud-arm64"
    found = index(tmp_path, *(paragraph(name, *each) for each in versions_and_hashes))
    part = debian.part("debian-7.3", None)._replace(pin=Pin(SUITE, "7.3.4-1", "aa"))
    return debian.choose(part, found)


def test_the_pinned_version_is_taken_before_a_newer_one(tmp_path: Path) -> None:
    choice = pinned(tmp_path, ("7.3.4-1", "aa"), ("7.3.9-1", "bb"))
    assert (choice.package.version, choice.pinned, choice.remark) == ("7.3.4-1", True, "")


def test_where_the_pinned_version_is_gone_the_newest_is_taken_and_it_is_said(
    tmp_path: Path,
) -> None:
    choice = pinned(tmp_path, ("7.3.8-1", "cc"), ("7.3.9-1", "bb"))
    assert (choice.package.version, choice.pinned) == ("7.3.9-1", False)
    assert "the pinned 7.3.4-1 is gone" in choice.remark


def test_the_pinned_version_with_another_hash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="another hash"):
        pinned(tmp_path, ("7.3.4-1", "bb"), ("7.3.9-1", "cc"))


def test_a_suite_of_the_users_is_not_pinned() -> None:
    assert debian.part("debian-7.3", "sid").pin is None
    assert debian.part("debian-7.3", SUITE).pin == PINS["debian-7.3"]


def test_a_qemu_of_backports_finds_its_libraries_in_the_suite_below() -> None:
    part = debian.part("qemu-10.0", None)
    assert debian.suites(part) == ("bookworm", "bookworm-backports")
    assert debian.suites(debian.part("debian-7.3", None)) == (SUITE,)


@pytest.mark.parametrize("name", ["", "debian", "debian-7", "qemu-10.0-16k", "ubuntu-7.3", "../x"])
def test_a_name_that_stands_for_nothing_is_refused(name: str) -> None:
    with pytest.raises(RequestError, match="unknown image"):
        debian.part(name, "sid")


@pytest.mark.parametrize("name", PINS)
def test_every_pinned_name_is_one_that_can_be_asked_for(name: str) -> None:
    assert debian.part(name, None).pin == PINS[name]
