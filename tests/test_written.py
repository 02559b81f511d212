"""What a command was told to write is there whole, or a line says why not."""

from pathlib import Path

import pytest

from triage.ending import UserError
from triage.written import write


def test_text_and_bytes_are_written_in_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    write(path, "né\n")
    assert path.read_bytes() == "né\n".encode()
    write(str(path), b"\xff")
    assert path.read_bytes() == b"\xff"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_that_is_no_text_does_not_stop_it(tmp_path: Path) -> None:
    write(tmp_path / "out", "in c\udcff")
    assert (tmp_path / "out").read_text() == "in c\\udcff"


@pytest.mark.parametrize(
    ("name", "reason"),
    [(".", "a directory, where a file was expected"), ("none/out", "No such file or directory")],
)
def test_what_cannot_be_written_is_told_with_its_name(
    tmp_path: Path, name: str, reason: str
) -> None:
    path = tmp_path / name
    with pytest.raises(UserError, match=f"^{path}: {reason}$"):
        write(path, "")
