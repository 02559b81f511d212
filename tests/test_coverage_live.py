"""Coverage of a real kernel: what a case must reach, and that the report is of the corpus."""

from pathlib import Path

import msgspec
import pytest

from emu import text
from emu.live import source_lines
from emu.live.build_variants import KCOV
from emu.live.fleet import Fleet
from emu.live.needs import Needs
from emu.live.pool import Pool
from emu.live.tracing import Reached, trace
from tests.command import LEAK, Gff
from tests.live_boxes import built_image, cached_image, executor
from triage.source_coverage import SourceCoverage

pytestmark = pytest.mark.live

CORPUS = Path(__file__).parent.parent / "corpus"


@pytest.fixture(scope="module")
def image() -> str:
    return built_image("v7.3", KCOV).name


def reached(image: str, *cases: str) -> list[set[str]]:
    """The functions that each case reached."""
    functions = source_lines.load(image)
    with Pool(cached_image(image), executor(), Needs(debugfs=True), boxes=1, limit=60.0) as pool:
        told = list(trace(Fleet(pool), [text.load(each) for each in cases]))
    found = []
    for each in told:
        assert isinstance(each.result, Reached), str(each.result)
        assert not each.result.cut
        found.append({one.name for one in functions if one.reached(each.result.pcs)})
    return found


def test_a_case_reaches_the_functions_of_its_fault_and_no_other_cases(image: str) -> None:
    gmem, anonymous = reached(
        image,
        LEAK,
        "create mem0 size=0x1000 anon\n"
        "memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0\nguest read64 slot0+0x0\nrun\n",
    )
    common = {"kvm_handle_guest_abort", "kvm_arch_vcpu_ioctl_run"}
    assert common <= gmem & anonymous
    assert {"gmem_abort", "kvm_gmem_get_pfn"} <= gmem - anonymous
    assert "user_mem_abort" in anonymous - gmem


def test_a_kernel_that_cannot_tell_says_so(call: Gff) -> None:
    done = call("live", "coverage", cached_image().name)
    assert done.status == 3
    assert "does not tell what is reached" in done.err


def test_the_report_is_of_the_cases_that_were_named(call: Gff, image: str) -> None:
    done = call("live", "coverage", image, str(CORPUS / "thread"), "--boxes", "1", "--json")
    found = msgspec.json.decode(done.out, type=SourceCoverage)
    assert found.clean
    assert 0 < found.reached < found.lines
    assert found.played + sum(each.count for each in found.unsupported) == found.cases
    names = {one.name for each in found.files for one in each.functions}
    assert "gmem_abort" in names
