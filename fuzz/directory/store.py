"""The campaign directory: everything a campaign knows, readable by a person, and its only writer.

    campaign.json          what was asked for, and the versions that did it
    corpus/N/              the inputs that worker N keeps (see fuzz.directory.shards)
    statistics.jsonl       the course so far (see fuzz.directory.series)
    findings/NAME.json     a finding; NAME.case beside it is its smallest case
    workers/N.json, N.log  what worker N last said of itself, and what it printed
    workers/N.input        the input that it has in hand (see fuzz.search.hand)
    harness/               inputs on which we, not the kernel, went wrong, with their tracebacks
    contract/N.json        what of the contract worker N put to the test, of a sample of its cases
    report.html            all of it as a page (see triage.report_page)
    questions/             cases on which the model and expectation differ: one of them is wrong

Several workers write at once: findings are read, merged and written under ``findings/.lock``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from fuzz.directory import durable
from fuzz.directory.finding import Confirmation, Finding, Standing, confirmed, merged
from fuzz.directory.fingerprint import Fingerprints
from fuzz.directory.shards import shards
from fuzz.oracle.contract_coverage import Coverage

FORMAT: Final = 2
READ: Final = (1, FORMAT)  # in format 1 the corpus had no shards
CONFIGURATION: Final = "campaign.json"
CORPUS: Final = "corpus"
FINDINGS: Final = "findings"
WORKERS: Final = "workers"
HARNESS: Final = "harness"
QUESTIONS: Final = "questions"
CONTRACT: Final = "contract"
HARNESS_LIMIT: Final = 100
QUESTIONS_LIMIT: Final = 100
DEATHS: Final = "died-*.bytes"
DEATHS_LIMIT: Final = 1000
_FOLDERS: Final = (CORPUS, FINDINGS, WORKERS, HARNESS, QUESTIONS, CONTRACT)
_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class StoreError(Exception):
    """The directory cannot be used. The text is one line: the path, and the reason."""


class Versions(msgspec.Struct, frozen=True):
    """What ran; "" for what is not installed."""

    gff: str
    python: str
    unicorn: str
    atheris: str


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What ``campaign.json`` holds: the settings of the latest run of the campaign.

    ``split``: the kernels are dealt out to the workers, in place of all to each. ``code``: digests
    of the judge and the model that ran.
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


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What ``workers/N.json`` holds.

    ``seconds`` is the age of the campaign, all its runs together, and ``cases`` counts over all of
    them too. ``process_cases`` and ``process_seconds`` are this process's own. ``arms`` are branch
    arms of the model that one of its processes has seen, the most, out of ``arms_known``; 0 where
    they were never counted. ``reread`` is how many inputs were run again at the start, which are no
    ``cases``. Of ``rerun`` cases, run a second time on a fresh machine, ``differed`` came out
    otherwise.
    """

    pid: int
    cases: int
    seconds: float
    process_cases: int
    process_seconds: float
    arms: int
    arms_known: int
    harness_crashes: int
    mutator_incidents: int
    rss_mib: int
    finished: bool
    reread: int = 0
    rerun: int = 0
    differed: int = 0


