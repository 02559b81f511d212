"""``gff compile``: machine code of the source that is here, for the workers of campaigns."""

import sys
import time
from typing import Final

import msgspec

from fuzz.native import builds
from fuzz.native.build import BuildError, MissingToolError, build
from triage.commands.options import CORES, Jobs, Json
from triage.ending import MissingError, Status, UserError
from triage.progress import ProgressLine
from triage.screen import complain, note, printable, show_json

_PLAIN_EVERY: Final = 20.0  # seconds between two lines where there is no terminal


class Built(msgspec.Struct, frozen=True):
    """What ``--json`` prints. ``seconds``: 0 where it was there already."""

    path: str
    seconds: float


def compile_source(jobs: Jobs = CORES, json: Json = False) -> Status:
    """Compile model, judge and mutator, so that campaigns run more cases a second.

    It takes a minute or two, a C compiler, the headers of Python, and mypy, whose mypyc does it;
    all of it is in the cache. `gff fuzz` uses what was made of the very source that is installed,
    and everything else goes on with the source. What compiled code finds the source must show as
    well before it is a finding.

    Example: gff compile
    """
    start = time.monotonic()
    place = builds.found()
    seconds = 0.0
    if place is None:
        with ProgressLine(_PLAIN_EVERY) as line:
            try:
                place = build(line.update, jobs)
            except MissingToolError as error:
                raise MissingError(str(error)) from error
            except OSError as error:
                raise UserError(f"not compiled: {error}") from error
            except BuildError as error:
                complain(f"not compiled: {error}")
                return Status.BROKEN
        seconds = round(time.monotonic() - start, 1)
    if json:
        show_json(Built(str(place), seconds))
    else:
        how = f"in {seconds:.0f} s" if seconds else "already"
        sys.stdout.write(f"compiled {how}: {printable(str(place))}\n")
        note("gff fuzz uses it from now on; gff fuzz --interpreted does not.")
    return Status.CLEAN
