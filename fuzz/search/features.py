"""What a case reaches, as the bits of a number.

A feature is what the search goes by, an arm of the model or a kind of outcome, and besides these
each finding. Who wants the fewest cases that reach everything asks ``fuzz.search.reduction``.
"""

from collections.abc import Mapping
from typing import Final

from emu import wire
from emu.kvm.kvm_main import Kernel
from emu.model import Model
from fuzz.guidance.feedback import Feedback
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.search.sighting import sightings

FINDINGS: Final = 1 << 12  # bits for them; the others are above


class Features:
    """Runs cases on some kernels, and says what each reached."""

    def __init__(self, kernels: Mapping[str, Kernel], feedback: Feedback) -> None:
        self._kernels = dict(kernels)
        self._feedback = feedback
        self._model = Model()
        self._findings: dict[str, int] = {}

    def of(self, data: bytes) -> int:
        """The features of the case that ``data`` stands for."""
        self._feedback.clear()
        case = wire.decode(data)
        found = 0
        for name, kernel in self._kernels.items():
            outcomes = self._model.run(case, kernel)
            self._feedback.mark(outcomes.runs)
            breaches = judge(case, outcomes, Reading.PARANOID)
            for sighting in sightings(name, case, outcomes, breaches) if breaches else ():
                number = self._findings.setdefault(sighting.name, len(self._findings))
                found |= 1 << number % FINDINGS
        return self._feedback.features() << FINDINGS | found
