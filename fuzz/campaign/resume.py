"""What is done before a campaign goes on: its corpus reduced, its findings judged again.

Nobody else is at work in the directory meanwhile. Interrupted, it leaves everything as it was, or a
part of it done.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from fuzz.campaign.rejudging import RejudgingError, judged_again
from fuzz.directory import durable
from fuzz.directory.finding import Finding, Standing
from fuzz.directory.shards import ASIDE, SKIPPED, Entry, Survey, sha1, survey
from fuzz.directory.store import Store
from fuzz.halting import Flag
from fuzz.search.reduction import ReductionError, reduced

FEW: Final = 256  # inputs; a worker runs so many sooner than they are reduced
NOTE_EVERY: Final = 20_000  # inputs

Note = Callable[[str], None]


class _StoppedError(Exception):
    """Somebody wants the end."""


class Resume:
    """One run's beginning. ``note`` is told, a line at a time, what is done."""

    def __init__(self, store: Store, kernels: Sequence[str], note: Note, stop: Flag) -> None:
        self._store = store
        self._kernels = kernels
        self._note = note
        self._stop = stop

    def tidy_corpus(self, *, anew: bool) -> bool:
        """Leaves in the shards the fewest inputs that reach what all do; whether that was done.

        ``anew``: the kernels, the judge or the model are others, so that an input that was set
        aside may be wanted again.
        """
        try:
            found = survey(self._store.corpus, self._reading("reading"), aside=anew)
            self._tell(found)
            self._clear(found)
            if len(found.entries) > FEW:
                self._reduce(found.entries)
            else:
                self._place(found.entries)
        except _StoppedError:
            return False
        except ReductionError as error:
            self._note(f"corpus not reduced: {error}")
            return False
        return True

    def judge_again(self) -> bool:
        """Gives the findings that are known their standing; whether that was done."""
        findings = self._store.findings([])
        if not findings:
            return True
        try:
            judged_again(self._store, self._stop)
        except RejudgingError as error:
            self._note(f"findings not judged again: {error}")
            return False
        if self._stop.raised:
            return False
        self._note(difference(self._store.findings([])))
        return True

    def forget_arms(self) -> None:
        """What was seen of a model that is another now is no branch of this one."""
        for worker, status in self._store.statuses([]).items():
            forgotten = msgspec.structs.replace(status, arms=0, arms_known=0)
            self._store.set_status(worker, forgotten)

    # CORPUS

    def _reduce(self, entries: Sequence[Entry]) -> None:
        denied = {sha1(data) for data in self._store.denied()}
        wanted = [entry for entry in entries if entry.path.name not in denied]
        cases = [entry.data for entry in wanted]
        kept = reduced(cases, self._kernels, on_progress=self._reading("running")).kept
        stay = set(kept)
        self._place([wanted[place] for place in kept])
        aside = self._store.corpus / ASIDE
        aside.mkdir(exist_ok=True)
        for place, entry in enumerate(wanted):
            if place not in stay and entry.path.parent != aside:
                entry.path.rename(aside / entry.path.name)
        self._note(f"corpus: {len(kept):,} of {len(cases):,} inputs reach all that all do")

    def _place(self, entries: Sequence[Entry]) -> None:
        """What lies outside of all shards goes into the first."""
        shards, first = self._store.shards(), self._store.shard(0)
        for entry in entries:
            if entry.path.parent not in shards:
                first.mkdir(exist_ok=True)
                entry.path.rename(first / entry.path.name)

    def _clear(self, found: Survey) -> None:
        """Nothing is left in a shard that libFuzzer could not read."""
        for path in (*found.torn, *found.doubles):
            path.unlink()
        shards, skipped = self._store.shards(), self._store.corpus / SKIPPED
        for path in found.skipped:
            if path.parent in shards:
                skipped.mkdir(exist_ok=True)
                path.rename(durable.free(skipped / path.name))

    def _tell(self, found: Survey) -> None:
        if found.torn:
            self._note(f"corpus: {len(found.torn):,} torn by killed workers, dropped")
        if found.skipped:
            self._note(f"corpus: {len(found.skipped):,} not inputs of ours, skipped")

    def _reading(self, what: str) -> Callable[[int], None]:
        told = 0

        def on_progress(number: int) -> None:
            nonlocal told
            if self._stop.raised:
                raise _StoppedError
            if number >= told + NOTE_EVERY:
                told = number
                self._note(f"corpus: {what}, {number:,} inputs so far")

        return on_progress


def difference(findings: Sequence[Finding]) -> str:
    """In one line, what has become of the findings."""
    gone = [it.name for it in findings if it.standing is Standing.GONE]
    moved = [it for it in findings if it.standing is Standing.MOVED]
    there = len(findings) - len(gone) - len(moved)
    words = [f"findings judged again: {there} still there"]
    words += [f"gone: {', '.join(gone)}"] if gone else []
    words += [f"{it.name} is now {', '.join(it.now)}" for it in moved]
    return "; ".join(words)
