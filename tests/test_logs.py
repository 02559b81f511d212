"""Logs stay within bounds, however much is printed and for how many weeks."""

from pathlib import Path

import pytest

from fuzz.directory import logs
from fuzz.directory.logs import bounded, earlier


def test_a_log_that_is_full_is_emptied_and_its_end_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MOST", 10)
    log = tmp_path / "0.log"
    bounded(log)  # there is none yet
    with log.open("ab") as writer:
        writer.write(b"0123456789")
        writer.flush()
        bounded(log)
        assert not earlier(log).exists()
        writer.write(b"abc")
        writer.flush()
        bounded(log)
        assert (log.read_bytes(), earlier(log).read_bytes()) == (b"", b"3456789abc")
        writer.write(b"d")
    assert log.read_bytes() == b"d"
