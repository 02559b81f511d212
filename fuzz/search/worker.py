"""One worker process: takes its orders, sets up a search, and gives it to the engine asked for.

Exit status: 0 done, 2 the campaign directory cannot be used, 3 the engine is not installed here;
anything else is a crash, and its cause is in the log. See ``orders`` for the command line.
"""

import faulthandler
import signal
import sys
from contextlib import AbstractContextManager, nullcontext

from fuzz.directory.opening import open_store
from fuzz.directory.store import StoreError
from fuzz.guidance.coverage import Arms, Mode, install
from fuzz.processes import NO_ENGINE, UNUSABLE, die_with, leave
from fuzz.search import atheris_engine, plain
from fuzz.search.orders import Engine, Orders, parsed
from fuzz.search.search import Search


def main() -> None:
    """Search until the orders are done."""
    orders = parsed(sys.argv[1:])
    die_with(orders.parent)
    if orders.engine is Engine.ATHERIS and not atheris_engine.is_there():
        leave(NO_ENGINE, "atheris is not installed: there is no wheel of it for this platform")
    faulthandler.enable()
    arms = Arms(compiled=orders.coverage is Mode.COUNTERS)
    try:
        search = Search(orders, open_store(orders.campaign), arms, _watched(orders, arms))
    except (OSError, StoreError) as error:
        leave(UNUSABLE, f"{error}")
    signal.signal(signal.SIGTERM, search.stop)
    signal.signal(signal.SIGINT, search.stop)
    match orders.engine:
        case Engine.ATHERIS:
            atheris_engine.run(search)
        case Engine.PLAIN:
            plain.run(search)


def _watched(orders: Orders, arms: Arms) -> AbstractContextManager[None]:
    """Modules of the model that are imported in here get what the coverage asked for needs."""
    match orders.coverage:
        case Mode.COUNTERS:
            install(arms)
            return nullcontext()
        case Mode.ATHERIS:
            return atheris_engine.instrumented()
        case Mode.NONE:
            return nullcontext()


if __name__ == "__main__":
    main()
