"""What the other workers of a campaign have found: each writes to its own shard, all read all.

libFuzzer looks again at one directory only, its own. So the mutator hands these over in place of
mutants, and the engine keeps those that are new to it.
"""

import os
from pathlib import Path
from typing import Final

from fuzz.directory.shards import content
from fuzz.directory.store import Store

AT_ONCE: Final = 256  # inputs; the rest at the next look


class Neighbours:
    """The shards of the others, as one worker sees them."""

    def __init__(self, store: Store, index: int) -> None:
        self._store = store
        self._own = store.shard(index)
        self._seen_at: dict[Path, int] = {}
        self._waiting: list[Path] = []
        self._known: set[str] = set()
        self._look()
        self._waiting.clear()  # the engine reads them itself as it starts

    def gifts(self) -> list[bytes]:
        """What has come since the last time, or a part of it."""
        self._look()
        now, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        found: list[bytes] = []
        for path in now:
            data = content(path)
            if data is None:
                # Only half written, or replaced by a smaller one: it may come again.
                self._known.discard(path.name)
            else:
                found.append(data)
        return found

    def _look(self) -> None:
        for shard in self._store.shards():
            changed_at = shard.stat().st_mtime_ns
            if shard != self._own and self._seen_at.get(shard) != changed_at:
                self._seen_at[shard] = changed_at
                new = set(os.listdir(shard)) - self._known  # noqa: PTH208 - names, and many
                self._known |= new
                self._waiting += [shard / name for name in sorted(new)]
