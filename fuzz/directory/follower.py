"""Reads a campaign's samples again and again, each line once."""

import os
from pathlib import Path

import msgspec

from fuzz.directory.series import STATISTICS, Sample, samples
from fuzz.directory.store import Bad


class Follower:
    """The reader of one campaign's samples, while somebody may write them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = 0
        self._read = 0
        self._samples: list[Sample] = []

    def samples(self, bad: Bad = None) -> list[Sample]:
        """All samples so far. What is none is told to ``bad``; without, it is a StoreError."""
        try:
            lines = self._new().splitlines()
            self._samples += [msgspec.json.decode(line, type=Sample) for line in lines]
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            self._file = 0  # begin anew the next time
            return samples(self._root, bad)  # it can say what is wrong, and in which line
        return self._samples

    def _new(self) -> bytes:
        """The whole lines that were not read yet."""
        path = self._root / STATISTICS
        if not path.is_file():  # a pipe, opened, would wait for its writer
            raise FileNotFoundError
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if about.st_ino != self._file or about.st_size < self._read:  # thinned in between
                self._file, self._read, self._samples = about.st_ino, 0, []
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        return whole
