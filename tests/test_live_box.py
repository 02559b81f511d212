"""Real boxes: booted, saved, resumed, killed; and a pool of them that loses nothing."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec
import pytest

import emu
from emu.live import box, debian
from emu.live.box import Box
from emu.live.console import Complaint
from emu.live.needs import Needs
from emu.live.pool import Answer, Pool
from emu.live.saved import Saved
from emu.live.trouble import BoxError
from tests.command import Gff
from tests.live_boxes import cached_image, echo
from triage.live_views import Booted

pytestmark = pytest.mark.live

LIMIT: Final = 5.0  # seconds for a request; this machine may be busy
CAMPAIGN: Final = """
import sys, time
from pathlib import Path
from emu.live import debian, images
from emu.live.needs import Needs
from emu.live.pool import Pool
with Pool(images.image(debian.DEFAULT), Path(sys.argv[1]), Needs(), boxes=2, limit=5) as pool:
    print(len(list(pool.run([b"a", b"b"]))), flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cached_image()
    return echo(tmp_path_factory.mktemp("echo"))


@pytest.fixture(scope="module")
def saved(program: Path) -> Iterator[Saved]:
    made = Saved(cached_image(), program, Needs())
    yield made
    made.close()


@pytest.fixture(scope="module")
def pool(program: Path) -> Iterator[Pool]:
    with Pool(
        cached_image(), program, Needs(), boxes=2, limit=LIMIT, spent=b"spent".__eq__
    ) as made:
        yield made


def children() -> set[str]:
    """The processes that this one started and that have not ended."""
    threads = Path("/proc/self/task").glob("*/children")
    return {child for thread in threads for child in thread.read_text().split()}


def descriptors_open() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


def asked(pool: Pool, *bodies: bytes) -> list[Answer]:
    """The answers in the order of the requests, each there once."""
    found = sorted(pool.run(bodies), key=lambda each: each.number)
    assert [each.number for each in found] == list(range(len(bodies)))
    return found


def test_a_box_is_ready_in_ten_seconds_and_resumed_in_one(saved: Saved) -> None:
    assert saved.hello == b"ready"
    assert saved.boot_seconds < 10
    start = time.monotonic()
    with Box(saved) as resumed:
        resumed.probe(LIMIT)
    assert time.monotonic() - start < 1


def test_a_restarted_box_answers_whatever_it_was_doing(saved: Saved) -> None:
    with Box(saved) as resumed:
        resumed.channel.sendall(b"\4\0\0\0hang")
        with pytest.raises(BoxError, match="did not answer"):
            resumed.probe(0.5)
        resumed.restart()
        resumed.probe(LIMIT)


def test_a_nested_box_is_booted_anew_and_answers(program: Path) -> None:
    with box.start(cached_image(nested=True), program, Needs(nested=True)) as booted:
        booted.probe(LIMIT)
        booted.restart()
        booted.probe(LIMIT)
        assert booted.saved.size == 0


def test_a_closed_box_leaves_neither_process_nor_descriptor(saved: Saved) -> None:
    descriptors = descriptors_open()
    processes = children()
    with Box(saved) as resumed:
        resumed.restart()
        assert children() != processes
    assert children() == processes
    assert descriptors_open() == descriptors


def test_a_program_that_ends_is_no_box_and_leaves_nothing(tmp_path: Path) -> None:
    image = cached_image()
    program = tmp_path / "no-program"
    program.write_bytes(b"no program")
    descriptors = descriptors_open()
    processes = children()
    with pytest.raises(BoxError, match=r"before its executor was ready.*panic"):
        box.start(image, program, Needs())
    assert children() == processes
    assert descriptors_open() == descriptors


def test_every_request_is_answered_with_its_own_answer(pool: Pool) -> None:
    bodies = [b"%d" % number for number in range(500)]
    assert [each.body for each in asked(pool, *bodies)] == bodies


@pytest.mark.parametrize(
    ("bad", "lost"), [(b"die", "ended"), (b"crash", "ended"), (b"hang", "no answer within")]
)
def test_only_the_request_that_is_to_blame_is_lost(bad: bytes, lost: str, pool: Pool) -> None:
    bodies = [b"%d" % number for number in range(100)]
    bodies[40] = bad
    found = asked(pool, *bodies)
    assert [each.number for each in found if each.body is None] == [40]
    assert lost in found[40].lost
    assert [each.body for each in found if each.number != 40] == bodies[:40] + bodies[41:]


def test_a_panic_is_told_with_the_request_that_it_came_with(pool: Pool) -> None:
    (found,) = asked(pool, b"crash")
    assert Complaint.PANIC in {each.complaint for each in found.complaints}


def test_a_line_that_the_kernel_was_slow_to_print_is_told_with_the_panic(pool: Pool) -> None:
    # An ordinary line is printed by a thread of the kernel's own, in some boxes not before this.
    (found,) = asked(pool, b"warn and crash")
    told = [each.line for each in found.complaints]
    assert told[0] == "WARNING: a test"
    assert "Kernel panic" in told[1]


def test_a_spent_box_starts_anew_and_nothing_is_lost(pool: Pool) -> None:
    before = pool.restarts
    bodies = [b"a", b"spent", *[b"b"] * 50]
    assert [each.body for each in asked(pool, *bodies)] == bodies
    assert pool.restarts == before + 1


def test_a_run_that_is_given_up_leaves_no_answers_to_the_next(pool: Pool) -> None:
    run = pool.run(b"old" for _ in range(100))
    next(run)
    run.close()
    assert [each.body for each in asked(pool, b"new", b"new")] == [b"new", b"new"]


def test_a_killed_box_loses_one_request_at_most(pool: Pool) -> None:
    run = pool.run(b"%d" % number for number in range(300))
    first = next(run)
    os.kill(int(min(children())), signal.SIGKILL)
    found = [first, *run]
    assert sorted(each.number for each in found) == list(range(300))
    assert sum(each.body is None for each in found) <= 1


def test_a_box_that_cannot_start_anew_ends_a_run_with_the_reason(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise BoxError("no machine")

    with Pool(cached_image(), program, Needs(), boxes=2, limit=LIMIT) as made:
        monkeypatch.setattr(made.saved, "resume", refuse)
        with pytest.raises(BoxError, match=r"^no machine$"):
            list(made.run([b"die"]))


def test_when_gff_is_killed_no_qemu_is_left(program: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(emu.__file__).parents[1])}
    words = [sys.executable, "-c", CAMPAIGN, str(program)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, text=True) as campaign:
        assert campaign.stdout is not None
        assert campaign.stdout.readline() == "2\n"
        listed = Path(f"/proc/{campaign.pid}/task/{campaign.pid}/children").read_text()
        campaign.kill()
    qemus = [int(each) for each in listed.split()]
    assert len(qemus) == 2
    deadline = time.monotonic() + LIMIT
    while any(map(running, qemus)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(running, qemus))


def running(process: int) -> bool:
    """Not gone, and not a zombie that only waits to be buried by someone else."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def test_the_command_boots_saves_and_resumes(program: Path, call: Gff) -> None:
    ended = call("live", "boot", "--executor", str(program), "--json")
    assert ended.status == 0, ended.err
    booted = msgspec.json.decode(ended.out, type=Booted)
    assert (booted.image, booted.page_size, booted.nested) == (debian.DEFAULT, 0x1000, False)
    assert 0 < booted.resume_seconds < booted.boot_seconds < 10


def test_the_command_ends_with_what_the_kernel_said_last(call: Gff, tmp_path: Path) -> None:
    cached_image()
    program = tmp_path / "no-program"
    program.write_bytes(b"no program")
    ended = call("live", "boot", "--executor", str(program))
    assert (ended.status, ended.out) == (3, "")
    assert "Kernel panic" in ended.err
