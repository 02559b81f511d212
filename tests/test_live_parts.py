"""The small parts of a box: frames, the initrd, boot images, the cache and the commands on it."""

import stat
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.live import apt, cache, images, initrd, qemu
from emu.live.arm64_image import inspect
from emu.live.frames import LONGEST, FrameError, Unframer, framed
from emu.live.images import Image, Qemu
from emu.live.initrd import Entry
from emu.live.needs import Needs
from emu.live.qemu import Wiring
from emu.live.trouble import MissingPartError, RequestError
from tests.command import Gff
from tests.live_repository import boot_image
from triage.live_views import Booted, booted_rows
from triage.screen import show

HEADER: Final = 110

FAST: Final = Qemu(("fast",), (7, 2))
NEW: Final = Qemu(("new",), (10, 0))


@given(st.lists(st.binary(max_size=40)), st.integers(min_value=1, max_value=50))
def test_frames_are_whole_however_their_bytes_come(bodies: list[bytes], step: int) -> None:
    content = b"".join(map(framed, bodies))
    unframer = Unframer()
    pieces = (content[place : place + step] for place in range(0, len(content), step))
    assert [body for piece in pieces for body in unframer.feed(piece)] == bodies


def test_a_frame_beyond_all_measure_is_an_error() -> None:
    with pytest.raises(FrameError, match=str(LONGEST + 1)):
        Unframer().feed((LONGEST + 1).to_bytes(4, "little"))


