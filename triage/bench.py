"""What ``gff bench`` measures beyond one case: campaigns, cores, memory over time, real kernels.

Every figure comes with its ratio to the floor, the emulator alone, in the same run: the figures are
this machine's, on this day, and only ratios can be compared with another's.
"""

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from emu import text
from emu.case import Case
from emu.live.fleet import Fleet
from emu.live.needs import Needs
from emu.live.pool import WINDOW
from emu.model import Model
from emu.outcome import Outcomes
from fuzz.campaign.status import Snapshot
from fuzz.campaign.supervisor import Settings, run_campaign
from fuzz.directory.store import Store
from fuzz.guidance.coverage import Mode
from fuzz.oracle.contract import Reading
from fuzz.processes import environment
from triage.ending import MissingError
from triage.inputs import DEFAULT_KERNEL, engine
from triage.observation import live_fleet
from triage.speed import Layer, entries

FORMAT: Final = 2
QUARTERS: Final = 4
_PACKAGES: Final = ("guest-fault-fuzzer", "unicorn", "atheris")
_FLOOR_SECONDS: Final = 2.0
_BATCH: Final = 500
# Two accesses that a real kernel serves, and two that leave: no event that needs privileges.
_LIVE_CASE: Final = text.load(
    """create gmem0 size=0x1000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
guest read64 slot0+0x10
run
guest read64 0x9000000
run
"""
)


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured."""

    cpu: str
    cores: int
    system: str
    python: str
    versions: dict[str, str]


class Campaign(msgspec.Struct, frozen=True):
    """A short campaign of one worker, with coverage on, in an empty directory."""

    seconds: float
    cases: int
    cases_per_second: float
    engine: str

    @property
    def layer(self) -> Layer:
        """The campaign as a layer."""
        return Layer("a campaign: one worker, coverage on", 1e6 / self.cases_per_second)


class Cores(msgspec.Struct, frozen=True):
    """Some processes at once, in multiples of one: the floor's, a campaign's, and their ratio."""

    processes: int
    floor: float
    campaign: float

    @property
    def ratio(self) -> float:
        """How well a campaign scales, next to what the machine gives."""
        return self.campaign / self.floor


class Memory(msgspec.Struct, frozen=True):
    """A worker's resident memory after so many cases."""

    cases: int
    rss_mib: int


class Live(msgspec.Struct, frozen=True):
    """Boxes that play one small case again and again, a fresh VM each."""

    image: str
    linux: str
    boxes: int
    cases: int
    cases_per_second: float

    @property
    def layer(self) -> Layer:
        """The boxes as a layer."""
        boxes = "one box" if self.boxes == 1 else f"{self.boxes} boxes"
        return Layer(f"a real kernel: {self.image}, {boxes}", 1e6 / self.cases_per_second)


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """What ``--json`` prints and ``--save`` keeps. ``ratios``: each layer's to the first.
    ``compiled``: all but the boxes ran what ``gff compile`` had made.

    The layers are the emulator alone, the model, the whole case, a campaign, and boxes.
    """

    format: int
    at: datetime
    machine: Machine
    rounds: int
    cases_per_round: int
    kvm_runs_per_case: int
    layers: tuple[Layer, ...]
    ratios: tuple[float, ...]
    campaign: Campaign | None
    cores: tuple[Cores, ...]
    memory: tuple[Memory, ...]
    live: tuple[Live, ...]
    compiled: bool = False


def machine() -> Machine:
    """This one."""
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions={name: _version(name) for name in _PACKAGES},
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def now() -> datetime:
    """To the second."""
    return datetime.now(UTC).replace(microsecond=0)


def ratios(layers: Sequence[Layer]) -> tuple[float, ...]:
    """What each layer costs, in units of the first."""
    return tuple(each.us_per_case / layers[0].us_per_case for each in layers)


# CAMPAIGNS


def campaign(seconds: float, tree: Path) -> Campaign:
    """One worker for so long."""
    end, _ = _run(1, seconds, None, tree)
    return Campaign(end.seconds, end.cases, end.cases_per_second, _engine())


