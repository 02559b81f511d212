"""A span of time as it is typed and as it is shown; a number of things."""

import re
from typing import Final

from triage.ending import UserError

_SECONDS: Final[dict[str, int]] = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FORM: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
_SHORTEST: Final = 0.1
_LONGEST: Final = 365 * 86400


def seconds(text: str, option: str = "--for") -> float:
    """``60s``, ``1.5m``, ``2h``, ``1d``, given with ``option``; a bare number is seconds."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UserError(
            f"{option} {text!r}: expected a number and s, m, h or d, as in 60s, 10m, 2h"
        )
    length = float(match[1]) * _SECONDS[match[2]]
    if not _SHORTEST <= length <= _LONGEST:
        raise UserError(f"{option} {text!r}: expected 0.1s to 365d")
    return length


def span(length: float) -> str:
    """A length in seconds, as short as it can be read."""
    if length < 60:
        return f"{length:.1f} s"
    minutes, rest = divmod(int(length), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
