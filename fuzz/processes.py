"""What the processes that we start have in common: environment, exit, last words, what they use."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import fuzz

UNUSABLE: Final = 2  # exit status of a worker: the campaign directory cannot be used
NO_ENGINE: Final = 3  # exit status of a worker: the engine is not installed here
PR_SET_PDEATHSIG: Final = 1
SOURCE: Final = Path(fuzz.__file__).parent.parent  # of the packages that run here
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")  # ticks a second
_UTIME: Final = 11  # in /proc/PID/stat after the name, and after it stime: proc_pid_stat(5)


def environment(tree: Path = SOURCE) -> dict[str, str]:
    """Our own, with the packages below ``tree`` first, and hashes of text always the same.

    What is not there comes from the source that runs here.
    """
    paths = dict.fromkeys((str(tree), str(SOURCE), os.environ.get("PYTHONPATH", "")))
    path = os.pathsep.join(filter(None, paths))
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


def last_line(log: Path) -> str:
    """The last line that a process printed to its log."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "a worker died without a word")


def die_with(parent: int) -> None:
    """Asks the kernel to kill this process when its supervisor is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # gone before it could be asked
        leave(1, "the supervisor is gone")


def leave(status: int, reason: str = "") -> NoReturn:
    """Ends the process from inside an engine, which would take SystemExit for a crash."""
    if reason:
        with suppress(OSError):  # a full disk, perhaps, which is then the reason
            sys.stderr.write(f"{reason}\n")
            sys.stderr.flush()
    os._exit(status)


def resident_mib(pid: int) -> int:
    """The memory that a process has; 0 for one that has just ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE >> 20
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0


def processor_seconds(pid: int) -> float:
    """The time that a process has had a processor; 0 for one that has just ended."""
    try:
        # The name before the last bracket may hold anything, half a character too.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return (int(fields[_UTIME]) + int(fields[_UTIME + 1])) / _TICK
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0.0
