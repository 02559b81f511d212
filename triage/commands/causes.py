"""``gff triage causes``: how well findings stand for causes, where the causes are known."""

from collections.abc import Hashable, Sequence
from typing import Final

import msgspec
from rich.console import Group

from emu.kernels import CATALOGUE, Kind
from fuzz.directory.finding import Finding
from fuzz.measuring.causes import Agreement, agreement, groups
from triage.campaigns import DEFAULT, read_campaign
from triage.commands.options import Directory, Json
from triage.durations import counted
from triage.ending import Status, UserError
from triage.screen import printable, show, show_json
from triage.tables import Table, columns

_FINDING: Final = "findings"
_GROUP: Final = "groups of findings"
_SIGNATURE: Final = "signatures alone"


class Split(msgspec.Struct, frozen=True):
    """A slip that left more than one group. ``findings``: their signatures, group by group."""

    kernel: str
    groups: tuple[tuple[str, ...], ...]


class Shared(msgspec.Struct, frozen=True):
    """A signature that slips in several kernels left."""

    signature: str
    kernels: tuple[str, ...]


class Causes(msgspec.Struct, frozen=True):
    """What ``--json`` prints. ``unplanted``: findings that the catalogue does not list for their
    kernel.
    """

    findings: int
    slips: int
    agreements: dict[str, Agreement]
    splits: tuple[Split, ...]
    shared: tuple[Shared, ...]
    unplanted: tuple[str, ...]


def measure_causes(directory: Directory = DEFAULT, json: Json = False) -> Status:
    """Measure how well findings stand for causes, in a campaign of known-bad kernels.

    A known-bad kernel has one slip, so all of its findings have one cause. Homogeneity is 1 where
    no cluster of findings mixes causes, completeness where no cause is in two clusters. Findings of
    a kernel are one group where they differ in injection alone, or where a case shows both. Exit
    status 1 where a finding is none that the catalogue lists for its kernel.

    Example: gff triage causes campaign
    """
    every, damaged = read_campaign(directory)
    planted = [each for each in every if _is_planted(each)]
    if not planted:
        raise UserError(f"{printable(directory)}: no finding on a known-bad kernel")
    causes = _causes(planted)
    if json:
        show_json(causes)
    else:
        show(_screen(causes))
    if damaged:
        return Status.USAGE
    return Status.FINDINGS if causes.unplanted else Status.CLEAN


def _is_planted(finding: Finding) -> bool:
    entry = CATALOGUE.get(finding.kernel)
    return entry is not None and entry.kind is Kind.KNOWN_BAD


def _causes(findings: Sequence[Finding]) -> Causes:
    group = groups(findings)

    def grouped(finding: Finding) -> Hashable:
        return group[finding.name]

    return Causes(
        findings=len(findings),
        slips=len({each.kernel for each in findings}),
        agreements={
            _FINDING: agreement(findings, lambda each: each.name),
            _GROUP: agreement(findings, grouped),
            _SIGNATURE: agreement(findings, lambda each: each.signature),
        },
        splits=_splits(findings, group),
        shared=_shared(findings),
        unplanted=tuple(
            each.name for each in findings if each.signature not in CATALOGUE[each.kernel].breaks
        ),
    )


def _splits(findings: Sequence[Finding], group: dict[str, int]) -> tuple[Split, ...]:
    parts: dict[str, dict[int, list[str]]] = {}
    for each in findings:
        of_kernel = parts.setdefault(each.kernel, {})
        of_kernel.setdefault(group[each.name], []).append(each.signature)
    return tuple(
        Split(kernel, tuple(sorted(tuple(sorted(names)) for names in of_kernel.values())))
        for kernel, of_kernel in sorted(parts.items())
        if len(of_kernel) > 1
    )


def _shared(findings: Sequence[Finding]) -> tuple[Shared, ...]:
    kernels: dict[str, list[str]] = {}
    for each in findings:
        kernels.setdefault(each.signature, []).append(each.kernel)
    return tuple(
        Shared(signature, tuple(sorted(names)))
        for signature, names in sorted(kernels.items())
        if len(names) > 1
    )


def _screen(causes: Causes) -> Group:
    table = columns("clusters", "number", "homogeneity", "completeness", right=("number",))
    for name, each in causes.agreements.items():
        shares = f"{each.homogeneity:.3f}", f"{each.completeness:.3f}"
        table.add_row(name, f"{each.clusters:,}", *shares)
    head = f"{counted(causes.findings, 'finding')} of {counted(causes.slips, 'planted slip')}"
    parts: list[str | Table] = [head, "", table]
    if causes.splits:
        parts += ["", "slips in more than one group:", _split_table(causes.splits)]
    if causes.shared:
        parts += ["", "signatures of more than one slip:", _shared_table(causes.shared)]
    parts += [f"not in the catalogue: {name}" for name in causes.unplanted]
    return Group(*parts)


def _split_table(splits: Sequence[Split]) -> Table:
    table = columns("kernel", "groups", wide="groups")
    for split in splits:
        table.add_row(split.kernel, "; ".join(" ".join(names) for names in split.groups))
    return table


def _shared_table(shared: Sequence[Shared]) -> Table:
    table = columns("signature", "kernels", wide="kernels")
    for each in shared:
        table.add_row(each.signature, ", ".join(each.kernels))
    return table