def unpacked(content: bytes) -> list[Entry]:
    """The entries of an archive, as the kernel's unpacker finds them."""
    found: list[Entry] = []
    place = 0
    while not found or found[-1].name != "TRAILER!!!":
        assert place % 4 == 0
        assert content[place : place + 6] == b"070701"
        fields = [int(content[at : at + 8], 16) for at in range(place + 6, place + HEADER, 8)]
        mode, size, device, name_size = fields[1], fields[6], (fields[9], fields[10]), fields[11]
        name = content[place + HEADER : place + HEADER + name_size - 1].decode()
        start = -(-(place + HEADER + name_size) // 4) * 4
        found.append(Entry(name, mode, content[start : start + size], device))
        place = -(-(start + size) // 4) * 4
    assert place == len(content)
    return found[:-1]


@given(st.lists(st.binary(max_size=9)))
def test_an_archive_has_every_entry_whole(contents: list[bytes]) -> None:
    entries = [
        Entry("n" * (number + 1), stat.S_IFREG | 0o644, content)
        for number, content in enumerate(contents)
    ]
    assert unpacked(initrd.archive(entries)) == entries


def test_the_initrd_has_the_program_and_a_console() -> None:
    found = {entry.name: entry for entry in unpacked(initrd.initrd(b"program"))}
    assert found["init"] == Entry("init", stat.S_IFREG | 0o755, b"program")
    assert found["dev/console"] == Entry("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1))


@pytest.mark.parametrize(("flags", "size"), [(2, 0x1000), (4, 0x4000), (6, 0x10000), (3, 0x1000)])
def test_a_boot_image_says_its_page_size_and_version(flags: int, size: int, tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(boot_image("9.8.7-test", flags))
    assert inspect(path) == (size, "9.8.7-test")


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b" + bytes(100), bytes(200)])
def test_what_is_no_boot_image_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Image"
    path.write_bytes(content)
    with pytest.raises(RequestError, match="not an uncompressed arm64 Image"):
        inspect(path)


def image(*qemus: Qemu) -> Image:
    return Image("a name", Path("Image"), "1", 0x1000, qemus)


def test_a_box_takes_the_first_qemu_that_can_do_it() -> None:
    assert image(FAST, NEW).qemu(nested=False) == FAST
    assert image(FAST, NEW).qemu(nested=True) == NEW


def test_without_a_qemu_that_can_do_it_the_one_to_fetch_is_named() -> None:
    with pytest.raises(MissingPartError, match="gff live fetch qemu"):
        image(FAST).qemu(nested=True)


@pytest.mark.parametrize(
    ("needed", "without"), [(Needs(), True), (Needs(injecting=True, debugfs=True), False)]
)
def test_a_box_boots_with_debugfs_only_where_it_is_needed(needed: Needs, without: bool) -> None:
    words = qemu.command(image(FAST), needed, Wiring(3, 4, 5))
    assert ("debugfs=off" in words[words.index("-append") + 1].split()) == without


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test here sees the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "guest-fault-fuzzer"


def test_a_broken_record_is_told_with_its_file(own_cache: Path) -> None:
    folder = own_cache / "images" / "debian-9.8"
    folder.mkdir(parents=True)
    (folder / images.RECORD).write_text("{")
    with pytest.raises(MissingPartError, match=f"{folder / images.RECORD}: "):
        images.kernels()


def test_an_empty_cache_lists_what_can_be_fetched(call: Gff) -> None:
    ended = call("live", "list")
    assert ended.status == 0
    assert "debian-7.3, debian-7.3-16k" in ended.out


def test_a_capability_that_arm64_leaves_unsaid_is_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = ("cap-sve=1", "cap-memory-fault-info=0")
    show(booted_rows(Booted("debian-7.3", "7.3.4", 0x1000, "7.2", False, 1, 1, 1, 1, told, ())))
    page = capsys.readouterr().out
    assert "cap-sve=1\n" in page
    assert "cap-memory-fault-info=0  (arm64 does not advertise it" in page


# What is wrong, the words that must be in the one line, the exit status.
WRONG: Final = (
    (("fetch", "nonsense"), "unknown image 'nonsense'", 2),
    (("fetch", "debian-5.10"), "name the suite", 2),
    (("fetch", "--suite", "two words"), "--suite 'two words'", 2),
    (("fetch", "--mirror", "no url"), "--mirror 'no url'", 2),
    (("fetch", "--mirror", "file:/x", "--keyring", "none"), "--keyring none: no such file", 2),
    (("boot",), "gff live fetch debian-7.3", 3),
    (("boot", "--image", "debian-7.3-16"), "did you mean debian-7.3-16k? (see gff live list)", 2),
    (("boot", "--image", "../etc"), "no kernel is called '../etc' (see gff live list)", 2),
    (("boot", "--image", "qemu-7.2"), "no kernel is called 'qemu-7.2'", 2),
    (("boot", "--image", "clean"), "did you mean gff-clean?", 2),
    (
        ("boot", "--image", "gff-clean"),
        "gff-clean is not in the cache: gff live build gff-clean",
        3,
    ),
    (("boot", "--image", "gff-claen"), "did you mean clean?", 2),
    (("coverage", "gff-v7.3-kcov"), "gff live build gff-v7.3-kcov", 3),
    (("coverage", "nix"), "no kernel is called 'nix'", 2),
    (("boot", "--transport", "usb"), "unknown transport 'usb'", 2),
    (("boot", "--kernel-image", "none"), "none: No such file or directory", 2),
)


@pytest.mark.parametrize(("arguments", "words", "status"), WRONG)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], words: str, status: int, call: Gff
) -> None:
    ended = call("live", *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_without_apt_it_is_said_what_else_can_be_done(
    call: Gff, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = call("live", "fetch")
    assert ended.status == 3
    assert "apt-get: not found" in ended.err
    assert "--kernel-image" in ended.err


def test_a_qemu_that_is_none_is_refused(call: Gff, tmp_path: Path) -> None:
    kernel = tmp_path / "Image"
    kernel.write_bytes(boot_image("9.8.7"))
    ended = call("live", "boot", "--kernel-image", str(kernel), "--qemu", "/bin/true")
    assert (ended.status, "not a QEMU" in ended.err) == (2, True)


# What apt prints of its sources (origin, label, place), and the one that is Debian's.
SOURCES: Final = (
    (("Debian|Debian-Security|u:/s", "Debian|Debian|u:/d/"), "u:/d/"),
    (("$(ORIGIN)|$(LABEL)|u:/cloud", "$(ORIGIN)|$(LABEL)|u:/x/debian/"), "u:/x/debian/"),
    (("Ubuntu|Ubuntu|u:/debian", "Debian|Debian|mirror+file:/etc/m"), "mirror+file:/etc/m"),
)


def pretend_apt(folder: Path, *lines: str) -> None:
    program = folder / "apt-get"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o755)


@pytest.mark.parametrize(("lines", "found"), SOURCES)
def test_the_mirror_is_the_first_of_debian_that_apt_has(
    lines: tuple[str, ...], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_apt(tmp_path, *lines)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert apt.mirror(None) == found


def test_a_machine_without_a_mirror_of_debian_is_told_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_apt(tmp_path, "Ubuntu|Ubuntu|u:/ubuntu")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(MissingPartError, match="--mirror"):
        apt.mirror(None)


def test_what_a_killed_fetch_left_behind_is_removed_by_the_next(own_cache: Path) -> None:
    with cache.workshop() as folder:
        leftover = folder.with_name(f"{folder.name}-left")
        (leftover / "lists").mkdir(parents=True)
    with cache.workshop():
        assert not leftover.exists()
    assert [path.name for path in own_cache.iterdir()] == [".lock"]


def test_a_relative_cache_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "guest-fault-fuzzer"
