"""Judges the known findings of a campaign again, because judge, model or version are others now.

    python -m fuzz.campaign.rejudging DIR PARENT

In a process of its own: a case may hang it, and it brings in the model.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from emu import text
from emu.text import CaseSyntaxError
from fuzz.directory.finding import Finding, Standing
from fuzz.directory.opening import open_store
from fuzz.directory.store import Store
from fuzz.halting import Flag
from fuzz.oracle.contract import Reading
from fuzz.processes import die_with, environment

PATIENCE: Final = 60.0  # seconds, and for each finding:
PATIENCE_EACH: Final = 1.0
POLL: Final = 0.02


class RejudgingError(Exception):
    """It could not be done; the text is one line."""


def judged_again(store: Store, stop: Flag) -> None:
    """Gives each finding of the campaign its standing, or some. Raises RejudgingError."""
    words = [sys.executable, "-P", "-m", "fuzz.campaign.rejudging"]
    words += [str(store.root), str(os.getpid())]
    patience = PATIENCE + PATIENCE_EACH * len(store.findings([]))
    deadline = time.monotonic() + patience
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        start_new_session=True,  # a terminal's ctrl-C is for us
    ) as process:
        while process.poll() is None:
            if stop.raised or time.monotonic() > deadline:
                process.kill()
            time.sleep(POLL)
        said = process.stderr.read().splitlines() if process.stderr is not None else []
    if stop.raised or not process.returncode:
        return
    late = f"it took more than {patience:.0f} s" if time.monotonic() > deadline else ""
    raise RejudgingError(late or next(reversed(said), f"exit status {process.returncode}"))


def main() -> None:
    """Judge all, on the kernels that there still are."""
    directory, parent = sys.argv[1:]
    die_with(int(parent))
    from emu.kernels import KERNELS  # noqa: PLC0415 - the supervisor does without
    from emu.model import Model  # noqa: PLC0415 - as above
    from fuzz.search.sighting import Observer  # noqa: PLC0415 - as above

    store = open_store(Path(directory))
    model = Model()
    for finding in store.findings([]):
        if finding.kernel in KERNELS:
            observer = Observer(model, finding.kernel, KERNELS[finding.kernel], Reading.PARANOID)
            try:
                seen = observer.look(text.load(finding.smallest))
            except CaseSyntaxError:  # of another version of gff: it shows nothing here
                seen = []
            now = tuple(str(sighting.signature) for sighting in seen)
            store.restand(finding.name, standing(finding, now), now)


def standing(finding: Finding, now: tuple[str, ...]) -> Standing:
    """What has become of a finding whose smallest case shows these signatures now."""
    if finding.signature in now:
        return Standing.THERE
    return Standing.MOVED if now else Standing.GONE


if __name__ == "__main__":
    main()
