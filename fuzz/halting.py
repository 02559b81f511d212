"""SIGINT, SIGTERM and SIGHUP as a request to come to an end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Flag:
    """Whether somebody wants the end."""

    raised: bool = False

    def raise_it(self, _signal: int, _frame: FrameType | None) -> None:
        """A signal's handler."""
        self.raised = True


@contextmanager
def told_to_stop() -> Iterator[Flag]:
    """SIGINT, SIGTERM and SIGHUP raise the flag while this lasts."""
    flag = Flag()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup has started us
        signals.append(signal.SIGHUP)
    try:
        before = [signal.signal(number, flag.raise_it) for number in signals]
    except ValueError:  # not the main thread: whoever called us has signals in hand
        yield flag
        return
    try:
        yield flag
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
