"""Fixtures that the tests of the commands share."""

from pathlib import Path

import pytest

from tests.command import LEAK, Ended, Gff
from triage.execution import execute


@pytest.fixture(autouse=True)
def _empty_cache(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the user has fetched or compiled is for those tests that are about it."""
    marks = {mark.name for mark in request.node.iter_markers()}
    if not marks & {"live", "native"}:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Gff:
    """``gff`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it

    def gff(*arguments: str) -> Ended:
        status = execute(arguments)
        out, err = capsys.readouterr()
        return Ended(status, out, err)

    return gff


@pytest.fixture
def leak(tmp_path: Path) -> Path:
    """The leak as a case file."""
    path = tmp_path / "leak.case"
    path.write_text(LEAK)
    return path
