"""The figures of ``gff bench`` as a terminal shows them, beside those of an earlier run."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from triage.bench import Bench, Cores
from triage.durations import counted
from triage.speed import Layer
from triage.tables import Table, columns

_LAYER: Final = ("us/case", "us/KVM_RUN", "cases/s", "ratio")
_CORES: Final = ("floor", "campaign", "ratio")
_MEMORY: Final = ("cases", "MiB")
_EARLIER: Final = ("earlier", "change")


def report(result: Bench, earlier: Bench | None) -> RenderableType:
    """Layers, cores and memory below one another, and how they were measured."""
    parts: list[RenderableType] = [_layers(result, earlier), "", *_how(result)]
    if result.cores:
        parts += ["", _cores(result, earlier)]
    if result.memory:
        parts += ["", _memory(result, earlier)]
    parts += ["", *map(Text, _machine(result, earlier))]
    return Group(*parts)


def _layers(result: Bench, earlier: Bench | None) -> Table:
    table = _table("", _LAYER, earlier)
    known = zip(earlier.layers, earlier.ratios, strict=True) if earlier else ()
    before = {each.name: ratio for each, ratio in known}
    for layer, ratio in zip(result.layers, result.ratios, strict=True):
        each = layer.us_per_case
        shown = (f"{each:.1f}", _per_run(layer, result), f"{1e6 / each:,.0f}", f"{ratio:.2f}")
        beside = _beside(ratio, before.get(layer.name)) if earlier else ()
        table.add_row(layer.name, *shown, *beside)
    return table


def _table(first: str, numbers: Sequence[str], earlier: Bench | None) -> Table:
    """Two columns more where there are earlier figures."""
    right = (*numbers, *(_EARLIER if earlier else ()))
    return columns(first, *right, right=right)


def _per_run(layer: Layer, result: Bench) -> str:
    """Only the first three do the case that is known to have so many."""
    if layer not in result.layers[:3]:
        return ""
    return f"{layer.us_per_case / result.kvm_runs_per_case:.2f}"


def _beside(value: float, before: float | None) -> tuple[str, str]:
    if before is None:
        return "", ""
    return f"{before:.2f}", f"{(value / before - 1) * 100:+.0f} %"


def _how(result: Bench) -> Iterator[Text]:
    rounds = f"{result.rounds} rounds of {result.cases_per_round:,} cases"
    yield Text(f"one case of {result.kvm_runs_per_case} KVM_RUNs, the median of {rounds}")
    if result.campaign:
        done = result.campaign
        made = f"{done.cases:,} cases of its own making in {done.seconds:.1f} s"
        yield Text(f"campaign: {made}, engine {done.engine}")
    for box in result.live:
        yield Text(f"{box.image}: Linux {box.linux}, {counted(box.cases, 'small case')}")


def _cores(result: Bench, earlier: Bench | None) -> Table:
    table = _table("processes", _CORES, earlier)
    before = {each.processes: each.ratio for each in earlier.cores} if earlier else {}
    for each in result.cores:
        beside = _beside(each.ratio, before.get(each.processes)) if earlier else ()
        table.add_row(f"{each.processes}", *_scaled(each), *beside)
    return table


def _scaled(each: Cores) -> tuple[str, str, str]:
    return f"{each.floor:.2f}x", f"{each.campaign:.2f}x", f"{each.ratio:.2f}"


def _memory(result: Bench, earlier: Bench | None) -> Table:
    table = _table("memory", _MEMORY, earlier)
    before = [each.rss_mib for each in earlier.memory] if earlier else []
    for quarter, each in enumerate(result.memory):
        known = float(before[quarter]) if quarter < len(before) else None
        old, change = _beside(float(each.rss_mib), known)
        beside = (old.removesuffix(".00"), change) if earlier else ()
        table.add_row(f"{quarter + 1}/4", f"{each.cases:,}", f"{each.rss_mib}", *beside)
    return table


def _machine(result: Bench, earlier: Bench | None) -> Iterator[str]:
    yield _described(result)
    if earlier is not None:
        same = (earlier.machine, earlier.compiled) == (result.machine, result.compiled)
        what = "the same machine and versions" if same else _described(earlier)
        yield f"earlier: {earlier.at:%Y-%m-%d %H:%M} UTC, {what}"


def _described(result: Bench) -> str:
    it = result.machine
    versions = ", ".join(f"{name} {version}" for name, version in it.versions.items() if version)
    how = "; compiled" if result.compiled else ""
    return f"{it.cpu}, {counted(it.cores, 'core')}; {it.python}; {versions}{how}"
