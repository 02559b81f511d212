"""How long one case takes, layer by layer: the emulator alone, the kernel on top, the whole case.

All layers do the same case with the same guest entries, so that a ratio is what a layer adds.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from emu import text, wire
from emu.access import Access
from emu.cpu import Cpu, Exit
from emu.kernels import KERNELS
from emu.model import Model
from emu.stage2 import Prot
from fuzz.oracle.judge import judge
from fuzz.processes import environment

# Two faults that are served and one that is not: three KVM_RUNs, five guest entries.
CASE: Final = text.load(
    """create gmem0 size=0x3000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x3000 gmem0+0x0 flags=guest-memfd
guest read64 slot0+0x10
run
guest write64 slot0+0x1010
run
memory-limit on
guest read64 slot0+0x2010
run
"""
)
RUNS: Final = 3
_KERNEL: Final = "v7.3"
_BASE: Final = 0x4000_0000
_PAGE: Final = 0x1000
_WITHIN: Final = 0x10

ROUNDS: Final = 9
CASES: Final = 2000  # a round


class Layer(msgspec.Struct, frozen=True):
    """One layer: microseconds for a case, the median of the rounds."""

    name: str
    us_per_case: float


def layers_of(tree: Path, rounds: int = ROUNDS, cases: int = CASES) -> tuple[Layer, ...]:
    """The layers of the packages below ``tree``: the source here, or a build of it."""
    words = [sys.executable, "-P", "-m", "triage.speed", str(rounds), str(cases)]
    said = subprocess.run(words, stdout=subprocess.PIPE, env=environment(tree), check=True).stdout
    return msgspec.json.decode(said, type=tuple[Layer, ...])


def layers(rounds: int = ROUNDS, cases: int = CASES) -> tuple[Layer, ...]:
    """The layers, measured in turns, so that a change of the clock hits all of them."""
    model = Model()
    kernel, data = KERNELS[_KERNEL], wire.encode(CASE)

    def whole() -> None:
        case = wire.decode(data)
        judge(case, model.run(case, kernel))

    todo: dict[str, Callable[[], object]] = {
        "emulator entries alone": lambda: entries(model.cpu),
        "the same with the modelled kernel": lambda: model.run(CASE, kernel),
        "the whole case: decode, run, judge": whole,
    }
    taken: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(rounds + 1):
        for name, once in todo.items():
            spent = _time(once, cases)
            if number:  # the first is to warm up
                taken[name].append(spent)
    return tuple(Layer(name, median(spent) * 1e6) for name, spent in taken.items())


def entries(cpu: Cpu) -> list[Exit]:
    """What CASE makes the emulator do, with a kernel that does nothing but map."""
    cpu.reset(CASE.vm.ipa_bits, True)
    exits = []
    for page, access in enumerate((Access.READ64, Access.WRITE64)):
        cpu.load(access, _BASE + page * _PAGE + _WITHIN, True)
        exits.append(cpu.enter())
        cpu.stage2.map(_BASE + page * _PAGE, cpu.arena.allocate(), Prot.R | Prot.W)
        exits.append(cpu.enter())
    cpu.load(Access.READ64, _BASE + 2 * _PAGE + _WITHIN, True)
    return [*exits, cpu.enter()]


def _time(once: Callable[[], object], cases: int) -> float:
    """Seconds for one, over ``cases`` of them."""
    start = time.perf_counter()
    for _ in range(cases):
        once()
    return (time.perf_counter() - start) / cases


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(layers(*map(int, sys.argv[1:]))))
