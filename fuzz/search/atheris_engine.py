"""libFuzzer, by way of atheris, as the engine of a worker. The only module that imports atheris.

libFuzzer leaves without running anybody's exit handlers; the search ends the process itself.
"""

import ctypes
import sys
from contextlib import AbstractContextManager
from typing import Final

try:
    import atheris
except ImportError:  # there is no wheel for this platform
    atheris = None

from fuzz.directory.store import Store
from fuzz.guidance.coverage import MODEL_MODULES, Mode
from fuzz.guidance.feedback import register
from fuzz.mutation.mutate import MAX_SIZE
from fuzz.search.orders import Orders
from fuzz.search.search import Search

NEVER: Final = 10**7  # seconds
_SIGNALS: Final = ("abrt", "bus", "fpe", "ill", "int", "segv", "term", "xfsz")


def is_there() -> bool:
    """Whether it can be used here."""
    return atheris is not None


def instrumented() -> AbstractContextManager[None]:
    """Modules of the model that are imported in here get atheris' own counters."""
    instrumenting: AbstractContextManager[None] = atheris.instrument_imports(
        include=list(MODEL_MODULES)
    )
    return instrumenting


def run(search: Search) -> None:
    """Searches; the search ends the process."""
    registered = search.orders.coverage is not Mode.COUNTERS

    def test_one_input(data: bytes) -> None:
        nonlocal registered
        if not registered:
            register(_core(), search.feedback.regions)
            registered = True
        search.test_one_input(data)

    atheris.Setup(
        arguments(search.orders, search.store),
        test_one_input,
        custom_mutator=search.mutate,
        custom_crossover=search.cross_over,
    )
    atheris.Fuzz()


def arguments(orders: Orders, store: Store) -> list[str]:
    """The command line that libFuzzer sees.

    It writes to the first directory alone, and reads them all as it starts. What becomes of a
    process that dies, hangs or grows is the supervisor's to see, for any engine alike.
    """
    own = store.shard(orders.index)
    others = [shard for shard in store.shards() if shard != own]
    return [
        "gff-worker",
        *map(str, (own, *others)),
        f"-seed={orders.seed}",
        f"-max_len={MAX_SIZE}",
        "-len_control=0",  # the mutator knows what length is good for a case
        "-reload=0",  # it would look at its own directory only
        f"-timeout={NEVER}",  # atheris takes 0 for 0
        f"-report_slow_units={NEVER}",  # one that was long stopped is kept in harness/ else
        "-rss_limit_mb=0",
        f"-artifact_prefix={store.harness}/worker{orders.index}-",
        *(f"-handle_{name}=0" for name in _SIGNALS),
        "-print_funcs=0",
        "-detect_leaks=0",
        "-verbosity=0",  # else a line for each new input: the log would grow for ever
    ]


def _core() -> ctypes.CDLL:
    """The part of atheris that holds libFuzzer; loaded when fuzzing starts."""
    return ctypes.CDLL(sys.modules["atheris.core_with_libfuzzer"].__file__)
