"""Debian packages as an index lists them: what each is, needs and hashes to, and which is newer."""

import re
from collections.abc import Callable, Iterable
from functools import total_ordering
from pathlib import Path
from typing import Final, NamedTuple

_NAME: Final = re.compile(r"^Package: (\S+)$", re.MULTILINE)
_FIELD: Final = re.compile(r"^([A-Za-z0-9-]+): (.*)$", re.MULTILINE)
_PARTS: Final = re.compile(r"(\D*)(\d*)")
_LETTERS: Final = 256  # what is not a letter sorts after all letters


class Package(NamedTuple):
    """One package of an index. ``needs`` has the first alternative of each dependency."""

    name: str
    version: str
    architecture: str
    size: int
    sha256: str
    needs: tuple[str, ...]


@total_ordering
class Version:
    """A version in the order of Debian Policy 5.6.12."""

    def __init__(self, text: str) -> None:
        epoch, colon, rest = text.partition(":")
        upstream, _, revision = (rest if colon else text).rpartition("-")
        number = int(epoch) if colon else 0
        # Without a hyphen everything is upstream's.
        upstream, revision = (upstream, revision) if upstream else (revision, "0")
        self.upstream: Final = upstream
        self._key = (number, _key(upstream), _key(revision))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._key == other._key

    def __lt__(self, other: "Version") -> bool:
        return self._key < other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Index:
    """The packages of some index files, found by name; of several versions the newest."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._paragraphs: dict[str, list[str]] = {}
        for file in files:
            for paragraph in file.read_text(encoding="utf-8").split("\n\n"):
                name = _NAME.search(paragraph)
                if name is not None:
                    self._paragraphs.setdefault(name[1], []).append(paragraph)

    def newest(self, name: str) -> Package | None:
        """The newest package of that name."""
        found = self.versions(name)
        return max(found, key=lambda each: Version(each.version)) if found else None

    def versions(self, name: str) -> list[Package]:
        """Every version of that name."""
        return [_package(text) for text in self._paragraphs.get(name, ())]

    def matching(self, pattern: re.Pattern[str]) -> list[Package]:
        """Every package whose name is of that form."""
        names = [name for name in self._paragraphs if pattern.fullmatch(name)]
        return [package for name in names for package in self.versions(name)]

    def closure(self, package: Package, wanted: Callable[[str], bool]) -> list[Package]:
        """The package and what it needs, as far as the names are wanted; each the newest."""
        found = {package.name: package}
        waiting = [package]
        while waiting:
            for name in filter(wanted, waiting.pop().needs):
                needed = self.newest(name)
                if needed is not None and name not in found:
                    found[name] = needed
                    waiting.append(needed)
        return list(found.values())


def _package(paragraph: str) -> Package:
    fields = dict(_FIELD.findall(paragraph))
    needs = ", ".join(fields.get(each, "") for each in ("Pre-Depends", "Depends"))
    return Package(
        name=fields["Package"],
        version=fields["Version"],
        architecture=fields["Architecture"],
        size=int(fields["Size"]),
        sha256=fields["SHA256"],
        needs=tuple(re.split(r"[ :|(]", need.strip())[0] for need in needs.split(",") if need),
    )


def _key(text: str) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Text and numbers in turn; a text that ends is ended by 0, above ``~`` and below the rest."""
    parts = [part for part in _PARTS.findall(text) if part != ("", "")]
    return (*((_order(word), int(number or 0)) for word, number in parts), (_order(""), 0))


def _order(word: str) -> tuple[int, ...]:
    return (*(_rank(letter) for letter in word), 0)


def _rank(letter: str) -> int:
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + _LETTERS
