"""How a command ends: its exit status, and the ways in which it cannot do its work."""

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses of every ``gff`` command; the last two are those of a shell's."""

    CLEAN = 0
    FINDINGS = 1
    USAGE = 2
    MISSING = 3
    BROKEN = 70  # EX_SOFTWARE of sysexits(3)
    INTERRUPTED = 128 + 2
    READER_GONE = 128 + 13


class UserError(Exception):
    """What the user typed or gave cannot be used; the message is one line that says why."""


class MissingError(Exception):
    """This machine lacks something that the command needs; the message is one line."""


class OutputError(Exception):
    """Standard output takes no more; the message is the reason."""


class ReaderGoneError(OutputError):
    """Whoever read standard output has had enough, which is nothing to complain about."""
