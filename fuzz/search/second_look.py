"""What the source makes of a case: asked of a sample of cases, and before there is a finding.

    python -m fuzz.search.second_look PARENT

Workers may run a build of the source. A compiler may be wrong, and a finding must not be. The
source runs in a process of its own, which is started with the first question; a line of JSON asks,
and a line of JSON answers.
"""

import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from emu import text
from emu.case import Case
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.oracle.signature import Signature
from fuzz.processes import die_with, environment
from fuzz.search.sighting import sightings

ATTEMPTS: Final = 2  # processes for one question: somebody may have killed the first
_DIED: Final = "the process that runs the source does not start, or dies of it"


class Question(msgspec.Struct, frozen=True):
    """A case in text, and how to look at it."""

    case: str
    kernel: str
    reading: str


class Answer(msgspec.Struct, frozen=True):
    """The signatures of all that the case shows, and its outcomes as JSON; or what went wrong."""

    signatures: tuple[str, ...] = ()
    outcomes: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class SecondLook:
    """Asks the packages below ``source``."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._process: subprocess.Popen[bytes] | None = None

    def objection(self, signature: Signature, case: Case, kernel: str, reading: Reading) -> str:
        """Why this case does not show this finding there; "" where it does."""
        answer = self._answer(Question(text.dump(case), kernel, reading.value))
        if answer.error:
            return answer.error
        return "" if str(signature) in answer.signatures else "the source does not show it"

    def difference(self, outcomes: Outcomes, case: Case, kernel: str) -> str:
        """In what this case comes to something else there; "" where it does not."""
        answer = self._answer(Question(text.dump(case), kernel, Reading.STRICT.value))
        if answer.error:
            return answer.error
        ours, theirs = msgspec.json.encode(outcomes), bytes(answer.outcomes)
        return "" if ours == theirs else f"compiled: {ours.decode()}\nsource: {theirs.decode()}"

    def close(self) -> None:
        """Ends the process, if one was started; it ends with ours at the latest."""
        process, self._process = self._process, None
        if process is not None:
            # What could not be written is written once more as the pipe is closed.
            with suppress(BrokenPipeError), process:
                process.kill()

    def _answer(self, question: Question) -> Answer:
        line = msgspec.json.encode(question) + b"\n"
        for _ in range(ATTEMPTS):
            said = b""
            try:
                with suppress(OSError):  # no memory for it, or it is gone
                    said = self._exchange(line)
            except BaseException:
                self.close()  # else the next question would get this one's answer
                raise
            if said.endswith(b"\n"):
                return msgspec.json.decode(said, type=Answer)
            self.close()
        return Answer(error=_DIED)

    def _exchange(self, line: bytes) -> bytes:
        process = self._process = self._process or self._started()
        if process.stdin is None or process.stdout is None:
            return b""
        process.stdin.write(line)
        process.stdin.flush()
        return process.stdout.readline()

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "fuzz.search.second_look", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(self._source),
        )


def main() -> None:
    """Answer until nobody asks any more."""
    for each in (signal.SIGINT, signal.SIGTERM):  # the worker may have a question yet
        signal.signal(each, signal.SIG_IGN)
    die_with(int(sys.argv[1]))
    model = Model()
    for line in sys.stdin.buffer:
        try:
            answer = answered(model, msgspec.json.decode(line, type=Question))
        except Exception:  # noqa: BLE001 - whatever it is, the one who asked stores it
            answer = Answer(error=traceback.format_exc())
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def answered(model: Model, question: Question) -> Answer:
    """What the packages that run here make of it."""
    case, name = text.load(question.case), question.kernel
    outcomes = model.run(case, KERNELS[name])
    seen = sightings(name, case, outcomes, judge(case, outcomes, Reading(question.reading)))
    signatures = tuple(str(each.signature) for each in seen)
    return Answer(signatures, msgspec.Raw(msgspec.json.encode(outcomes)))


if __name__ == "__main__":
    main()
