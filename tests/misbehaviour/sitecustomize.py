"""Makes a campaign's processes misbehave; Python runs this as it starts where this is on its path.

GFF_TEST_WORKER "INDEX SECONDS WORD...": so long after its first case, that worker does the next of
the words, at each start another: crash, hang, stick, leak, live, or stillborn, which does not get
so far.
GFF_TEST_TURNS is the file where it counts. GFF_TEST_PROBE: what a process does that tries an input
alone. GFF_TEST_DISK is a file, too: while it is there, its
content befalls all writing: full, readonly or slow.
"""

import ctypes
import errno
import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    sum(itertools.repeat(0))  # a loop in C, with Python's lock held


def stick() -> None:
    ctypes.PyDLL(None).sleep(1000)  # with Python's lock held, too


def leak() -> None:
    kept = [bytearray(b"x" * (1 << 22)) for _ in range(150)]
    time.sleep(1000)
    del kept


def live() -> None:
    pass


def misbehave() -> None:
    index, seconds, *words = os.environ["GFF_TEST_WORKER"].split()
    arguments = sys.orig_argv
    if "fuzz.search.worker" not in arguments or arguments[arguments.index("--index") + 1] != index:
        return
    with Path(os.environ["GFF_TEST_TURNS"]).open("a+") as turns:
        number = turns.tell()
        turns.write(".")
    word = words[number % len(words)]
    if word == "stillborn":
        crash()
    action = {"crash": crash, "hang": hang, "stick": stick, "leak": leak, "live": live}[word]
    hand = Path(arguments[arguments.index("--campaign") + 1]) / "workers" / f"{index}.input"

    def wait() -> None:
        while not hand.exists() or not any(hand.read_bytes()):
            time.sleep(0.01)
        time.sleep(float(seconds))
        action()

    threading.Thread(target=wait, daemon=True).start()


def spoil_disk(trigger: Path) -> None:
    real_open, real_fsync = os.open, os.fsync

    def trouble() -> str:
        return trigger.read_text() if trigger.exists() else ""

    def spoilt_open(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            match trouble():
                case "full":
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
                case "readonly":
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real_open(path, flags, mode, dir_fd=dir_fd)

    def slow_fsync(descriptor: int) -> None:
        if trouble() == "slow":
            time.sleep(0.1)
        real_fsync(descriptor)

    os.open = spoilt_open  # type: ignore[assignment]  # fewer ways to call it than the real one
    os.fsync = slow_fsync  # type: ignore[assignment]  # as above


def spoil_probe() -> None:
    if "fuzz.campaign.probe" in sys.orig_argv:
        {"crash": crash, "hang": hang, "live": live}[os.environ["GFF_TEST_PROBE"]]()


if "GFF_TEST_PROBE" in os.environ:
    spoil_probe()
if "GFF_TEST_WORKER" in os.environ:
    misbehave()
if "GFF_TEST_DISK" in os.environ:
    spoil_disk(Path(os.environ["GFF_TEST_DISK"]))
