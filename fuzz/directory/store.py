"""The campaign directory: everything a campaign knows, readable by a person, and its only writer.

    campaign.json          what was asked for, and the versions that did it
    corpus/N/              the inputs that worker N keeps (see fuzz.directory.shards)
    statistics.jsonl       the course so far (see fuzz.directory.series)
    findings/NAME.json     a finding; NAME.case beside it is its smallest case
    workers/N.json, N.log  what worker N last said of itself, and what it printed
    workers/N.seen         how often it has seen each finding (see fuzz.directory.tallies)
    workers/N.input        the input that it has in hand (see fuzz.search.hand)
    harness/               inputs on which we, not the kernel, went wrong, with their tracebacks
    contract/N.json        what of the contract worker N put to the test, of a sample of its cases
    report.html            all of it as a page (see triage.report_page)
    questions/             cases on which the model and expectation differ: one of them is wrong

Several workers write at once: findings are read, merged and written under ``findings/.lock``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from fuzz.directory import claim, durable, records, tallies
from fuzz.directory.configuration import CONFIGURATION, Configuration, configuration_of
from fuzz.directory.finding import Confirmation, Finding, Standing, confirmed, merged
from fuzz.directory.records import RecordError
from fuzz.directory.shards import shards
from fuzz.oracle.contract_coverage import Coverage

CORPUS: Final = "corpus"
FINDINGS: Final = "findings"
WORKERS: Final = "workers"
HARNESS: Final = "harness"
QUESTIONS: Final = "questions"
CONTRACT: Final = "contract"
HARNESS_LIMIT: Final = 100
QUESTIONS_LIMIT: Final = 100
DIED: Final = "died-"
DIFFERED: Final = "differed-"
DEATHS: Final = f"{DIED}*.bytes"
DEATHS_LIMIT: Final = 1000
LOCK: Final = ".lock"
_FOLDERS: Final = (CORPUS, FINDINGS, WORKERS, HARNESS, QUESTIONS, CONTRACT)

# Files that are not what they should be go there; without, the first of them is a StoreError.
Bad = list[RecordError] | None


class StoreError(Exception):
    """The directory cannot be used. The text is one line: the path, and the reason."""


class Oddities(NamedTuple):
    """How many cases are kept beside the findings.

    ``crashes``: on which gff itself crashed, one for each place. ``denied``: of which workers died,
    or may have; no worker is to run them again.
    """

    questions: int = 0
    crashes: int = 0
    denied: int = 0


NOTHING_ODD: Final = Oddities()


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What ``workers/N.json`` holds.

    ``seconds`` is the age of the campaign, all its runs together, and ``cases`` counts over all of
    them too, as ``harness_crashes`` and ``mutator_incidents`` do. ``process_cases`` and
    ``process_seconds`` are this process's own. ``arms`` are branch arms of the model that one of
    its processes has seen, the most, out of ``arms_known``; 0 where they were never counted.
    ``reread`` is how many inputs were run again at the start, which are no ``cases``. Of ``rerun``
    cases, run a second time on a fresh machine, ``differed`` came out otherwise.
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

    def is_begun(self) -> bool:
        """Whether there is a campaign."""
        return (self.root / CONFIGURATION).exists()

    def configuration(self) -> Configuration:
        """The settings of the latest run."""
        try:
            return configuration_of(self.root)
        except RecordError as error:
            hint = "; remove it, and what began it goes on" if self._has_lost_it() else ""
            raise StoreError(f"{error}{hint}") from error

    def _has_lost_it(self) -> bool:
        """Whether nothing but the configuration is wrong with the campaign."""
        try:
            return (self.root / CONFIGURATION).is_file() and self.has_folders()
        except OSError:  # somebody else's directory
            return False

    def configure(self, configuration: Configuration) -> None:
        """Makes ``configuration`` the campaign's."""
        durable.write(self.root / CONFIGURATION, records.encoded(configuration))

    def has_folders(self) -> bool:
        """Whether all is there that a campaign has besides its configuration."""
        return all((self.root / folder).is_dir() for folder in _FOLDERS)

    def make_folders(self) -> None:
        """Makes what is missing of that."""
        for folder in _FOLDERS:
            (self.root / folder).mkdir(exist_ok=True)

    def holder(self) -> claim.Holder:
        """Who is at work there, or was at last."""
        return claim.holder(self.root / LOCK)

    # FINDINGS

    def findings(self, bad: Bad = None) -> list[Finding]:
        """All findings, in the order of their discovery."""
        found, told = [], list[RecordError]()
        seen = tallies.of_all(self.root / WORKERS, told)
        for path, stored in records.all_in(self.root / FINDINGS, ".json", Finding, told):
            if stored.name == path.stem:
                count = stored.count + seen[stored.name]
                found.append(msgspec.structs.replace(stored, count=count))
            else:
                told.append(RecordError(path, f"damaged: holds {stored.name}"))
        tell(told, bad)
        return sorted(found, key=lambda finding: finding.found_after_s)

    def record(self, finding: Finding) -> Finding:
        """Stores a sighting; returns the finding as it now is, with all that was known of it."""
        with self._findings_locked():
            known = self._known(finding.name)
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
        """Adds ``more`` sightings to a finding, if somebody has not taken it away."""
        with self._findings_locked():
            known = self._known(name)
            if known is not None:
                self._put(msgspec.structs.replace(known, count=known.count + more))

    def confirm(self, name: str, confirmation: Confirmation, *, observed: bool) -> Finding:
        """Adds what a real kernel did to a finding that is there; returns it as it now is."""
        with self._findings_locked():
            known = self._there(name)
            stored = confirmed(known, confirmation, observed=observed)
            self._put(stored)
        return stored

    def restand(self, name: str, standing: Standing, now: tuple[str, ...]) -> None:
        """Notes what the smallest case of a finding that is there shows now."""
        with self._findings_locked():
            known = self._there(name)
            self._put(msgspec.structs.replace(known, standing=standing, now=now))

    def findings_changed_at(self) -> int:
        """Changes whenever a finding does; a look at this is cheaper than at them."""
        return (self.root / FINDINGS).stat().st_mtime_ns

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps other campaigns off the directory, and first tidies up after killed writers."""
        with claim.claimed(self.root / LOCK) as got_it:
            if not got_it:
                raise StoreError(f"{self.root}: another campaign is at work there")
            for folder in (".", *_FOLDERS):
                durable.sweep(self.root / folder)
            # Nothing may be there yet, or not all, where one was killed as it began.
            for shard in self.shards() if self.corpus.is_dir() else ():
                durable.sweep(shard)
            self._rewrite_cases()
            yield

    def _rewrite_cases(self) -> None:
        """A writer may have been killed between a finding's two files."""
        folder = self.root / FINDINGS
        # Of what is damaged the case may be all that can still be read.
        named = {path.name.partition(".json")[0] for path in folder.glob("[!.]*.json*")}
        for path in folder.glob("[!.]*.case"):
            # A pipe, say, in place of a case; or the finding was not written any more.
            if not path.is_file() or path.stem not in named:
                durable.set_aside(path)
        for finding in self.findings([]):
            path = self._case_file(finding.name)
            if not path.exists() or path.read_bytes() != finding.smallest.encode():
                durable.write(path, finding.smallest.encode())

    def _put(self, finding: Finding) -> None:
        # First, so that a finding that is seen has its case. The JSON holds the case too: what a
        # kill between the two, or a power cut, leaves of it is made good.
        durable.replace(self._case_file(finding.name), finding.smallest.encode())
        durable.write(self._finding_file(finding.name), records.encoded(finding))

    def _known(self, name: str) -> Finding | None:
        """A finding if it is there; what is no finding is set aside, so that it is not lost."""
        path = self._finding_file(name)
        try:
            return records.read(path, Finding)
        except FileNotFoundError:
            return None
        except RecordError:
            durable.set_aside(path)
            return None

    def _there(self, name: str) -> Finding:
        try:
            return records.read(self._finding_file(name), Finding)
        except RecordError as error:
            raise StoreError(str(error)) from error

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
        durable.replace(self.root / WORKERS / f"{worker}.json", records.encoded(status))

    def status(self, worker: int) -> WorkerStatus | None:
        """What a worker last said of itself; None too for what a power cut has left of it."""
        try:
            return records.read(self.root / WORKERS / f"{worker}.json", WorkerStatus)
        except (FileNotFoundError, RecordError):
            return None

    def statuses(self, bad: Bad = None) -> dict[int, WorkerStatus]:
        """What each worker that ever ran here last said of itself."""
        told: list[RecordError] = []
        said = list(records.all_in(self.root / WORKERS, ".json", WorkerStatus, told))
        tell(told, bad)
        return {int(path.stem): status for path, status in said if path.stem.isdecimal()}

    def seen(self, worker: int) -> dict[str, int]:
        """How often a worker has seen each finding, apart from what the finding itself says."""
        return tallies.of(self.root / WORKERS, worker)

    def set_seen(self, worker: int, seen: dict[str, int]) -> None:
        """Replaces that; not worth a flush to the disk."""
        tallies.replace(self.root / WORKERS, worker, seen)

    # CONTRACT

    def set_coverage(self, worker: int, coverage: Coverage) -> None:
        """Replaces what a worker put to the test; not worth a flush to the disk."""
        durable.replace(self._contract_file(worker), records.encoded(coverage))

    def coverage(self, worker: int) -> Coverage | None:
        """What a worker put to the test so far; None too where that cannot be read."""
        try:
            return records.read(self._contract_file(worker), Coverage)
        except (FileNotFoundError, RecordError):
            return None

    def coverages(self, bad: Bad = None) -> list[Coverage]:
        """What each worker that ever ran here put to the test."""
        told: list[RecordError] = []
        found = list(records.all_in(self.root / CONTRACT, ".json", Coverage, told))
        tell(told, bad)
        return [coverage for _, coverage in found]

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
        path = self.harness / f"{DIED}{name}.bytes"
        if path.exists() or self._kept(DEATHS) >= DEATHS_LIMIT:
            return False
        durable.write(path.with_suffix(".txt"), f"{reason}\n".encode())
        durable.write(path, data)
        return True

    def denied(self) -> frozenset[bytes]:
        """The inputs that are not to be run again."""
        found: set[bytes] = set()
        for path in self.harness.glob(DEATHS):
            with suppress(FileNotFoundError, RecordError):  # a stranger's, or just lifted
                found.add(records.content(path))
        return frozenset(found)

    def oddities(self) -> Oddities:
        """How much there is to look at, besides the findings."""
        names = [path.name for path in self.harness.glob("[!.]*.bytes")]
        denied = sum(name.startswith(DIED) for name in names)
        differed = sum(name.startswith(DIFFERED) for name in names)
        return Oddities(self.questions_kept(), len(names) - denied - differed, denied)

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
        if path.exists() or self.questions_kept() >= QUESTIONS_LIMIT:
            return False
        durable.write(path, content.encode())
        return True


def tell(errors: Sequence[RecordError], bad: Bad) -> None:
    """Where it goes that files are not what they should be."""
    if bad is None and errors:
        raise StoreError(str(errors[0])) from errors[0]
    if bad is not None:
        bad += errors
