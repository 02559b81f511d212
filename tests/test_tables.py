"""Pages of any width: nothing is broken in the middle, and no line ends in blanks."""

from pathlib import Path

import pytest

from tests.command import Gff, campaign, finding
from triage.screen import trimmed


@pytest.mark.parametrize("columns", [24, 50, 80, 120])
def test_a_list_of_any_width_has_whole_ids_whole_headers_and_no_long_lines(
    call: Gff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    named = ["C2-gmem_abort-natural", "C2-gmem_abort-injected"]
    kernel = "scribble-as-posted"
    campaign(tmp_path / "some", *(finding(each, kernel, 1.0, count=12345) for each in named))
    lines = call("triage", "list", "some").out.splitlines()
    assert [line.split()[0] for line in lines] == ["id", *named]
    assert max(map(len, lines)) <= columns
    known = ["id", "kernel", "errno", "exit_reason", "count", "after", "state"]
    headers = lines[0].split()
    assert headers == known[: len(headers)]
    assert ("12,345" in lines[1]) == ("count" in headers)
    assert (columns >= 80) == ("count" in headers)


def test_a_terminal_gets_no_trailing_blanks_either() -> None:
    assert trimmed("\x1b[1mid  \x1b[0m\x1b[1m  \x1b[0m\nC2   \n\n a b") == (
        "\x1b[1mid\x1b[0m\x1b[1m\x1b[0m\nC2\n\n a b"
    )
