"""One line of a case file, taken word by word from the left.

A reader asks for what may stand next. The line keeps what was asked for in vain, so that an error
can name everything that would have been right there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Final, TypeVar

from emu.abi import U64
from emu.steps import OBJECTS, Ref

T = TypeVar("T")

U32: Final = (1 << 32) - 1
END: Final = "the end of the line"

_WORD: Final = re.compile(r"[^ \t\r]+")
_NUMBER: Final = re.compile(r"0x[0-9A-Fa-f]+|0|[1-9][0-9]*")
_PADDED: Final = re.compile(r"0[0-9]+")
_REFERENCE: Final = re.compile(r"([a-z]+[0-9]+)([+-])(.*)")
_LONGEST: Final = 40  # characters: no number in range needs as many, and no error shows more
_MIDDLE: Final = 1 << 63


class CaseSyntaxError(ValueError):
    """The text is wrong; ``str()`` is FILE:LINE:COLUMN, what was found, what was expected."""

    def __init__(self, name: str, line: int, column: int, found: str, expected: str) -> None:
        super().__init__(name, line, column, found, expected)
        self.line = line
        self.column = column

    def __str__(self) -> str:
        name, line, column, found, expected = self.args
        return f"{name}:{line}:{column}: found {found}, expected {expected}"


@unique
class Thing(Enum):
    """What a case numbers; the value is its spelling before the number."""

    MEM = "mem"
    GMEM = "gmem"
    SLOT = "slot"


LAST: Final = {Thing.MEM: OBJECTS - 1, Thing.GMEM: OBJECTS - 1, Thing.SLOT: U32}


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or the part of it that is being read, and the column that it starts in."""

    text: str
    column: int

    def after(self, count: int) -> "Word":
        """What follows the first ``count`` characters."""
        return Word(self.text[count:], self.column + count)

    def parts(self) -> list["Word"]:
        """What stands between the commas."""
        words, column = [], self.column
        for text in self.text.split(","):
            words.append(Word(text, column))
            column += len(text) + 1
        return words