@dataclass(frozen=True, slots=True)
class Store:
    """An open campaign directory."""

    root: Path

    @property
    def corpus(self) -> Path:
        """Where libFuzzer keeps its inputs."""
        return self.root / CORPUS

    def shard(self, worker: int) -> Path:
        """Where worker keeps its inputs; nobody else writes there."""
        return self.corpus / f"{worker}"

    def shards(self) -> list[Path]:
        """The shards of all workers that ever ran here."""
        return shards(self.corpus)

    @property
    def harness(self) -> Path:
        """Where inputs on which we went wrong are kept."""
        return self.root / HARNESS

    def configuration(self) -> Configuration:
        """The settings of the latest run."""
        return _configuration(self.root)

    def configure(self, configuration: Configuration) -> None:
        """Makes ``configuration`` the campaign's."""
        durable.write(self.root / CONFIGURATION, _json(configuration))

    # FINDINGS

    def findings(self) -> list[Finding]:
        """All findings, in the order of their discovery."""
        # What another worker is just writing begins with a dot.
        files = sorted((self.root / FINDINGS).glob("[!.]*.json"))
        found = [_read(path, Finding) for path in files]
        return sorted(found, key=lambda finding: finding.found_after_s)

    def record(self, finding: Finding) -> Finding:
        """Stores a sighting; returns the finding as it now is, with all that was known of it."""
        with self._findings_locked():
            path = self._finding_file(finding.name)
            known = _read(path, Finding) if path.exists() else None
            stored = finding if known is None else merged(known, finding)
            self._put(stored)
        return stored

    def probe(self) -> None:
        """Raises StoreError if nothing can be written any more, with the disk's own reason."""
        path = self.root / "probe"
        try:
            durable.write(path, bytes(1 << 16))
            path.unlink()
        except OSError as error:
            raise StoreError(f"{self.root}: {error.strerror}") from error

    def count(self, name: str, more: int) -> None:
        """Adds ``more`` sightings to a finding that is there."""
        with self._findings_locked():
            known = _read(self._finding_file(name), Finding)
            self._put(msgspec.structs.replace(known, count=known.count + more))

    def confirm(self, name: str, confirmation: Confirmation, *, observed: bool) -> Finding:
        """Adds what a real kernel did to a finding that is there; returns it as it now is."""
        with self._findings_locked():
            known = _read(self._finding_file(name), Finding)
            stored = confirmed(known, confirmation, observed=observed)
            self._put(stored)
        return stored

    def restand(self, name: str, standing: Standing, now: tuple[str, ...]) -> None:
        """Notes what the smallest case of a finding that is there shows now."""
        with self._findings_locked():
            known = _read(self._finding_file(name), Finding)
            self._put(msgspec.structs.replace(known, standing=standing, now=now))

    def findings_changed_at(self) -> int:
        """Changes whenever a finding does; a look at this is cheaper than at them."""
        return (self.root / FINDINGS).stat().st_mtime_ns

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other campaigns off the directory, and first tidies up after killed writers."""
        with durable.locked_at_once(self.root / ".lock") as got_it:
            if not got_it:
                raise StoreError(f"{self.root}: another campaign is at work there")
            for folder in (".", *_FOLDERS):
                durable.sweep(self.root / folder)
            for shard in self.shards():
                durable.sweep(shard)
            self._rewrite_cases()
            yield

    def _rewrite_cases(self) -> None:
        """A writer may have been killed between a finding's two files."""
        for finding in self.findings():
            path = self._case_file(finding.name)
            if not path.exists() or path.read_bytes() != finding.smallest.encode():
                durable.write(path, finding.smallest.encode())

    def _put(self, finding: Finding) -> None:
        # The JSON holds the case too, so that a kill between the two loses nothing.
        durable.write(self._finding_file(finding.name), _json(finding))
        durable.write(self._case_file(finding.name), finding.smallest.encode())

    @contextmanager
    def _findings_locked(self) -> Iterator[None]:
        with durable.locked(self.root / FINDINGS / ".lock"):
            yield

    def _finding_file(self, name: str) -> Path:
        return self.root / FINDINGS / f"{name}.json"

    def _case_file(self, name: str) -> Path:
        return self.root / FINDINGS / f"{name}.case"

    # WORKERS

    def log_file(self, worker: int) -> Path:
        """Where what worker prints goes."""
        return self.root / WORKERS / f"{worker}.log"

    def hand_file(self, worker: int) -> Path:
        """Where the input is that worker has in hand."""
        return self.root / WORKERS / f"{worker}.input"

    def set_status(self, worker: int, status: WorkerStatus) -> None:
        """Replaces what is known of a worker; not worth a flush to the disk."""
        durable.replace(self.root / WORKERS / f"{worker}.json", _json(status))

    def status(self, worker: int) -> WorkerStatus | None:
        """What a worker last said of itself; None too for what a power cut has left of it."""
        path = self.root / WORKERS / f"{worker}.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
        except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def statuses(self) -> dict[int, WorkerStatus]:
        """What each worker that ever ran here last said of itself."""
        files = (self.root / WORKERS).glob("[0-9]*.json")
        said = ((int(path.stem), self.status(int(path.stem))) for path in sorted(files))
        return {worker: status for worker, status in said if status is not None}

    # CONTRACT

    def set_coverage(self, worker: int, coverage: Coverage) -> None:
        """Replaces what a worker put to the test; not worth a flush to the disk."""
        durable.replace(self._contract_file(worker), _json(coverage))

    def coverage(self, worker: int) -> Coverage | None:
        """What a worker put to the test so far."""
        path = self._contract_file(worker)
        return _read(path, Coverage) if path.exists() else None

    def coverages(self) -> list[Coverage]:
        """What each worker that ever ran here put to the test."""
        files = sorted((self.root / CONTRACT).glob("[0-9]*.json"))
        return [_read(path, Coverage) for path in files]

    def _contract_file(self, worker: int) -> Path:
        return self.root / CONTRACT / f"{worker}.json"

    # HARNESS

    def record_harness_crash(self, name: str, data: bytes, traceback: str) -> bool:
        """Keeps an input on which we went wrong, once for each ``name``, up to a limit."""
        path = self.harness / f"{name}.bytes"
        if path.exists() or self._kept("[!.]*.bytes") - self._kept(DEATHS) >= HARNESS_LIMIT:
            return False
        durable.write(self.harness / f"{name}.txt", traceback.encode())
        durable.write(path, data)
        return True

    def record_death(self, name: str, data: bytes, reason: str) -> bool:
        """Keeps the input that a worker had in hand as it died; no worker is to run it again."""
        path = self.harness / f"died-{name}.bytes"
        if path.exists() or self._kept(DEATHS) >= DEATHS_LIMIT:
            return False
        durable.write(path.with_suffix(".txt"), f"{reason}\n".encode())
        durable.write(path, data)
        return True

    def denied(self) -> frozenset[bytes]:
        """The inputs that are not to be run again."""
        return frozenset(path.read_bytes() for path in self.harness.glob(DEATHS))

    def harness_kept(self) -> int:
        """How many inputs are kept on which we went wrong."""
        return self._kept("[!.]*.bytes")

    def _kept(self, pattern: str) -> int:
        return sum(1 for _ in self.harness.glob(pattern))

    # QUESTIONS

    @property
    def questions(self) -> Path:
        """Where cases are kept on which model and expectation differ."""
        return self.root / QUESTIONS

    def questions_kept(self) -> int:
        """How many."""
        return sum(1 for _ in self.questions.glob("[!.]*.case"))

    def record_question(self, name: str, content: str) -> bool:
        """Keeps a case, once for each ``name``, up to a limit."""
        path = self.questions / f"{name}.case"
        if path.exists() or len(list(self.questions.glob("*.case"))) >= QUESTIONS_LIMIT:
            return False
        durable.write(path, content.encode())
        return True


