"""A kernel's boot image: is it one that QEMU starts, its page size, its version.

The header is that of Documentation/arch/arm64/booting.rst, section 4.
"""

import re
import struct
from pathlib import Path
from typing import Final, NamedTuple

from emu.live.trouble import RequestError

_HEADER: Final = struct.Struct("<24xQ24xI")  # flags, and the magic number behind three fields
_MAGIC: Final = int.from_bytes(b"ARM\x64", "little")
_PAGE_SIZES: Final = (0, 0x1000, 0x4000, 0x10000)  # by bits 1 and 2 of the flags
_BANNER: Final = re.compile(rb"Linux version (\d[\w.+~-]*) \(")


class BootImage(NamedTuple):
    """What an image says of itself; the version is uname's release."""

    page_size: int
    version: str


def inspect(path: Path) -> BootImage:
    """Look into a boot image. RequestError if it is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from None
    flags, magic = _HEADER.unpack_from(content.ljust(_HEADER.size, b"\0"))
    page_size = _PAGE_SIZES[flags >> 1 & 3]
    if magic != _MAGIC:
        raise RequestError(f"{path}: not an uncompressed arm64 Image")
    if not page_size:
        raise RequestError(f"{path}: its header does not say its page size")
    banner = _BANNER.search(content)
    return BootImage(page_size, banner[1].decode() if banner else "unknown")
