"""What one execution is: bytes to a case, the case on all kernels, the judge, and what to keep.

It goes on after a finding: each is stored at once as it was found, then shrunk and stored again.
An exception in here is our fault and never a finding: the input is kept apart, and it goes on.
"""

import re
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from emu import text, wire
from emu.case import Case
from emu.kernels import KERNELS
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.directory.finding import Standing
from fuzz.directory.shards import sha1
from fuzz.directory.store import Store, StoreError
from fuzz.expectation.expect import questions
from fuzz.guidance.feedback import Feedback
from fuzz.mutation.shrink import shrink, sort_key
from fuzz.oracle.asked import Asked
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.oracle.view import Timeline
from fuzz.search import recheck
from fuzz.search.second_look import SecondLook
from fuzz.search.sighting import Observer, Sighting, sightings
from fuzz.search.together import Together

CLEAN: Final = "clean"  # of one that breaks the contract, expectation and judge say the same
ASK_EVERY: Final = 32  # cases: to ask costs as much as to run one, and may take one run more
NOTE_EVERY: Final = 512  # cases: a sample says what of the contract was put to the test
REFUTATIONS: Final = 8  # of one finding, by the source; the compiled code is believed no more
SHRINK_BUDGET: Final = 3000  # runs of the model; a fraction of a second


