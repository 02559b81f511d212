"""What processes print, kept within bounds: when a log is full its end goes to a second file."""

import os
from pathlib import Path
from typing import Final

MOST: Final = 1 << 20  # bytes, of each of the two
EARLIER: Final = ".1"


def earlier(log: Path) -> Path:
    """Where what a log had held is."""
    return log.with_name(f"{log.name}{EARLIER}")


def bounded(log: Path) -> None:
    """Empties a log that is full. Whoever writes there appends, and need not know."""
    try:
        size = log.stat().st_size
    except FileNotFoundError:
        return
    if size <= MOST:
        return
    with log.open("rb") as file:
        file.seek(size - MOST)
        earlier(log).write_bytes(file.read(MOST))
    os.truncate(log, 0)
