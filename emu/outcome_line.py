"""An outcome in a ``.case`` file: the words that ``emu.outcome.describe`` gives, and no others."""

import re
from typing import Final

from emu.abi import ExitReason
from emu.tokens import U32, Line, Word
from emu.words import ERRNOS

_HANG: Final = "hang"
_RET: Final = re.compile(r"0|-?[1-9][0-9]*")
_LAST_ERRNO: Final = 4095
# Outcomes are compared word by word: a number has one spelling.
_HEX: Final = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,15})")
_ESR: Final = re.compile(r"0x(?:[0-9a-f]{8}|[1-9a-f][0-9a-f]{8,15})")
_REASONS: Final = {reason.name: reason for reason in ExitReason}
_FIELDS: Final = {
    ExitReason.ARM_NISV: ("iss", "ipa"),
    ExitReason.ARM_LDST64B: ("iss", "ipa"),
    ExitReason.ARM_SEA: ("flags", "esr", "gva", "gpa"),
}
_LEFT: Final = (ExitReason.UNKNOWN, ExitReason.INTR)


def read(line: Line) -> str:
    """Take the outcome that ``line`` goes on with."""
    first = line.taken
    _result(line)
    _union(line, _reason(line))
    _marks(line)
    return " ".join(word.text for word in line.words[first : line.taken])


def errno(line: Line, word: Word, expected: str) -> str:
    """``word`` as an errno's name, or as the number of one that has none."""
    if word.text.isdecimal():
        line.integer(word, 1, _LAST_ERRNO)
    elif word.text not in ERRNOS:
        raise line.wrong(word, expected)
    return word.text


def _result(line: Line) -> None:
    """What KVM_RUN returned; one that hung may have an errno or not."""
    word = line.need("an outcome")
    if word.text != _HANG and not _RET.fullmatch(word.text):
        raise line.wrong(word, "an outcome")
    if word.text.startswith("-"):
        errno(line, line.need("an errno"), "an errno")
    elif word.text == _HANG and line.more() and line.words[line.taken].text in ERRNOS:
        line.need("an errno")


def _reason(line: Line) -> ExitReason | None:
    word = line.need("an exit reason")
    if word.text in _REASONS:
        return _REASONS[word.text]
    if not word.text.isdecimal():
        raise line.wrong(word, "an exit reason, such as MEMORY_FAULT")
    line.integer(word, last=U32)
    return None


def _union(line: Line, reason: ExitReason | None) -> None:
    if reason is ExitReason.MEMORY_FAULT:
        if not line.accept("kept"):
            _hex(line, "gpa", "size", "flags")
    elif reason is ExitReason.MMIO:
        if not line.accept("doorbell"):
            _mmio(line)
    elif reason is ExitReason.SYSTEM_EVENT:
        line.integer(line.value("type"), last=U32)
    elif reason in _LEFT and line.ahead("left-gpa=", "left-gpa=0xHEX"):
        _hex(line, "left-gpa", "left-size")
    elif reason in _FIELDS:
        _hex(line, *_FIELDS[reason])


def _mmio(line: Line) -> None:
    _hex(line, "gpa")
    line.integer(line.value("len"), last=U32)
    if not line.accept("read"):
        _hex(line, "write")


def _marks(line: Line) -> None:
    """What may follow, in this order."""
    while line.ahead("exception=", "exception=0xHEX"):
        _spelled(line, line.value("exception", "0xHEX"), _ESR)
    for mark in ("moved", "changed", "sigbus"):
        line.accept(mark)
    if line.ahead("userfaults=", "userfaults=NUMBER"):
        line.integer(line.value("userfaults"), 1)
    for mark in ("others-changed", "injected"):
        line.accept(mark)


def _hex(line: Line, *keys: str) -> None:
    for key in keys:
        _spelled(line, line.value(key, "0xHEX"), _HEX)


def _spelled(line: Line, word: Word, form: re.Pattern[str]) -> None:
    if not form.fullmatch(word.text):
        raise line.wrong(word, "0x and lower-case hex digits, as gff writes them")
