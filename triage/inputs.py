"""What the user names: kernels, readings, coverage. Each is found, or one line says why not."""

import difflib
import importlib.util
import shlex
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from emu.kernels import KERNELS
from fuzz.campaign.hook import PLACEHOLDERS, unknown_placeholder
from fuzz.guidance.coverage import Mode
from fuzz.native import builds
from fuzz.oracle.contract import Reading
from fuzz.processes import SOURCE
from fuzz.search.orders import Engine
from triage.ending import UserError

DEFAULT_KERNEL: Final = "v7.3"

_LISTED: Final = 12  # as many names as a line of an error may have


def kernel_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """The kernels named, each once, in the order of their first mention."""
    for name in names or ():
        if name not in KERNELS:
            raise UserError(unknown("kernel", name, KERNELS))
    return tuple(dict.fromkeys(names or (DEFAULT_KERNEL,)))


def reading(name: str) -> Reading:
    """The reading of the contract that has this name."""
    known = {each.value: each for each in Reading}
    if name not in known:
        raise UserError(unknown("reading", name, known))
    return known[name]


def coverage_mode(name: str) -> Mode:
    """The way of guiding a campaign that has this name."""
    known = {each.value: each for each in Mode}
    if name not in known:
        raise UserError(unknown("coverage mode", name, known))
    return known[name]


def engine(name: str | None, mode: Mode) -> Engine:
    """The engine that has this name; else atheris, or what takes its place where it is not."""
    if name is None:
        here = importlib.util.find_spec("atheris") is not None or mode is Mode.ATHERIS
        return Engine.ATHERIS if here else Engine.PLAIN
    known = {each.value: each for each in Engine}
    if name not in known:
        raise UserError(unknown("engine", name, known))
    if known[name] is Engine.PLAIN and mode is Mode.ATHERIS:
        raise UserError("--engine plain: --coverage atheris needs the engine atheris")
    return known[name]


def worker_tree(mode: Mode, *, interpreted: bool) -> Path:
    """The packages that workers run: what was compiled of the source here, or the source.

    atheris counts branches in Python's bytecode, of which compiled code has none.
    """
    if interpreted or mode is Mode.ATHERIS:
        return SOURCE
    return builds.found() or SOURCE


def whole_number(option: str, least: int, most: int) -> Callable[[str], int]:
    """What reads the number that is given with ``option``."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise UserError(f"{option} {text!r}: expected a whole number") from None
        if number < least:
            raise UserError(f"{option} {text}: at least {least}")
        if number > most:
            raise UserError(f"{option} {text}: at most {most}")
        return number

    return read


def command(option: str, text: str | None) -> tuple[str, ...]:
    """The words of a command, split as a shell does; () for none. The program has to be there."""
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        reason = str(error)
        raise UserError(f"{option} {text!r}: {reason[:1].lower()}{reason[1:]}") from error
    if not words:
        raise UserError(f"{option} {text!r}: expected a command")
    if shutil.which(words[0]) is None:
        raise UserError(f"{option} {text!r}: no such program: {words[0]}")
    if (wrong := unknown_placeholder(words)) is not None:
        known = ", ".join(PLACEHOLDERS)
        raise UserError(f"{option} {text!r}: unknown placeholder {wrong!r} (known: {known})")
    return words


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Says that there is no such thing, and which there are."""
    known = tuple(known)
    near = difflib.get_close_matches(name, known, n=1)
    guess = f", did you mean {near[0]}?" if near else ""
    more = f", and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return f"unknown {what} {name!r}{guess} (known: {', '.join(known[:_LISTED])}{more})"
