"""A mirror of Debian in a folder: one suite with the packages that a test makes up."""

import hashlib
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

PAGES_16K: Final = 2 << 1  # in the flags of an Image's header
_SUITE: Final = "test-suite"
_WHO: Final = "a test"


def boot_image(release: str, flags: int = PAGES_16K) -> bytes:
    """As much of an arm64 Image as is looked at."""
    header = struct.pack("<24xQ24xI", flags, int.from_bytes(b"ARM\x64", "little"))
    return header + f"Linux version {release} (someone)".encode()


class Repository:
    """Its folder is a mirror's; ``keys`` are those that ``sign`` signs with."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.keys: Final = folder / "keys.gpg"
        self.suite: Final = _SUITE
        self._index = folder / "dists" / _SUITE / "main" / "binary-arm64" / "Packages"
        self._index.parent.mkdir(parents=True)
        self._index.touch()

    @property
    def url(self) -> str:
        """For --mirror."""
        return f"file:{self.folder}"

    def add(self, name: str, version: str, path: str, content: bytes) -> Path:
        """A package of one file; its place in the mirror."""
        tree = self.folder / "tree"
        place = tree / path
        place.parent.mkdir(parents=True)
        place.write_bytes(content)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: arm64\n"
            f"Maintainer: {_WHO} <test@example.org>\nDescription: made up\n"
        )
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "control").write_text(control)
        package = self.folder / f"{name}_{version}_arm64.deb"
        _run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(package))
        shutil.rmtree(tree)
        content = package.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        with self._index.open("a") as index:
            index.write(
                f"{control}Filename: {package.name}\nSize: {len(content)}\nSHA256: {digest}\n\n"
            )
        return package

    def sign(self) -> None:
        """Write the suite's Release, signed."""
        index = self._index.read_bytes()
        digest = hashlib.sha256(index).hexdigest()
        release = (
            f"Origin: Debian\nSuite: {_SUITE}\nCodename: {_SUITE}\nArchitectures: arm64\n"
            "Components: main\nDate: Sun, 01 Nov 2026 00:00:00 UTC\n"
            f"SHA256:\n {digest} {len(index)} main/binary-arm64/Packages\n"
        )
        place = self._index.parents[2] / "Release"
        place.write_text(release)
        home = self.folder / "gpg"
        home.mkdir(mode=0o700)
        gpg = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "")
        try:
            _run(*gpg, "--quick-generate-key", _WHO, "ed25519", "sign", "never")
            _run(*gpg, "--output", str(self.keys), "--export", _WHO)
            signed = str(place.with_name("InRelease"))
            _run(*gpg, "--output", signed, "--clear-sign", str(place))
        finally:
            _run("gpgconf", "--homedir", str(home), "--kill", "all")


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
