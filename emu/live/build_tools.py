"""The programs that a kernel is built with, and what to install where one is missing."""

import shutil
import subprocess
from typing import Final

from emu.live.trouble import MissingPartError

CROSS: Final = "aarch64-linux-gnu-"

# A program, and Debian's package with it.
_NEEDED: Final = (
    ("make", "make"),
    ("gcc", "gcc"),
    (f"{CROSS}gcc", "gcc-aarch64-linux-gnu"),
    (f"{CROSS}addr2line", "binutils-aarch64-linux-gnu"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("perl", "perl"),
    ("xz", "xz-utils"),
    ("tar", "tar"),
    ("spatch", "coccinelle"),
)


def check() -> None:
    """MissingPartError with a line for each program that is not here."""
    missing = [each for each in _NEEDED if shutil.which(each[0]) is None]
    if missing:
        lines = (
            f"{program}: not found; Debian has it in {package}" for program, package in missing
        )
        raise MissingPartError("\n".join(lines))


def compiler() -> str:
    """The cross compiler's own words about its version, which a built kernel depends on."""
    told = subprocess.run(
        [f"{CROSS}gcc", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return told.partition("\n")[0]
