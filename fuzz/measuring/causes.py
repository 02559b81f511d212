"""How well the findings of a campaign stand for causes, where the causes are known.

A known-bad kernel has one slip, so all of its findings have one cause. Homogeneity says whether a
cluster of findings holds one cause only, completeness whether a cause is in one cluster only: both
are 1 where findings and causes are one to one (Rosenberg and Hirschberg, V-Measure, EMNLP 2007).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from math import log
from typing import NamedTuple

from emu import text
from emu.kernels import KERNELS
from emu.model import Model
from emu.text import CaseSyntaxError
from fuzz.directory.finding import Finding
from fuzz.oracle.contract import Reading
from fuzz.search.sighting import Observer

Cluster = Callable[[Finding], Hashable]


class Agreement(NamedTuple):
    """How well clusters and causes agree, each from 0 to 1; and how many clusters there are."""

    clusters: int
    homogeneity: float
    completeness: float


def agreement(findings: Sequence[Finding], cluster: Cluster) -> Agreement:
    """Of findings on known-bad kernels, each counted once."""
    pairs = [(finding.kernel, cluster(finding)) for finding in findings]
    causes = _entropy([cause for cause, _ in pairs])
    clusters = _entropy([each for _, each in pairs])
    both = _entropy(pairs)
    return Agreement(
        len({each for _, each in pairs}),
        _share(both - clusters, causes),
        _share(both - causes, clusters),
    )


def _entropy(labels: Sequence[Hashable]) -> float:
    shares = [count / len(labels) for count in Counter(labels).values()]
    return -sum(share * log(share) for share in shares)


def _share(unexplained: float, whole: float) -> float:
    return 1.0 if whole == 0 else 1.0 - max(unexplained, 0.0) / whole


def groups(findings: Sequence[Finding]) -> dict[str, int]:
    """The group of each finding, by its name: a number.

    Two of a kernel are in one group where they are the same but for an injection, where the
    smallest case of one shows the other as well, or where a third links them. Runs each smallest
    case on the model; one whose case or kernel is of another version of gff shows nothing else.
    """
    model = Model()
    numbers = {finding.name: number for number, finding in enumerate(findings)}
    for finding in findings:
        for other in (finding.name.replace("-injected", "-natural"), *_shown(model, finding)):
            if other in numbers:
                old, new = numbers[other], numbers[finding.name]
                numbers = {name: new if each == old else each for name, each in numbers.items()}
    return numbers


def _shown(model: Model, finding: Finding) -> list[str]:
    """The names of all findings that its smallest case shows."""
    kernel = KERNELS.get(finding.kernel)
    if kernel is None:
        return []
    try:
        case = text.load(finding.smallest)
    except CaseSyntaxError:
        return []
    observer = Observer(model, finding.kernel, kernel, Reading.PARANOID)
    return [seen.name for seen in observer.look(case)]
