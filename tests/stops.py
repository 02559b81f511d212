"""How long a campaign takes from ctrl-C to its summary, and to its end, in its busiest time.

    python -m tests.stops [STOPS] [WORKERS] [KERNELS]

All begin from nothing, where there is most to shrink and to store. At most two seconds are allowed.
"""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from statistics import median
from typing import Final, NamedTuple

from emu.kernels import KERNELS
from fuzz.directory.store import Store
from fuzz.processes import last_line

CHECKOUT: Final = Path(__file__).parent.parent
GFF: Final = "from triage.cli import main; main()"
MOST: Final = 2.0  # seconds
_SUMMARY: Final = re.compile(r"(no|\d+) findings?, ")


class Stopped(NamedTuple):
    """Seconds to the summary, and to the end; how many workers did not come to theirs."""

    summary: float
    end: float
    killed: int


def stopped(root: Path, workers: int, kernels: list[str], after: float, seed: int) -> Stopped:
    """One campaign, told to stop so long after its first finding."""
    words = [sys.executable, "-u", "-c", GFF, "fuzz", "--campaign", str(root), "-j", f"{workers}"]
    words += ["--seed", str(seed), *(word for name in kernels for word in ("-k", name))]
    summary: list[float] = []
    notes = root.with_suffix(".err")
    with (
        notes.open("wb") as errors,
        subprocess.Popen(
            words, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        output = process.stdout
        if output is None or not output.readline():
            raise AssertionError(f"the campaign ended by itself: {last_line(notes)}")

        def listen() -> None:
            summary.extend(time.monotonic() for line in output if _SUMMARY.match(line))

        listener = threading.Thread(target=listen)
        listener.start()
        time.sleep(after)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM if seed % 2 else signal.SIGINT)
        process.wait()
        end = time.monotonic() - told
        listener.join()
    killed = sum(not status.finished for status in Store(root).statuses([]).values())
    return Stopped(summary[0] - told, end, killed)


def main() -> None:
    """Stop some, and say how long each took."""
    numbers = [int(word) for word in sys.argv[1:]]
    stops, workers, count = [*numbers, *(20, 4, 22)[len(numbers) :]]
    rng = Random(1)  # noqa: S311 - nothing here is secret
    found: list[Stopped] = []
    for number in range(stops):
        root = Path(tempfile.mkdtemp(prefix="gff-stop-"))
        after = rng.uniform(2.0, 12.0)
        found.append(stopped(root / "c", workers, list(KERNELS)[:count], after, number + 1))
        shutil.rmtree(root)
        sys.stdout.write(f"after {after:4.1f} s: {found[-1]}\n")
        sys.stdout.flush()
    for name, times in (
        ("summary", [each.summary for each in found]),
        ("end", [each.end for each in found]),
    ):
        sys.stdout.write(f"{name}: median {median(times):.2f} s, at most {max(times):.2f} s\n")
    sys.exit(max(each.summary for each in found) >= MOST or any(each.killed for each in found))


if __name__ == "__main__":
    main()