@dataclass(slots=True)
class Line:
    """A line that is being read.

    ``hopes`` are the shapes that could have stood next, ``asked`` those that the word taken last
    had to have.
    """

    name: str
    number: int
    words: Sequence[Word]
    taken: int = 0
    hopes: list[str] = field(default_factory=list)
    asked: str = ""

    @staticmethod
    def split(name: str, number: int, text: str) -> "Line":
        """The words of ``text`` up to its comment."""
        bare = text.partition("#")[0]
        words = [Word(match[0], match.start() + 1) for match in _WORD.finditer(bare)]
        return Line(name, number, words)

    # What may stand next.

    def more(self) -> bool:
        """Is there another word?"""
        return self.taken < len(self.words)

    def ahead(self, prefix: str, shape: str) -> bool:
        """Does the next word start like this? If not, ``shape`` would still have been right."""
        if self.more() and self.words[self.taken].text.startswith(prefix):
            return True
        self.hopes.append(shape)
        return False

    def accept(self, text: str) -> bool:
        """Take the next word if it is exactly this one."""
        found = self.more() and self.words[self.taken].text == text
        if found:
            self.need(text)
        else:
            self.hopes.append(text)
        return found

    def need(self, shape: str) -> Word:
        """Take the next word, which must be there; the line has at least one."""
        self.asked = one_of([*self.hopes, shape])
        self.hopes.clear()
        if not self.more():
            end = self.words[-1].column + len(self.words[-1].text)
            raise CaseSyntaxError(self.name, self.number, end, END, self.asked)
        self.taken += 1
        return self.words[self.taken - 1]

    def rest(self) -> Sequence[Word]:
        """Take all the words that are left."""
        words = self.words[self.taken :]
        self.taken = len(self.words)
        return words

    def done(self) -> None:
        """There must be no other word."""
        if not self.more():
            return
        word = self.words[self.taken]
        key = word.text.partition("=")[0]
        if key in {other.text.partition("=")[0] for other in self.words[: self.taken]}:
            raise self.twice(word)
        raise self.wrong(word, one_of([*self.hopes, END]))

    # What a word says.

    def value(self, key: str, shape: str = "NUMBER") -> Word:
        """Take KEY=VALUE, of which the value is left to read."""
        word = self.need(f"{key}={shape}")
        if not word.text.startswith(f"{key}="):
            raise self.wrong(word, self.asked)
        return word.after(len(key) + 1)

    def pick(self, table: Mapping[str, T]) -> T:
        """Take a word that stands for something in ``table``."""
        return self.choice(self.need(one_of(list(table))), table)

    def choice(self, word: Word, table: Mapping[str, T]) -> T:
        """What ``word`` stands for in ``table``."""
        if word.text not in table:
            raise self.wrong(word, one_of(list(table)))
        return table[word.text]

    def bits(self, words: Sequence[Word], table: Mapping[str, int]) -> int:
        """The bits that ``words`` stand for, each said once."""
        bits = 0
        for word in words:
            bit = self.choice(word, table)
            if bits & bit:
                raise self.twice(word)
            bits |= bit
        return bits

    def integer(self, word: Word, first: int = 0, last: int = U64) -> int:
        """``word`` as a number in range."""
        if _NUMBER.fullmatch(word.text) and len(word.text) <= _LONGEST:
            number = int(word.text, 0)
            if first <= number <= last:
                return number
        if _PADDED.fullmatch(word.text):
            raise self.wrong(word, "a number without a leading zero")
        shown = str(last) if last <= 0xFFFF else f"{last:#x}"
        raise self.wrong(word, f"a number (0xHEX or decimal) from {first} to {shown}")

    def index(self, word: Word, thing: Thing) -> int:
        """``word`` as memN, gmemN or slotN."""
        digits = word.after(len(thing.value))
        if not word.text.startswith(thing.value) or not digits.text.isdecimal():
            raise self.wrong(word, self.asked)
        return self.integer(digits, last=LAST[thing])

    def reference(self, word: Word, thing: Thing) -> Ref:
        """``word`` as memN+OFFSET, gmemN+OFFSET, slotN+OFFSET or slotN-OFFSET."""
        match = _REFERENCE.fullmatch(word.text)
        if not match or not word.text.startswith(thing.value):
            raise self.wrong(word, self.asked)
        index = self.index(Word(match[1], word.column), thing)
        offset = word.after(match.start(3))
        if match[2] == "+":
            return Ref(index, self.integer(offset))
        if thing is not Thing.SLOT:
            raise self.wrong(word, self.asked)
        return Ref(index, -self.integer(offset, last=_MIDDLE) & U64)

    # What is wrong.

    def wrong(self, word: Word, expected: str) -> CaseSyntaxError:
        """The error to raise where ``word`` stands in the place of what is expected."""
        return CaseSyntaxError(self.name, self.number, word.column, _shown(word), expected)

    def twice(self, word: Word) -> CaseSyntaxError:
        """The error to raise where ``word`` says again what may be said once."""
        found = f"{_shown(word)} again"
        return CaseSyntaxError(self.name, self.number, word.column, found, "it once at most")


def one_of(shapes: Sequence[str]) -> str:
    """All that would have been right."""
    return shapes[0] if len(shapes) == 1 else f"one of: {', '.join(shapes)}"


def spell_reference(thing: Thing, ref: Ref) -> str:
    """A reference as ``Line.reference`` reads it."""
    if thing is Thing.SLOT and ref.offset >= _MIDDLE:
        return f"{thing.value}{ref.index}-{-ref.offset & U64:#x}"
    return f"{thing.value}{ref.index}+{ref.offset:#x}"


def _shown(word: Word) -> str:
    """A word as an error shows it: on one line, and not too long."""
    text = word.text
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}...")
