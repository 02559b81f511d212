"""Where a campaign's figures are served: an address that the user gave, while a command lasts."""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from triage.ending import MissingError, UserError
from triage.screen import note

LOCALHOST: Final = "127.0.0.1"
_PORT: Final = re.compile(r"[0-9]{1,5}")
_PORTS: Final = 1 << 16


class Endpoint(NamedTuple):
    """An address and a port; port 0 is one that is free."""

    address: str
    port: int


def endpoint(text: str) -> Endpoint:
    """``9090``, ``0.0.0.0:9090`` or ``[::1]:9090``; a port alone is of this machine only."""
    address, _, port = text.rpartition(":")
    if _PORT.fullmatch(port) is None or int(port) >= _PORTS or text.startswith(":"):
        raise UserError(f"--metrics {text!r}: expected a port or ADDRESS:PORT, as 127.0.0.1:9090")
    return Endpoint(address.removeprefix("[").removesuffix("]") or LOCALHOST, int(port))


@contextmanager
def serving(where: str | None, directory: str) -> Iterator[None]:
    """Serves the campaign in that directory while this lasts, if it is to be served at all."""
    if where is None:
        yield
        return
    address, port = endpoint(where)
    try:
        from triage.metrics import served  # noqa: PLC0415 - needed only by those who ask for it
    except ModuleNotFoundError as error:
        raise MissingError(f"{error}: --metrics needs prometheus_client") from error
    with ExitStack() as stack:
        try:
            url = stack.enter_context(served(address, port, directory))
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not an address"
            raise UserError(f"--metrics {where}: {reason}") from error
        note(f"metrics at {url}")
        yield
