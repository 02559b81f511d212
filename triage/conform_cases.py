"""Cases to compare the model and a live machine by: those of the corpus, and random ones."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from emu import wire
from emu.case import Case, VcpuState, VmConfig
from emu.live.unsupported import Host, objection
from emu.outcome import Outcomes
from emu.steps import Run
from fuzz.mutation.mutate import MAX_STEPS, Mutator

_KEPT: Final = 3000  # cases to go on from
_ANEW: Final = 0.2  # how often two are crossed over, instead of one mutated
_NO_STEPS: Final = wire.encode(Case(VmConfig(), (Run(0),)))


class RandomCases:
    """Cases that both machines can play, mutated from those whose outcomes were new.

    ``left_out`` counts what the live machine cannot do and was therefore taken out, by reason.
    ``nested``: the guest of each has EL2, as those of the seeds that they are mutated from.
    """

    def __init__(
        self, seeds: Sequence[Case], host: Host, rng: Random, *, nested: bool = False
    ) -> None:
        self.left_out: Counter[str] = Counter()
        self._rng = rng
        self._host = host
        self._nested = nested
        self._mutator = Mutator(rng)
        given = [each for each in seeds if each.vm.nested or not nested]
        self._pool = [_NO_STEPS, *(wire.encode(playable(each, host, Counter())) for each in given)]
        self._seen: set[tuple[object, ...]] = set()

    def draw(self) -> Case:
        """A case with at least one KVM_RUN."""
        while True:
            first = self._rng.choice(self._pool)
            if self._rng.random() < _ANEW:
                data = self._mutator.cross_over(first, self._rng.choice(self._pool))
            else:
                data = self._mutator.mutate(first)
            case = wire.decode(data)
            if self._nested:
                case = replace(case, vm=replace(case.vm, nested=True))
            case = playable(case, self._host, self.left_out)
            if any(isinstance(step, Run) for step in case.steps):
                return case

    def learn(self, case: Case, outcomes: Outcomes) -> None:
        """Go on from ``case`` too if nothing came to this before."""
        shape = _shape(outcomes)
        if shape not in self._seen and len(self._pool) < _KEPT:
            self._seen.add(shape)
            self._pool.append(wire.encode(case))


def playable(case: Case, host: Host, left_out: Counter[str]) -> Case:
    """The case without what this host cannot do."""
    while (found := objection(case, host)) is not None:
        left_out[found.reason] += 1
        if found.step is None:
            # An ordinary VM and few steps: what else there may be is the host's own lack.
            case = Case(_plain(case.vm, host), case.steps[:MAX_STEPS])
        else:
            kept = (*case.steps[: found.step], *case.steps[found.step + 1 :])
            case = replace(case, steps=kept)
    return case


def _plain(vm: VmConfig, host: Host) -> VmConfig:
    """An ordinary VM of the same options."""
    return VmConfig(
        ipa_bits=vm.ipa_bits,
        nisv_to_user=vm.nisv_to_user,
        sea_to_user=vm.sea_to_user,
        cold=vm.cold,
        nested=vm.nested and host.nested,
        page_size=host.page_size,
        vcpu=vm.vcpu if vm.vcpu is not VcpuState.UNFINALIZED else VcpuState.READY,
    )


def _shape(outcomes: Outcomes) -> tuple[object, ...]:
    runs = ((run.errno, run.exit_reason, run.fresh, len(run.exceptions)) for run in outcomes.runs)
    return (*runs, *(refusal.errno for refusal in outcomes.refusals))
