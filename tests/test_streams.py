"""``gff`` as a process: interrupted early, and with a standard output that takes nothing."""

from pathlib import Path
from typing import Final

import pytest

from tests.command import started


@pytest.mark.parametrize("module", ["typer", "msgspec", "unicorn", "triage.app"])
def test_an_interrupt_while_gff_starts_is_not_a_traceback(tmp_path: Path, module: str) -> None:
    # Importing a module asks every finder for it.
    program = f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
pass"""
    ended = started(program, tmp_path, "kernels")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


FULL: Final = "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
CLOSED: Final = "import sys; sys.stdout = None"
LEFT: Final = "import os; r, w = os.pipe(); os.close(r); os.dup2(w, 1)"


@pytest.mark.parametrize("arguments", [["kernels"], ["kernels", "--json"], ["--help"]], ids=str)
@pytest.mark.parametrize(
    ("how", "status", "told"),
    [
        (FULL, 2, "gff: standard output: No space left on device\n"),
        (CLOSED, 2, "gff: standard output: closed\n"),
        (LEFT, 141, ""),
    ],
    ids=["full", "closed", "left"],
)
def test_output_that_cannot_be_written_is_one_line_or_none(
    tmp_path: Path, how: str, status: int, told: str, arguments: list[str]
) -> None:
    ended = started(how, tmp_path, *arguments)
    assert (ended.returncode, ended.stderr) == (status, told)


def test_a_campaign_whose_output_is_full_ends_and_keeps_its_findings(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="the engine is missing here")
    ended = started(FULL, tmp_path, "fuzz", "--for", "20s", "--workers", "1", "--campaign", "c")
    assert ended.returncode == 2
    assert ended.stderr.endswith("gff: standard output: No space left on device\n")
    assert "Traceback" not in ended.stderr
    assert list((tmp_path / "c" / "findings").glob("*.case"))
