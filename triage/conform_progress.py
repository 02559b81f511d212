"""How far a comparison is, on standard error: one line on a terminal, else one now and then."""

import shutil
import sys
import time
from types import TracebackType
from typing import Final, Self

PLAIN_EVERY: Final = 10.0  # seconds between two lines where there is no terminal

_CLEAR: Final = "\r\x1b[K"


class ConformProgress:
    """The line, gone at the end where it can go."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._next = time.monotonic() + PLAIN_EVERY

    def update(self, doing: str) -> None:
        """Show what is being done."""
        if self._live:
            self._write(doing[: shutil.get_terminal_size().columns - 1])
        elif time.monotonic() >= self._next:
            self._next += PLAIN_EVERY
            sys.stderr.write(f"{doing}\n")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live:
            self._write("")

    def _write(self, content: str) -> None:
        sys.stderr.write(f"{_CLEAR}{content}")
        sys.stderr.flush()
