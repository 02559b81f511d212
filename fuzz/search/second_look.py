"""Whether the source shows what a build has found: asked before it becomes a finding.

    python -m fuzz.search.second_look PARENT

A compiler may be wrong, and a finding must not be. The source runs in a process of its own, which
is started with the first question; a line of JSON asks, and a line of JSON answers.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from emu import text
from emu.case import Case
from emu.kernels import KERNELS
from emu.model import Model
from fuzz.oracle.contract import Reading
from fuzz.oracle.signature import Signature
from fuzz.processes import die_with, environment
from fuzz.search.sighting import Observer

_DIED: Final = "the process that runs the source has died"


class Question(msgspec.Struct, frozen=True):
    """A case in text, and how to look at it."""

    case: str
    kernel: str
    reading: str


class SecondLook:
    """Asks the packages below ``source``."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._process: subprocess.Popen[bytes] | None = None

    def shows(self, signature: Signature, case: Case, kernel: str, reading: Reading) -> bool:
        """Whether this case shows this finding there, too.

        RuntimeError where the process has died of it; the next question has a new one.
        """
        question = Question(text.dump(case), kernel, reading.value)
        return str(signature) in self._answer(question)

    def close(self) -> None:
        """Ends the process, if one was started; it ends with ours at the latest."""
        if self._process is not None:
            with self._process as process, suppress(BrokenPipeError):
                process.kill()
            self._process = None

    def _answer(self, question: Question) -> list[str]:
        process = self._process = self._process or self._started()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError(_DIED)
        try:
            process.stdin.write(msgspec.json.encode(question) + b"\n")
            process.stdin.flush()
            said = process.stdout.readline()
        except BrokenPipeError:
            said = b""
        if not said.endswith(b"\n"):
            self.close()
            raise RuntimeError(_DIED)
        return msgspec.json.decode(said, type=list[str])

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "fuzz.search.second_look", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(self._source),
        )


def main() -> None:
    """Answer until nobody asks any more."""
    die_with(int(sys.argv[1]))
    model = Model()
    for line in sys.stdin.buffer:
        question = msgspec.json.decode(line, type=Question)
        kernel = KERNELS[question.kernel]
        observer = Observer(model, question.kernel, kernel, Reading(question.reading))
        seen = observer.look(text.load(question.case))
        sys.stdout.write(f"{msgspec.json.encode([str(it.signature) for it in seen]).decode()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