def open_store(root: Path) -> Store:
    """A campaign that is there, to read it or to add to it."""
    _configuration(root)
    return Store(root)


def create_store(root: Path, configuration: Configuration) -> Store:
    """The campaign at ``root``, made if there is none; an existing one is continued."""
    try:
        return _create(root, configuration)
    except OSError as error:
        raise StoreError(f"{error.filename or root}: {error.strerror}") from error


def _create(root: Path, configuration: Configuration) -> Store:
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root}: a file, where a campaign directory was expected")
    root.mkdir(parents=True, exist_ok=True)
    if (root / CONFIGURATION).exists():
        created_at = _configuration(root).created_at
        configuration = msgspec.structs.replace(configuration, created_at=created_at)
    elif any(not durable.is_temporary(path) for path in root.iterdir()):
        raise StoreError(f"{root}: not empty, and not a campaign: it has no {CONFIGURATION}")
    store = Store(root)
    # First, so that nobody who is killed here leaves a directory that is not empty and no campaign.
    store.configure(configuration)
    for folder in _FOLDERS:
        (root / folder).mkdir(exist_ok=True)
    return store


def _configuration(root: Path) -> Configuration:
    path = root / CONFIGURATION
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise StoreError(f"{root}: not a campaign: it has no {CONFIGURATION}") from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    try:
        version = msgspec.json.decode(content, type=_Format).format
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path}: damaged: {error}") from error
    if version not in READ:
        raise StoreError(f"{path}: format {version}, but this version reads format {FORMAT}")
    return _decode(path, content, Configuration)


class _Format(msgspec.Struct):
    """The one field that every format of ``campaign.json`` has."""

    format: int


def _read(path: Path, kind: type[_Struct]) -> _Struct:
    return _decode(path, path.read_bytes(), kind)


def _decode(path: Path, content: bytes, kind: type[_Struct]) -> _Struct:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: damaged: {error}") from error


def _json(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
