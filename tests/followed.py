"""What the packages on the path make of many cases, a line each; run in a process of its own.

    python -P -m tests.followed CASES KERNEL...

The cases are those of the corpus, and CASES that the mutator makes of them. A line has the case and
the kernel, a digest of outcomes and breaches, and one of the branches that were taken; and for each
case one says how many executions all kernels together took.
"""

import hashlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Final

from emu import casefile, wire
from emu.case import Case
from fuzz.guidance.coverage import Arms, install
from fuzz.guidance.feedback import Feedback
from fuzz.mutation.mutate import MAX_SIZE, Mutator
from fuzz.oracle.contract import Reading
from fuzz.oracle.judge import judge
from fuzz.processes import environment

CORPUS: Final = Path(__file__).parent.parent / "corpus"
# A field that is an int in C forgets which enum's member it was given.
_MEMBER: Final = re.compile(r"<[\w.|]+: (-?\d+)>")


def followed(tree: Path, cases: int, kernels: Sequence[str]) -> list[str]:
    """The lines of a process that runs the packages below ``tree``; the first is where they are."""
    words = [sys.executable, "-P", "-m", "tests.followed", str(cases), *kernels]
    ended = subprocess.run(
        words, env=environment(tree), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def main() -> None:
    """Print them."""
    number, *kernels = sys.argv[1:]
    arms = Arms(compiled=True)
    install(arms)
    from emu.kernels import KERNELS  # noqa: PLC0415 - its branches are counted from here on
    from emu.model import Model  # noqa: PLC0415 - as above
    from fuzz.search.together import Together  # noqa: PLC0415 - as above

    model, feedback = Model(), Feedback(arms)
    asked = {name: KERNELS[name] for name in kernels}
    together = Together(Model(), asked)
    sys.stdout.write(f"{sys.modules['emu.kvm.mmu'].__file__}\n")
    for title, case in _cases(int(number)):
        at_once = together.each(case)
        sys.stdout.write(f"{title} {together.executions} executions\n")
        for name, kernel in asked.items():
            feedback.clear()
            outcomes = model.run(case, kernel)
            assert outcomes == at_once[name], f"{title} on {name}, with other kernels"
            told = repr((case, outcomes, judge(case, outcomes, Reading.PARANOID)))
            seen = Counter(
                place for place, count in zip(arms.places, arms.counts, strict=False) if count
            )
            branches = _digest(repr(sorted(seen.items())))
            sys.stdout.write(f"{title} {name} {_digest(told)} {branches}\n")


def _cases(number: int) -> Iterator[tuple[str, Case]]:
    known = sorted(CORPUS.rglob("*.case"))
    cases = [casefile.load(path.read_text(), path.name).case for path in known]
    yield from zip((path.name for path in known), cases, strict=True)
    rng = Random(1)  # noqa: S311 - nothing here is secret
    mutator = Mutator(rng)
    pool = [data for case in cases if (data := _encoded(case))]
    for count in range(number):
        one, other = rng.choice(pool), rng.choice(pool)
        crossed = mutator.custom_crossover(one, other, MAX_SIZE, count)
        data = mutator.custom_mutator(crossed, MAX_SIZE, count)
        pool[rng.randrange(len(pool))] = data
        yield f"{count}-{_digest(data.hex())}", wire.decode(data)


def _encoded(case: Case) -> bytes:
    """b"" for one that has no room in bytes, or too much of it."""
    try:
        data = wire.encode(case)
    except ValueError:
        return b""
    return data if len(data) <= MAX_SIZE else b""


def _digest(text: str) -> str:
    return hashlib.sha256(_MEMBER.sub(r"\1", text).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
