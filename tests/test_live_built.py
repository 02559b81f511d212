"""Built kernels in real boxes: each says which it is, and does what is expected of it."""

import msgspec
import pytest

from emu import casefile
from emu.live.build_variants import MODELS
from tests.command import Gff
from tests.live_boxes import built_image
from triage.corpus_files import case_files, corpus_dir
from triage.corpus_live import LiveChecked
from triage.live_views import Booted
from triage.observation import modelled

pytestmark = pytest.mark.live

# Where a kernel's cases are looked for: the first that have some are enough.
PLACES = ({"thread", "observed"}, {"bad", "recover", "logging"}, {"nested"})


def cases(model: str) -> list[str]:
    """Files that expect something of that kernel."""
    told = [
        path
        for path in case_files(corpus_dir())
        if casefile.load(path.read_text(), path.name).expected_of(model)
    ]
    found = ([str(path) for path in told if path.parent.name in places] for places in PLACES)
    return next(filter(None, found))


@pytest.mark.parametrize("model", MODELS)
def test_a_built_kernel_boots_and_says_which_it_is(call: Gff, model: str) -> None:
    done = call("live", "boot", "--image", built_image(model).name, "--json")
    assert (done.status, done.err) == (0, "")
    booted = msgspec.json.decode(done.out, type=Booted)
    assert modelled(booted.kernel) == model
    assert booted.complaints == ()


@pytest.mark.parametrize("model", MODELS)
def test_a_built_kernel_does_what_the_corpus_expects_of_it(call: Gff, model: str) -> None:
    image = built_image(model).name
    done = call("corpus", "check", *cases(model), "--live", image, "--json")
    assert done.err == ""
    checked = msgspec.json.decode(done.out, type=LiveChecked)
    assert (checked.mismatches, checked.lost) == ((), ())
    assert checked.played