class Target:
    """One worker's search.

    ``age`` tells the seconds since the campaign began; ``beat`` is called again and again while a
    case is shrunk, which takes long, so that somebody can see that it goes on. ``second_look``:
    what has to agree before there is a finding, where this is a build of the source.
    """

    def __init__(
        self,
        store: Store,
        kernels: Mapping[str, Kernel],
        reading: Reading,
        feedback: Feedback,
        age: Callable[[], float],
        beat: Callable[[], None] = lambda: None,
        second_look: SecondLook | None = None,
    ) -> None:
        self.cases = 0
        self.harness_crashes = 0
        self.hurried = False
        self.recheck = recheck.Recheck(kernels, second_look)
        self.asked = Asked()
        self._store = store
        self._reading = reading
        self._feedback = feedback
        self._age = age
        self._beat = beat
        self._second_look = second_look
        self._model = Model()
        self._kernels = dict(kernels)
        self._together = Together(self._model, kernels)
        self._sizes = {
            finding.name: finding.size
            for finding in store.findings([])
            # A case that shows it no more is no measure for one that does.
            if finding.standing is Standing.THERE
        }
        self._uncounted: Counter[str] = Counter()
        self._crash_sites: set[str] = set()
        self._asked: set[str] = set()
        self._refuted: Counter[str] = Counter()

    def run(self, data: bytes) -> None:
        """One execution. Raises only OSError or StoreError, when something cannot be stored."""
        self.cases += 1
        try:
            case = wire.decode(data)
            groups = self._together.run(case)
            for outcomes, names in groups.items():
                self._feedback.mark(outcomes.runs)
                breaches = judge(case, outcomes, self._reading)
                if breaches:
                    for sighting in sightings(names, case, outcomes, breaches):
                        self._see(sighting)
            if self.cases % ASK_EVERY == 0:
                self._ask(case, self._clean(case, groups))
            if self.cases % NOTE_EVERY == 0:
                self._note(case, groups)
            if self.cases % recheck.EVERY == 0:
                self._run_again(data, case, groups)
        except (OSError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - we are wrong: keep the evidence, go on
            self._crashed(data, error)

    @property
    def found(self) -> bool:
        """Whether the campaign has a finding."""
        return bool(self._sizes)

    def forget_counts(self) -> None:
        """What was seen so far had been seen before."""
        self._uncounted.clear()

    def store_counts(self, worker: int) -> None:
        """Writes down how often each finding was seen since the last time."""
        if self._uncounted:
            seen = Counter(self._store.seen(worker)) + self._uncounted
            self._store.set_seen(worker, seen)
            self._uncounted.clear()

    def _note(self, case: Case, groups: Mapping[Outcomes, Sequence[str]]) -> None:
        """Counts what of the contract the case puts to the test, on every kernel."""
        for outcomes, names in groups.items():
            self.asked.note("", Timeline(case, outcomes), len(names))

    def _run_again(self, data: bytes, case: Case, groups: Mapping[Outcomes, Sequence[str]]) -> None:
        """Keeps a case that comes out otherwise on another machine."""
        with self._feedback.paused():
            difference = self.recheck.difference(case, groups)
        if difference:
            name = f"differed-{sha1(data)}"
            self._store.record_harness_crash(name, data, f"{difference}\n\n{text.dump(case)}")

    def _clean(self, case: Case, groups: Mapping[Outcomes, Sequence[str]]) -> Outcomes:
        """What the case comes to on a kernel that keeps the contract."""
        for outcomes, names in groups.items():
            if CLEAN in names:
                return outcomes
        with self._feedback.paused():
            return self._model.run(case, KERNELS[CLEAN])

    def _ask(self, case: Case, outcomes: Outcomes) -> None:
        """Keeps a case in which that kernel does what was not expected."""
        for question in questions(case, outcomes):
            name = f"{CLEAN}--{_slug(question.reason)}"
            if name not in self._asked:
                self._asked.add(name)
                head = f"# A question, not a finding: {CLEAN}, step {question.step + 1}.\n"
                content = f"{head}# {question.reason}\n{text.dump(case)}"
                self._store.record_question(name, content)

    def _see(self, sighting: Sighting) -> None:
        """Counts, and stores what is new or smaller than before."""
        name, case = sighting.name, sighting.case
        known = self._sizes.get(name)
        # The number of steps first: it decides nearly always, and the rest of the key is dear.
        if known is not None and (len(case.steps) > known.steps or sort_key(case) >= known):
            self._uncounted[name] += 1
            return
        if not self._stands(sighting):
            return
        self._sizes[name] = sort_key(case)
        age = self._age()
        self._store.record(sighting.finding(age, 1, case, shrunk=False))
        if self.hurried:
            return
        smallest = self._shrunk(sighting)
        if not self._stands(smallest):
            return
        self._store.record(smallest.finding(age, 0, case, shrunk=not self.hurried))
        self._sizes[name] = sort_key(smallest.case)

    def _stands(self, sighting: Sighting) -> bool:
        """Whether the source shows it too; if not, the case is kept as one that we are wrong on."""
        look, name, case = self._second_look, sighting.name, sighting.case
        if look is None:
            return True
        if self._refuted[name] == REFUTATIONS:
            return False
        objection = look.objection(sighting.signature, case, sighting.kernel, self._reading)
        if not objection:
            return True
        self._refuted[name] += 1
        self.harness_crashes += 1
        told = f"{name} in compiled code: {objection}\n\n{text.dump(case)}"
        self._store.record_harness_crash(f"refuted-{name}", wire.encode(case), told)
        return False

    def _shrunk(self, sighting: Sighting) -> Sighting:
        name, wanted = sighting.kernel, sighting.signature
        observer = Observer(self._model, name, self._kernels[name], self._reading)

        def interesting(case: Case) -> bool:
            self._beat()
            return not self.hurried and observer.look_for(wanted, case) is not None

        with self._feedback.paused():
            smallest = shrink(sighting.case, interesting, SHRINK_BUDGET)
            return observer.look_for(wanted, smallest) or sighting

    def _crashed(self, data: bytes, error: Exception) -> None:
        self.harness_crashes += 1
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__}-{frame.name}-{frame.lineno}"
        if place not in self._crash_sites:
            self._crash_sites.add(place)
            lines = traceback.format_exception(error)
            self._store.record_harness_crash(place, data, "".join(lines))


def _slug(reason: str) -> str:
    """A question's reason without its numbers, as a part of a file's name."""
    words = re.sub(r"0x[0-9a-f]+", "", reason).lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:80]
