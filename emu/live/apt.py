"""This machine's apt with lists, keys and settings of our own: for that one need not be root.

Proxies, certificates and mirrors are those of the machine's configuration; its state is not
touched.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Final

from emu.live.packages import Index, Package
from emu.live.trouble import MissingPartError, RequestError

Tell = Callable[[float, str], None]  # percent, and what is being done

_KEYRINGS: Final = tuple(
    Path("/usr/share/keyrings", name)
    for name in ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
)
_HOOKS: Final = tuple(
    f"#clear APT::Update::{moment};\n"
    for moment in ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
)
_STATUS: Final = re.compile(r"\w+:[^:]*:([0-9.]+):(.*)")
_UNKNOWN_SUITE: Final = "does not have a Release file"
_SITE: Final = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
_URL: Final = re.compile(r"[a-z+]+:/*[^\s/][^\s]*")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+/-]*")


class Apt:
    """Suites of a mirror of Debian, for one architecture; all that is written is in ``folder``."""

    def __init__(
        self, folder: Path, mirror: str, suites: Sequence[str], architecture: str, keys: Path
    ) -> None:
        self.architecture = architecture
        self._suites = suites
        self._folder = folder
        for each in ("lists/partial", "cache/archives/partial"):
            (folder / each).mkdir(parents=True)
        (folder / "hooks.conf").write_text("".join(_HOOKS))
        (folder / "debian.sources").write_text(
            f"Types: deb\nURIs: {mirror}\nSuites: {' '.join(suites)}\nComponents: main\n"
            f"Architectures: {architecture}\nTargets: Packages\nSigned-By: {keys}\n"
        )

    def update(self, tell: Tell) -> Index:
        """The index of every suite, fetched and its signature checked."""
        try:
            self._run(["update", "-o", "APT::Update::Error-Mode=any"], tell)
        except MissingPartError as error:
            if _UNKNOWN_SUITE in str(error):
                raise RequestError(f"the mirror has no suite {' or '.join(self._suites)}") from None
            raise
        files = list((self._folder / "lists").glob("*_Packages"))
        if not files:
            raise MissingPartError(f"apt-get: no packages for {self.architecture} were listed")
        return Index(files)

    def download(self, packages: Iterable[Package], tell: Tell) -> list[Path]:
        """The packages' files, each with the hash that the index has for it."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        wanted = list(packages)
        self._run(["download", *map(_exactly, wanted)], tell, folder)
        return [_verified(package, folder) for package in wanted]

    def _run(self, command: Sequence[str], tell: Tell, folder: Path | None = None) -> None:
        with tempfile.TemporaryFile("w+") as errors:
            reader, writer = os.pipe()
            with os.fdopen(reader) as status:
                try:
                    process = self._started(command, writer, errors, folder or self._folder)
                finally:
                    os.close(writer)
                with process:
                    for match in filter(None, map(_STATUS.match, status)):
                        tell(float(match[1]), match[2])
            if process.returncode:
                errors.seek(0)
                raise MissingPartError(f"apt-get: {_reason(errors.read())}")

    def _started(
        self, command: Sequence[str], status: int, errors: IO[str], folder: Path
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                ["apt-get", *self._options(), f"-oAPT::Status-Fd={status}", *command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, "LC_ALL": "C"},  # its messages are read
                pass_fds=(status,),
            )
        except FileNotFoundError:
            raise MissingPartError(_NO_APT) from None

    def _options(self) -> list[str]:
        folder = self._folder
        settings = (
            f"Dir::Etc::SourceList={folder / 'debian.sources'}",
            "Dir::Etc::SourceParts=-",
            f"Dir::State={folder}",
            f"Dir::State::Lists={folder / 'lists'}",
            "Dir::State::Status=/dev/null",
            f"Dir::Cache={folder / 'cache'}",
            f"APT::Architecture={self.architecture}",
            f"APT::Architectures={self.architecture}",
            "APT::Sandbox::User=root",  # else root's apt gives up a folder that only root may enter
            "Acquire::GzipIndexes=false",
            "Acquire::Retries=2",
            "Acquire::http::Timeout=20",
            "Acquire::https::Timeout=20",
        )
        hooks = f"--config-file={folder / 'hooks.conf'}"
        return [hooks, *(f"-o{each}" for each in settings)]


_NO_APT: Final = "apt-get: not found; give a kernel with --kernel-image and a QEMU with --qemu"


def mirror(given: str | None) -> str:
    """The mirror that was given, or the first of Debian in the machine's apt configuration."""
    if given is not None:
        if not _URL.fullmatch(given):
            raise RequestError(f"--mirror {given!r}: expected a URL")
        return given
    if shutil.which("apt-get") is None:
        raise MissingPartError(_NO_APT)
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", _SITE, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in listed.stdout.splitlines():
        origin, label, site = line.split("|", 2)
        # Without lists, as in a new container, apt does not know whose the mirrors are.
        known = origin == label == "Debian"
        if known or (origin == "$(ORIGIN)" and site.rstrip("/").endswith("/debian")):
            return site
    raise MissingPartError("apt's configuration has no mirror of Debian: name one with --mirror")


def keyring(given: Path | None) -> Path:
    """The keys that the archive is signed with."""
    if given is not None and not given.is_file():
        raise RequestError(f"--keyring {given}: no such file")
    for path in (given,) if given is not None else _KEYRINGS:
        if path.is_file():
            return path.resolve()
    raise MissingPartError(
        f"{_KEYRINGS[0]}: not found; install debian-archive-keyring or name the keys with --keyring"
    )


def suite(name: str) -> str:
    """The name of a suite, if it can be one."""
    if not _WORD.fullmatch(name):
        raise RequestError(f"--suite {name!r}: expected the name of a suite")
    return name


def _exactly(package: Package) -> str:
    return f"{package.name}={package.version}"


def _verified(package: Package, folder: Path) -> Path:
    file = next(folder.glob(f"{package.name}_*.deb"), None)
    if file is None:
        raise MissingPartError(f"apt-get: {package.name} was not downloaded")
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found != package.sha256:
        raise MissingPartError(
            f"{package.name}: SHA256 is {found}, the index says {package.sha256}"
        )
    return file


def _reason(errors: str) -> str:
    """The first line that apt marks as an error; it marks what follows from it as errors too."""
    lines = [line for line in errors.splitlines() if line.startswith("E: ")]
    warnings = [line for line in errors.splitlines() if line.startswith("W: ")]
    return next(iter([*lines, *warnings]), "E: failed without a word")[3:].strip()
