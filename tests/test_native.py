"""What `gff compile` has made does what the source does; `make native-test` compiles it first."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from emu import text
from emu.kernels import KERNELS
from emu.model import Model
from fuzz.campaign.supervisor import run_campaign
from fuzz.directory.finding import Standing
from fuzz.directory.opening import open_store
from fuzz.native import builds
from fuzz.oracle.contract import Reading
from fuzz.processes import SOURCE, environment
from fuzz.search.sighting import Observer
from tests.followed import followed
from tests.stops import MOST, stopped
from tests.test_campaign import LEAK, ignore, needs_atheris, settings

pytestmark = pytest.mark.native

PLAYED: Final = (
    "v7.3",
    "v6.18",
    "clean",
    "gated-prepare-reset",
    "twin-pages-only",
    "bad-raw-errno",
)


@pytest.fixture(scope="module")
def tree() -> Path:
    found = builds.found()
    assert found is not None, "gff compile was not run on this source"
    return found


@pytest.mark.parametrize(
    ("cases", "kernels"),
    [(0, tuple(KERNELS)), (10_000, PLAYED)],
    ids=["the corpus on every kernel", "mutants"],
)
def test_outcomes_breaches_and_branches_are_those_of_the_source(
    tree: Path, cases: int, kernels: tuple[str, ...]
) -> None:
    where, *compiled = followed(tree, cases, kernels)
    assert where.startswith(str(tree))
    assert not where.endswith(".py")
    _, *written = followed(SOURCE, cases, kernels)
    assert len(written) >= cases * len(kernels)
    assert compiled == written


@needs_atheris
def test_a_campaign_finds_what_the_source_shows(tree: Path, tmp_path: Path) -> None:
    asked = replace(settings(tmp_path / "c"), tree=tree, cases=30_000, reading=Reading.PARANOID)
    summary = run_campaign(asked, ignore)
    assert summary.compiled
    assert (summary.snapshot.harness_crashes, summary.snapshot.restarts) == (0, 0)
    store = open_store(tmp_path / "c")
    assert store.configuration().compiled
    found = store.findings()
    assert LEAK in {finding.name for finding in found}
    model = Model()
    for finding in found:
        observer = Observer(model, "v7.3", KERNELS["v7.3"], Reading.PARANOID)
        seen = {str(it.signature): it for it in observer.look(text.load(finding.smallest))}
        assert finding.signature in seen
        assert seen[finding.signature].breach.reason == finding.reason
        assert finding.standing is Standing.THERE


@needs_atheris
@pytest.mark.usefixtures("tree")
def test_ctrl_c_ends_it_as_soon(tmp_path: Path) -> None:
    stop = stopped(tmp_path / "c", 2, ["v7.3", "clean"], 0.5, 1)
    assert open_store(tmp_path / "c").configuration().compiled
    assert stop.end <= MOST
    assert not stop.killed


def test_the_traceback_of_a_mistake_leads_to_the_files_that_were_compiled(tree: Path) -> None:
    program = """
from emu import text
from emu.model import Model
from tests.test_target import LEAKING, Stumbling

Model().run(text.load(LEAKING), Stumbling())
"""
    words = [sys.executable, "-P", "-c", program]
    environ = environment(tree)
    ended = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    assert "ZeroDivisionError: ours" in ended.stderr
    place = re.search(r'File "(emu/model.py)", line (\d+), in kvm_run', ended.stderr)
    assert place is not None, ended.stderr
    line = (tree / place[1]).read_text().splitlines()[int(place[2]) - 1]
    assert "kvm_vcpu_ioctl_run" in line