def memory(cases: int, tree: Path) -> tuple[Memory, ...]:
    """One worker over so many cases, looked at after each quarter."""
    _, seen = _run(1, None, cases, tree)
    found: list[Memory] = []
    for quarter in range(1, QUARTERS + 1):
        wanted = cases * quarter // QUARTERS
        found.append(min(seen, key=lambda it: abs(it.cases - wanted)))
    return tuple(found)


def cores(counts: Sequence[int], seconds: float, tree: Path) -> tuple[Cores, ...]:
    """The floor and a campaign with so many processes, in turns.

    ``seconds`` is what the most of them take. Fewer take as much longer: a corpus that has evolved
    further has cases that take longer, and all are to come as far.
    """
    found: list[Cores] = []
    floor = worked = 0.0
    for count in counts:
        alone = sum(_floors(count, tree))
        end, _ = _run(count, seconds * max(counts) / count, None, tree)
        together = end.cases_per_second * count
        if count == 1:
            floor, worked = alone, together
        if not worked:
            return ()
        found.append(Cores(count, alone / floor, together / worked))
    return tuple(found)


def core_counts() -> tuple[int, ...]:
    """One, and twice as many until there are no more cores."""
    number = len(os.sched_getaffinity(0))
    doubled = [1 << power for power in range(number.bit_length()) if 1 << power < number]
    return (*doubled, number)


def _run(
    workers: int, seconds: float | None, cases: int | None, tree: Path
) -> tuple[Snapshot, list[Memory]]:
    """A campaign that is thrown away, and the memory of its first worker on the way."""
    seen: list[Memory] = []
    with tempfile.TemporaryDirectory(prefix="gff-bench-") as directory:
        settings = Settings(
            campaign=Path(directory) / "campaign",
            kernels=(DEFAULT_KERNEL,),
            reading=Reading.STRICT,
            workers=workers,
            seconds=seconds,
            cases=cases,
            coverage=Mode.COUNTERS,
            seed=1,
            engine=engine(None, Mode.COUNTERS),
            tree=tree,
        )
        store = Store(settings.campaign)

        def look(_: Snapshot) -> None:
            status = store.status(0)
            if status is not None:
                seen.append(Memory(status.cases, status.rss_mib))

        end = run_campaign(settings, look).snapshot
    return end, seen


def _engine() -> str:
    return engine(None, Mode.COUNTERS).value


# THE FLOOR


def _floors(count: int, tree: Path) -> list[float]:
    """Cases a second of each of some processes that do nothing but the emulator's entries."""
    words = [sys.executable, "-P", "-m", "triage.bench", repr(_FLOOR_SECONDS)]
    processes = [
        subprocess.Popen(words, stdout=subprocess.PIPE, env=environment(tree)) for _ in range(count)
    ]
    return [float(process.communicate()[0]) for process in processes]


def floor(seconds: float) -> float:
    """Cases a second of the emulator alone, over so long."""
    cpu = Model().cpu
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        for _ in range(_BATCH):
            entries(cpu)
        done += _BATCH
    return done / spent


# REAL KERNELS


def box_counts() -> tuple[int, ...]:
    """One, and as many as leave a core for this side."""
    return tuple(sorted({1, max(1, len(os.sched_getaffinity(0)) - 1)}))


def live(image: str, boxes: int, seconds: float) -> Live:
    """So many boxes for so long; MissingError where they cannot play."""
    with live_fleet(image, boxes, Needs()) as fleet:
        _play(fleet, [_LIVE_CASE] * WINDOW * boxes)  # each is up, and has made its first VMs
        started = time.perf_counter()
        done = _play(fleet, _until(started + seconds))
        spent = time.perf_counter() - started
        return Live(image, fleet.host.kernel, boxes, done, done / spent)


def _until(end: float) -> Iterator[Case]:
    while time.perf_counter() < end:
        yield _LIVE_CASE


def _play(fleet: Fleet, cases: Iterable[Case]) -> int:
    done = 0
    for played in fleet.play(cases):
        if not isinstance(played.result, Outcomes):
            raise MissingError(f"{fleet.host.kernel}: {played.result.reason}")
        done += 1
    return done


if __name__ == "__main__":
    sys.stdout.write(f"{floor(float(sys.argv[1]))}\n")
