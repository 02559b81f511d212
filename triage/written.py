"""Files that a command was told to write: whole or not at all."""

from pathlib import Path

from fuzz.directory import durable
from triage.ending import UserError


def write(name: str | Path, content: str | bytes) -> None:
    """Text becomes UTF-8. UserError with the name and the system's reason where that fails."""
    path = Path(name)
    if path.is_dir():
        raise UserError(f"{path}: a directory, where a file was expected")
    # A name that is no UTF-8 may be told of in the text.
    raw = content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
    try:
        durable.write(path, raw)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
