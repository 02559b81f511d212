"""How a command ends: its exit status, and the two ways in which it cannot do its work."""

from enum import IntEnum


class Status(IntEnum):
    """The exit statuses of every ``gff`` command."""

    CLEAN = 0
    FINDINGS = 1
    USAGE = 2
    MISSING = 3


class UserError(Exception):
    """What the user typed or gave cannot be used; the message is one line that says why."""


class MissingError(Exception):
    """This machine lacks something that the command needs; the message is one line."""
