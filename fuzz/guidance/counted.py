"""The branch counters that compiled code has in it: none, where the model is Python source.

A build of ``fuzz.native`` has another module in this one's place.
"""

from typing import Final

CAPACITY: Final = 1 << 15
COUNTS: Final = bytearray(CAPACITY)
PLACES: Final[tuple[tuple[str, int], ...]] = ()  # module and line of each counter in use
