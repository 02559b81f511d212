"""Semantic patches for the kernel: what each must change, and that it changes just that.

A half-applied cure would be a false verdict, so a patch declares its changes in its head, a line
for each function: ``// changes: FILE FUNCTION COUNT``, with ``-`` for outside of functions.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from importlib import resources
from itertools import takewhile
from typing import Final, NamedTuple

_DECLARED: Final = re.compile(r"// changes: (\S+) (\S+) (\d+)")
_FUNCTION: Final = re.compile(r"[A-Za-z_][^;={]*?\b(\w+)\(")
_OUTSIDE: Final = "-"

Apply = Callable[[str, str], str]  # a semantic patch and a C file to the changed C file


class PatchError(Exception):
    """A patch is wrong, or does not change what it must; one line."""


class Place(NamedTuple):
    """A function of a file of the kernel's."""

    file: str
    function: str

    def __str__(self) -> str:
        """For a message."""
        return f"{self.function}() in {self.file}" if self.function != _OUTSIDE else self.file


class Patch(NamedTuple):
    """A semantic patch, and how many changes it makes where."""

    name: str
    text: str
    changes: tuple[tuple[Place, int], ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it changes."""
        return tuple(dict.fromkeys(place.file for place, _ in self.changes))


def patch(name: str) -> Patch:
    """The patch of that name, which comes with this package."""
    folder = resources.files("emu.live") / "data" / "patches"
    return parsed(name, (folder / f"{name}.cocci").read_text())


def parsed(name: str, text: str) -> Patch:
    """A patch with its declarations. PatchError where it has none."""
    found = tuple((Place(match[1], match[2]), int(match[3])) for match in _declarations(text))
    if not found:
        raise PatchError(f"{name}: does not say what it changes")
    return Patch(name, text, found)


def patched(patches: Iterable[Patch], read: Callable[[str], str], apply: Apply) -> dict[str, str]:
    """The content of every file that the patches change, one patch after the other."""
    files: dict[str, str] = {}
    for each in patches:
        for file in each.files:
            before = files[file] if file in files else read(file)
            files[file] = apply(each.text, before)
            _check(each, file, changes(file, before, files[file]))
    return files


def changes(file: str, before: str, after: str) -> Counter[Place]:
    """How many runs of lines differ, by the function that they are in."""
    old, new = before.splitlines(), after.splitlines()
    start = sum(1 for _ in takewhile(_equal, zip(old, new, strict=False)))
    matcher = SequenceMatcher(None, old[start:], new[start:], autojunk=False)
    runs = (code for code in matcher.get_opcodes() if code[0] != "equal")
    # A function's own head may be what is replaced.
    lines = (start + line + (kind != "insert") for kind, line, _, _, _ in runs)
    return Counter(Place(file, _function(old[:line])) for line in lines)


def _check(asked: Patch, file: str, made: Counter[Place]) -> None:
    declared = {place: count for place, count in asked.changes if place.file == file}
    for place in dict.fromkeys((*declared, *made)):
        if made[place] != declared.get(place, 0):
            count = declared.get(place, 0)
            raise PatchError(
                f"{asked.name}: {made[place]} changes made, {count} expected, to {place}"
            )


def _declarations(text: str) -> Iterator[re.Match[str]]:
    return filter(None, map(_DECLARED.fullmatch, text.splitlines()))


def _equal(lines: tuple[str, str]) -> bool:
    return lines[0] == lines[1]


def _function(lines: Sequence[str]) -> str:
    """The function that begins last, as in the head of a diff's hunk."""
    for line in reversed(lines):
        found = _FUNCTION.match(line)
        if found is not None:
            return found[1]
    return _OUTSIDE
