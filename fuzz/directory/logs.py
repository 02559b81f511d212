"""What processes print, kept within bounds: when a log is full its end goes to a second file."""

import os
import stat
from pathlib import Path
from typing import Final

from fuzz.directory import durable

MOST: Final = 1 << 20  # bytes, of each of the two
EARLIER: Final = ".1"


def earlier(log: Path) -> Path:
    """Where what a log had held is."""
    return log.with_name(f"{log.name}{EARLIER}")


def bounded(log: Path) -> None:
    """Empties a log that is full. Whoever writes there appends, and need not know."""
    try:
        found = log.stat()
    except FileNotFoundError:
        return
    if stat.S_ISFIFO(found.st_mode):  # opened, it would wait for its reader
        durable.set_aside(log)
    if not stat.S_ISREG(found.st_mode) or found.st_size <= MOST:
        return
    with log.open("rb") as file:
        file.seek(found.st_size - MOST)
        earlier(log).write_bytes(file.read(MOST))
    os.truncate(log, 0)
