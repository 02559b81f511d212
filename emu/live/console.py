"""What a box's kernel printed: the last of it, and the lines that are findings of their own."""

import os
import re
from collections import deque
from enum import Enum
from tempfile import TemporaryFile
from typing import Final, NamedTuple

FILE_LIMIT: Final = 1 << 20  # bytes; beyond it the file is begun anew
TAIL: Final = 200  # lines
FINDINGS_LIMIT: Final = 1000  # a kernel that complains for ever has said enough
_LINE_LIMIT: Final = 2000  # bytes

_PRINTK: Final = re.compile(r"^(?:\[ *\d+\.\d+\](?:\[[^]]*\])? )?")


class Complaint(Enum):
    """What kind of line it is."""

    PANIC = "panic"
    HUNG_TASK = "hung task"
    RCU = "RCU stall"
    LOCKUP = "lockup"
    OOPS = "oops"
    BUG = "BUG"
    WARN = "WARN"


# The first that fits; the words are those of kernel/panic.c, hung_task.c, watchdog.c,
# rcu/tree_stall.h and arch/arm64/mm/fault.c.
_COMPLAINTS: Final = (
    (Complaint.PANIC, re.compile(r"Kernel panic - not syncing")),
    (Complaint.HUNG_TASK, re.compile(r"INFO: task \S+ blocked ")),
    (Complaint.RCU, re.compile(r"(?:rcu: )?INFO: rcu_\w+ .*\b(?:stall|stalls)\b")),
    (Complaint.LOCKUP, re.compile(r"(?:watchdog: )?BUG: (?:soft|workqueue) lockup")),
    (Complaint.OOPS, re.compile(r"Internal error: |Unable to handle kernel ")),
    (Complaint.BUG, re.compile(r"BUG: |kernel BUG at ")),
    (Complaint.WARN, re.compile(r"WARNING: ")),
)


class ConsoleFinding(NamedTuple):
    """A line in which the kernel complains, without its time."""

    complaint: Complaint
    line: str


class Console:
    """A box's console: QEMU appends to a file without a name, and this end reads it."""

    def __init__(self) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - closed by close
        self.descriptor: Final = self._file.fileno()
        self._read = 0
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._findings: list[ConsoleFinding] = []
        self._told = 0

    def findings(self) -> tuple[ConsoleFinding, ...]:
        """Every complaint so far."""
        self._scan()
        return tuple(self._findings)

    def news(self) -> tuple[ConsoleFinding, ...]:
        """The complaints since this was last asked."""
        self._scan()
        new = tuple(self._findings[self._told :])
        self._told = len(self._findings)
        return new

    def tail(self) -> tuple[str, ...]:
        """The last lines, also one that has not come to its end."""
        self._scan()
        rest = (_text(self._rest),) if self._rest else ()
        return (*self._tail, *rest)

    def cut(self) -> None:
        """The machine was ended: what it began to say goes on no more."""
        self._scan()
        if self._rest:
            self._note(_text(self._rest))
            self._rest = b""

    def close(self) -> None:
        """Forget everything."""
        self._file.close()

    def _scan(self) -> None:
        while content := os.pread(self.descriptor, FILE_LIMIT, self._read):
            self._read += len(content)
            *lines, rest = (self._rest + content).split(b"\n")
            self._rest = rest[-_LINE_LIMIT:]
            for line in lines:
                self._note(_text(line[:_LINE_LIMIT]))
        if self._read >= FILE_LIMIT:
            # QEMU appends: what it writes next is at the file's new end.
            os.ftruncate(self.descriptor, 0)
            self._read = 0

    def _note(self, line: str) -> None:
        self._tail.append(line)
        said = _PRINTK.sub("", line)
        for complaint, pattern in _COMPLAINTS:
            if pattern.match(said):
                if len(self._findings) < FINDINGS_LIMIT:
                    self._findings.append(ConsoleFinding(complaint, said))
                return


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rstrip("\r")
