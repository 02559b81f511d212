"""Runs one input once more, with nobody else to blame: was it that which killed a worker?

    python -m fuzz.campaign.probe FILE READING PARENT KERNEL...

It is judged too, as a worker does, and nothing is kept of it. Exit status 0: it is harmless.
"""

import sys
from pathlib import Path

from emu import wire
from emu.kernels import KERNELS
from emu.model import Model
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.processes import die_with
from fuzz.search.together import Together


def main() -> None:
    """Run it."""
    file, reading, parent, *names = sys.argv[1:]
    die_with(int(parent))
    case = wire.decode(Path(file).read_bytes())
    together = Together(Model(), {name: KERNELS[name] for name in names})
    try:
        for outcomes in together.run(case):
            judge(case, outcomes, Reading(reading))
    except Exception as error:  # noqa: BLE001 - of that a worker does not die
        sys.stderr.write(f"{type(error).__name__}: {error}\n")


if __name__ == "__main__":
    main()
