"""How far a download is, on one line of a terminal; nothing where there is none."""

import shutil
import sys
from types import TracebackType
from typing import Final, Self

from triage.screen import printable

_CLEAR: Final = "\r\x1b[K"


class Download:
    """The line, rewritten with every update and gone at the end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._live = sys.stderr.isatty()

    def update(self, percent: float, doing: str) -> None:
        """Show what is being done."""
        columns = shutil.get_terminal_size().columns
        self._write(printable(f"{self._name}  {percent:3.0f} %  {doing}")[: columns - 1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._write("")

    def _write(self, text: str) -> None:
        if self._live:
            sys.stderr.write(f"{_CLEAR}{text}")
            sys.stderr.flush()
