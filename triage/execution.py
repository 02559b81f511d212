"""A command line carried out: what becomes of it, and of errors."""

import sys
import traceback
from collections.abc import Sequence
from typing import Final

import typer

from triage.ending import MissingError, OutputError, ReaderGoneError, Status, UserError
from triage.screen import complain
from triage.streams import give_up_output, prepare

_FRAMES: Final = 10  # of a traceback, the innermost: an endless recursion has a thousand
_OURS: Final = ("emu", "fuzz", "triage")


def execute_own() -> int:
    """Carry out the command line of this process; the exit status."""
    try:
        prepare()
        status = execute(sys.argv[1:])
        sys.stdout.flush()
    except ReaderGoneError:
        give_up_output()
        return Status.READER_GONE
    except OutputError as error:
        give_up_output()
        return _complain(f"standard output: {error}", Status.USAGE)
    except Exception:  # noqa: BLE001 - Python's own status for it is 1, which means findings
        traceback.print_exc(limit=-_FRAMES)
        return _complain(
            "that is a fault of gff's own, and says nothing of a kernel", Status.BROKEN
        )
    return status


def execute(arguments: Sequence[str]) -> int:
    """Run a command; the exit status. What the user got wrong is one line on standard error."""
    try:
        # A package that is missing or broken is something to be told, not a traceback.
        from emu.engine import EmulatorError  # noqa: PLC0415 - so that it is told
        from triage.app import app  # noqa: PLC0415 - so that it is told
    except ImportError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        return _complain(f"{error}: gff needs it", Status.MISSING)
    try:
        status: object = app(args=arguments, prog_name="gff", standalone_mode=False)
    except UserError as error:
        return _complain(str(error), Status.USAGE)
    except (MissingError, EmulatorError) as error:
        return _complain(str(error), Status.MISSING)
    except typer.TyperException as error:
        return _misused(error)
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    return status if isinstance(status, int) else Status.CLEAN


def _misused(error: typer.TyperException) -> int:
    message = error.format_message()
    if "\n" in message:  # a group without a command: its help
        sys.stderr.write(f"{message}\n")
        return Status.USAGE
    return _complain(message[:1].lower() + message[1:], Status.USAGE)


def _complain(message: str, status: Status) -> int:
    complain(message)
    return status
