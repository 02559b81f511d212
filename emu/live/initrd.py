"""The initrd of a box: one program, and the folders and the console that the kernel wants first.

An archive of the form "newc", as Documentation/driver-api/early-userspace/buffer-format.rst has it.
"""

import stat
from dataclasses import dataclass
from typing import Final

INIT: Final = "init"

_MAGIC: Final = "070701"
_TRAILER: Final = "TRAILER!!!"
_FOLDERS: Final = ("dev", "proc", "sys")
_CONSOLE: Final = (5, 1)  # the numbers of /dev/console: the kernel opens it before init can mount


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the archive; ``device`` is the major and minor number of a device node."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def initrd(program: bytes) -> bytes:
    """The archive that runs ``program``, a static executable, as PID 1."""
    entries = [Entry(folder, stat.S_IFDIR | 0o755) for folder in _FOLDERS]
    entries.append(Entry("dev/console", stat.S_IFCHR | 0o600, device=_CONSOLE))
    entries.append(Entry(INIT, stat.S_IFREG | 0o755, program))
    return archive(entries)


def archive(entries: list[Entry]) -> bytes:
    """The entries in their order, and the trailer; the same entries give the same bytes."""
    written = [_record(number, entry) for number, entry in enumerate(entries, 1)]
    return b"".join([*written, _record(0, Entry(_TRAILER, 0))])


def _record(number: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    owner, group, modified, device, check = 0, 0, 0, (0, 0), 0
    fields = (
        *(number, entry.mode, owner, group, links, modified, len(entry.content)),
        *(*device, *entry.device, len(name), check),
    )
    header = _MAGIC + "".join(f"{field:08x}" for field in fields)
    return _padded(header.encode() + name) + _padded(entry.content)


def _padded(content: bytes) -> bytes:
    """Filled up to four bytes; the header's length is counted with the name's."""
    return content + bytes(-len(content) % 4)
