"""``campaign.json``: what a campaign was asked for, and the versions that did it."""

import importlib.metadata
import platform
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from fuzz.directory import records
from fuzz.directory.fingerprint import Fingerprints
from fuzz.directory.records import RecordError

FORMAT: Final = 2
READ: Final = (1, FORMAT)  # in format 1 the corpus had no shards
CONFIGURATION: Final = "campaign.json"


class Versions(msgspec.Struct, frozen=True):
    """What ran; "" for what is not installed, or was not wanted."""

    gff: str
    python: str
    unicorn: str
    atheris: str


def versions(*, atheris: bool) -> Versions:
    """What is installed here; ``atheris``: whether it runs."""
    return Versions(
        gff=installed("guest-fault-fuzzer"),
        python=platform.python_version(),
        unicorn=installed("unicorn"),
        atheris=installed("atheris") if atheris else "",
    )


def installed(distribution: str) -> str:
    """The version of a distribution; "" where there is none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What ``campaign.json`` holds: the settings of the latest run of the campaign.

    ``split``: the kernels are dealt out to the workers, in place of all to each. ``code``: digests
    of the judge and the model that ran; None until all that earlier ones left was looked at again.
    ``compiled``: the workers ran a build of them.
    """

    format: int
    created_at: datetime
    kernels: tuple[str, ...]
    reading: str
    coverage: str
    workers: int
    seed: int
    versions: Versions
    engine: str = ""
    split: bool = False
    code: Fingerprints | None = None
    compiled: bool = False


class _Format(msgspec.Struct):
    """The one field that every format of ``campaign.json`` has."""

    format: int


def configuration_of(root: Path) -> Configuration:
    """That of the campaign at ``root``. RecordError where there is none, or another's."""
    path = root / CONFIGURATION
    try:
        content = records.content(path)
    except FileNotFoundError:
        raise RecordError(root, f"not a campaign: it has no {CONFIGURATION}") from None
    version = records.decoded(path, content, _Format).format
    if version not in READ:
        reason = f"format {version}, but this version reads format {FORMAT}"
        raise RecordError(path, reason)
    return records.decoded(path, content, Configuration)
