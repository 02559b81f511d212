"""The processes of an exhaustive search: started, given chunks, started again, stopped."""

import os
import selectors
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import msgspec

from fuzz.directory.store import Store
from fuzz.exhaustive.ledger import Chunk, Result
from fuzz.processes import environment, last_line

DEATHS: Final = 3  # of processes that had the same chunk in hand: it will not be any other way
RETRYING_IS_NO_USE: Final = 2  # exit status of fuzz.exhaustive.examiner
POLL: Final = 0.02


class ExaminerError(Exception):
    """The processes cannot work; the text is one line, the last that one of them printed."""


@dataclass(slots=True)
class _Member:
    """One process, what it has said of its next line, and the chunk that it has in hand."""

    index: int
    process: subprocess.Popen[bytes]
    said: bytearray = field(default_factory=bytearray)
    chunk: Chunk | None = None


class Examiners:
    """The processes of one run."""

    def __init__(self, store: Store, left: Sequence[Chunk], number: int, epoch: float) -> None:
        self.restarts = 0
        self._store = store
        self._left = deque(left)
        self._number = number
        self._epoch = epoch
        self._members: dict[int, _Member] = {}
        self._deaths: Counter[Chunk] = Counter()
        self._selector = selectors.DefaultSelector()

    def start(self) -> None:
        """Starts every process, with a chunk each."""
        for index in range(self._number):
            self._launch(index)

    def at_work(self) -> bool:
        """Whether there is a chunk in hand."""
        return bool(self._members)

    def results(self, seconds: float) -> Iterator[Result]:
        """What was done since the last time, waiting for it as long as this."""
        for key, _ in self._selector.select(seconds):
            member = self._members[int(key.data)]
            said = os.read(key.fd, 1 << 16)
            if not said:
                self._bury(member)
                continue
            member.said += said
            *lines, rest = member.said.split(b"\n")
            member.said = rest
            for line in lines:
                yield msgspec.json.decode(line, type=Result)
                self._deal(member)

    def stop(self, patience: float) -> None:
        """Asks every process to come to its end, and kills those that do not in time."""
        processes = [member.process for member in self._members.values()]
        for member in tuple(self._members.values()):
            member.process.terminate()
            self._forget(member)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and any(each.poll() is None for each in processes):
            time.sleep(POLL)
        for process in processes:
            process.kill()
            process.wait()
        self._selector.close()

    def _deal(self, member: _Member) -> None:
        """The next chunk, or leave to go."""
        if not self._left:
            self._forget(member)
            member.process.wait()
            return
        member.chunk = self._left.popleft()
        pipe = member.process.stdin
        if pipe is not None:
            with suppress(BrokenPipeError):  # it has died, which the end of its output tells
                pipe.write(f"{' '.join(map(str, member.chunk))}\n".encode())
                pipe.flush()

    def _bury(self, member: _Member) -> None:
        """A process has died: its chunk goes to a new one, unless that is of no use."""
        self._forget(member)
        status, chunk = member.process.wait(), member.chunk
        if chunk is None:
            return
        self._deaths[chunk] += 1
        if status == RETRYING_IS_NO_USE or self._deaths[chunk] == DEATHS:
            log = self._store.log_file(member.index)
            raise ExaminerError(f"{last_line(log)} (worker {member.index}, see {log})")
        self._left.appendleft(chunk)
        self.restarts += 1
        self._launch(member.index)

    def _forget(self, member: _Member) -> None:
        process = member.process
        if process.stdout is not None:
            self._selector.unregister(process.stdout)
            process.stdout.close()
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # what it was to read is dealt again
                process.stdin.close()
        del self._members[member.index]

    def _launch(self, index: int) -> None:
        arguments = [
            *(sys.executable, "-P", "-m", "fuzz.exhaustive.examiner"),
            *("--campaign", str(self._store.root)),
            *("--parent", str(os.getpid())),
            *("--epoch", repr(self._epoch)),
        ]
        with self._store.log_file(index).open("ab") as log:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(),
                # A terminal's ctrl-C is for the supervisor, who passes it on.
                start_new_session=True,
            )
        member = self._members[index] = _Member(index, process)
        if process.stdout is not None:
            self._selector.register(process.stdout, selectors.EVENT_READ, index)
        self._deal(member)
