"""Whatever is killed when, a campaign goes on with all that it had: the short form of the storm."""

import time
from pathlib import Path
from random import Random

from fuzz.directory.shards import survey
from fuzz.directory.store import Store
from tests.kill_storm import Storm
from tests.test_campaign import needs_atheris


@needs_atheris
def test_a_campaign_survives_a_storm_of_kills(tmp_path: Path) -> None:
    storm = Storm(Store(tmp_path / "c"), 2, Random(3))  # noqa: S311 - nothing here is secret
    storm.start()
    for _ in range(15):
        storm.shoot(0.3)
    storm.stop()
    assert min(storm.killed.values()) >= 3
    storm.start()
    deadline = time.monotonic() + 10
    before = storm.cases()
    while storm.cases() == before:
        assert time.monotonic() < deadline, "it does not go on"
        time.sleep(0.02)
    storm.stop()
    storm.check()
    assert storm.shown
    assert not survey(storm.store.corpus, lambda _: None, aside=True).torn
