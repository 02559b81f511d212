"""What the processes that we start have in common: environment, exit statuses, last words."""

import os
from pathlib import Path
from typing import Final

import fuzz

UNUSABLE: Final = 2  # exit status of a worker: the campaign directory cannot be used
NO_ENGINE: Final = 3  # exit status of a worker: the engine is not installed here


def environment() -> dict[str, str]:
    """Our own, with this very package first, and hashes of text always the same."""
    root = str(Path(fuzz.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


def last_line(log: Path) -> str:
    """The last line that a process printed to its log."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "a worker died without a word")
