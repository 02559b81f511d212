"""Standard output and standard error: where text of user files is never read as markup."""

import os
import re
import sys
from collections.abc import Iterable
from typing import Final, TextIO

import msgspec
from rich.console import Console, RenderableType

PIPE_WIDTH: Final = 120  # where there is no terminal to ask and COLUMNS is not set
_END: Final = re.compile(r"(?: |\x1b\[[0-9;]*m)+$", re.MULTILINE)


def console(stream: TextIO) -> Console:
    """A console that colours only terminals, and none where NO_COLOR is set."""
    plain = not stream.isatty() or bool(os.environ.get("NO_COLOR"))
    width = PIPE_WIDTH if not stream.isatty() and "COLUMNS" not in os.environ else None
    return Console(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        color_system=None if plain else "auto",
        width=width,
    )


def show(*parts: RenderableType) -> None:
    """Print for people, on standard output."""
    out = console(sys.stdout)
    with out.capture() as capture:
        for part in parts:
            out.print(part, soft_wrap=isinstance(part, str))
    sys.stdout.write(trimmed(capture.get()))


def trimmed(page: str) -> str:
    """Without the blanks that end its lines: tables are padded, and a mail should not be."""
    return _END.sub(lambda end: end[0].replace(" ", ""), page)


def show_json(record: object) -> None:
    """Print for programs: one object on one line of standard output."""
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")


def note(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(printable(line) + "\n")
    sys.stderr.flush()


def complain(words: str) -> None:
    """What stands in the way, or is amiss, on standard error."""
    note(f"gff: {words}")


def complain_of(damaged: Iterable[str]) -> None:
    """Of files that are left out."""
    for each in damaged:
        complain(f"{each}; left out")


def printable(text: str) -> str:
    """``text`` on one line, with escapes in place of what a terminal would act upon."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )
