"""How well findings stand for planted causes."""

from pathlib import Path

import msgspec
import pytest

from fuzz.directory.finding import Finding
from fuzz.measuring.causes import agreement, groups
from tests.command import LEAK, Gff, campaign, finding

FORGOTTEN, ERRNO = "bad-prepare-forgotten", "bad-raw-errno"


def on(kernel: str, signature: str, smallest: str = LEAK) -> Finding:
    return msgspec.structs.replace(finding(signature, kernel, 1.0), smallest=smallest)


def test_one_finding_for_each_cause_is_perfect() -> None:
    found = [on(ERRNO, "C2-gmem_abort-natural"), on(FORGOTTEN, "C5-gmem_abort-natural")]
    assert agreement(found, lambda each: each.signature) == (2, 1.0, 1.0)


def test_one_cluster_for_two_causes_mixes_them() -> None:
    found = [on(ERRNO, "C2-gmem_abort-natural"), on(FORGOTTEN, "C2-gmem_abort-natural")]
    assert agreement(found, lambda each: each.signature) == (1, 0.0, 1.0)


def test_two_clusters_for_a_cause_split_it() -> None:
    found = [on(ERRNO, "C2-gmem_abort-natural"), on(ERRNO, "C2-gmem_abort-injected")]
    assert agreement(found, lambda each: each.signature) == (2, 1.0, 0.0)


def test_a_cause_split_in_two_of_three_is_half_complete() -> None:
    found = [on("a", "C1-x-natural"), on("a", "C1-y-natural"), *[on("b", "C1-z-natural")] * 2]
    clusters, homogeneity, completeness = agreement(found, lambda each: each.signature)
    assert (clusters, homogeneity) == (3, 1.0)
    # Entropies in bits: 1 of the causes, 1.5 of the clusters, 1.5 of the pairs.
    assert completeness == pytest.approx(1 - 0.5 / 1.5)


def test_what_differs_in_injection_alone_is_one_group() -> None:
    found = [on(ERRNO, "C2-gmem_abort-natural"), on(ERRNO, "C2-gmem_abort-injected")]
    assert len(set(groups(found).values())) == 1


def test_what_one_case_shows_is_one_group() -> None:
    found = [on("v7.3", "C9-elsewhere-natural"), on("v7.3", "C2-gmem_abort-natural", "")]
    assert len(set(groups(found).values())) == 1  # the first one's case is the leak


def test_findings_of_two_kernels_are_never_one_group() -> None:
    found = [on("v7.3", "C2-gmem_abort-natural"), on("v7.2", "C2-gmem_abort-natural")]
    assert len(set(groups(found).values())) == 2


@pytest.mark.parametrize(("kernel", "case"), [("v9.9", LEAK), ("v7.3", "no word of ours\n")])
def test_a_finding_of_another_version_is_a_group_of_its_own(kernel: str, case: str) -> None:
    found = [on(kernel, f"C{n}-gmem_abort-natural", case) for n in (2, 1)]
    assert len(set(groups(found).values())) == 2


def test_the_command_shows_the_figures_and_what_is_split_or_shared(
    call: Gff, tmp_path: Path
) -> None:
    campaign(
        tmp_path / "c",
        on("bad-size-zero", "C4-gmem_abort-natural"),
        on("bad-size-zero", "C4-gmem_abort_l2-natural", ""),
        on("bad-gpa-as-gfn", "C4-gmem_abort-natural"),
    )
    status, out, _ = call("triage", "causes", str(tmp_path / "c"))
    assert status == 0
    assert "3 findings of 2 planted slips" in out
    assert "bad-size-zero  C4-gmem_abort-natural; C4-gmem_abort_l2-natural" in out
    assert "C4-gmem_abort-natural  bad-gpa-as-gfn, bad-size-zero" in out


def test_what_the_catalogue_does_not_list_is_told(call: Gff, tmp_path: Path) -> None:
    campaign(tmp_path / "c", on("bad-size-zero", "C9-gmem_abort-natural"))
    status, out, _ = call("triage", "causes", str(tmp_path / "c"))
    assert status == 1
    assert "not in the catalogue: bad-size-zero--C9-gmem_abort-natural" in out


def test_a_campaign_without_known_bad_kernels_is_refused(call: Gff, tmp_path: Path) -> None:
    campaign(tmp_path / "c", on("v7.3", "C2-gmem_abort-natural"))
    status, _, err = call("triage", "causes", str(tmp_path / "c"))
    assert status == 2
    assert "no finding on a known-bad kernel" in err
