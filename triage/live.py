"""The troubles of the live machine, as every command tells them."""

from collections.abc import Iterator
from contextlib import contextmanager

from emu.live.build import BuildError
from emu.live.trouble import BoxError, MissingPartError, RequestError
from triage.ending import MissingError, UserError
from triage.screen import complain


@contextmanager
def live_errors() -> Iterator[None]:
    """Within, what stands in the live machine's way ends the command, each thing in one line."""
    try:
        yield
    except RequestError as error:
        raise UserError(str(error)) from None
    except (BoxError, BuildError, MissingPartError) as error:
        *lines, last = str(error).splitlines() or [""]
        for line in lines:  # several things may be missing, or a compiler had more to say
            complain(line)
        raise MissingError(last) from None
