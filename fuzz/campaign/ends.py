"""What a process ended of, and whose doing that was."""

import signal
from contextlib import suppress
from typing import Final

# What a process brings upon itself; any other signal somebody has sent.
_FAULTS: Final = (
    *(signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGSEGV, signal.SIGSYS, signal.SIGTRAP),
)


def cause(code: int) -> str:
    """What a process died of, by its exit status as subprocess has it."""
    if code >= 0:
        return f"status {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def from_outside(code: int) -> bool:
    """Whether somebody else has killed it: a person, or the kernel for want of memory."""
    return code < 0 and -code not in _FAULTS
