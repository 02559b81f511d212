"""A worker that crashes, hangs or grows is replaced, and what it had in hand is not run again."""

import os
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from math import ceil
from pathlib import Path
from typing import Final

import pytest

from emu import text, wire
from fuzz.campaign import suspects
from fuzz.campaign.crew import ASLEEP
from fuzz.campaign.ends import cause, from_outside
from fuzz.campaign.member import LOOK_EVERY, Limits, delay
from fuzz.campaign.status import Snapshot
from fuzz.campaign.supervisor import UPDATE, Settings, run_campaign
from fuzz.campaign.suspects import Suspects
from fuzz.directory.opening import create_store
from fuzz.directory.series import samples
from fuzz.directory.shards import sha1
from fuzz.directory.store import Store
from fuzz.guidance.coverage import Arms, Mode
from fuzz.mutation.mutate import MAX_SIZE
from fuzz.search.hand import Hand, held, pulse
from fuzz.search.orders import Engine, Orders, parsed
from fuzz.search.search import Search
from tests.test_campaign import LEAK, needs_atheris, settings
from tests.test_stopping import is_running, started
from tests.test_store import configuration
from tests.test_target import LEAKING
from triage.campaign_line import campaign_line

MISBEHAVIOUR: Final = Path(__file__).parent / "misbehaviour"
DATA: Final = wire.encode(text.load(LEAKING))


@pytest.fixture
def misbehaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("PYTHONPATH", str(MISBEHAVIOUR))
    monkeypatch.setenv("GFF_TEST_TURNS", str(tmp_path / "turns"))
    return monkeypatch


def endless(campaign: Path, limits: Limits) -> Settings:
    return replace(settings(campaign), cases=None, seconds=60.0, limits=limits)


# AS A WORKER ENDS

ENDS: Final = [
    ("crash", "SIGSEGV", "SIGSEGV, after"),
    # In a native loop, where no signal's handler in Python would ever run.
    ("hang", "hung", "hung: 1 s at work without a sign of life, after"),
    ("leak", "memory", "memory: "),
]


@needs_atheris
@pytest.mark.parametrize(("word", "kind", "reason"), ENDS)
def test_a_worker_that_misbehaves_is_replaced_and_its_input_kept(
    tmp_path: Path, misbehaving: pytest.MonkeyPatch, word: str, kind: str, reason: str
) -> None:
    misbehaving.setenv("GFF_TEST_WORKER", f"0 0.1 {word} live")
    store = Store(tmp_path / "c")
    at_work: list[int] = []

    def watch(now: Snapshot) -> None:
        at_work.append(now.restarts)
        if now.restarts and now.workers:
            raise KeyboardInterrupt  # it has spoken again

    limits = Limits(start=60.0, silence=60.0, busy=1.0, rss_mib=250)
    with pytest.raises(KeyboardInterrupt):
        run_campaign(endless(store.root, limits), watch)
    assert at_work[-1] == 1
    (kept,) = store.harness.glob("*.bytes")
    assert kept.name == f"died-{kind}-{sha1(kept.read_bytes())}.bytes"
    assert kept.with_suffix(".txt").read_text().startswith(reason)
    assert store.denied() == {kept.read_bytes()}
    if kind == "hung":
        assert "Fatal Python error: Aborted" in store.log_file(0).read_text()


@needs_atheris
def test_a_worker_that_is_silent_is_replaced_and_its_input_tried_alone(
    tmp_path: Path, misbehaving: pytest.MonkeyPatch
) -> None:
    misbehaving.setenv("GFF_TEST_WORKER", "0 0.1 stick live")
    store = Store(tmp_path / "c")
    denied: set[bytes] = set()

    def watch(now: Snapshot) -> None:
        denied.update(store.denied())
        if now.killed:
            raise KeyboardInterrupt  # the input did no harm alone

    with pytest.raises(KeyboardInterrupt):
        # Were it the clock that tells how long it has been at work, it would be hung.
        run_campaign(endless(store.root, Limits(silence=3.0, busy=1.0)), watch)
    assert len(denied) == 1
    assert list(store.harness.iterdir()) == []
    assert "Fatal Python error: Aborted" in store.log_file(0).read_text()


@needs_atheris
def test_a_worker_that_goes_on_may_work_as_long_as_it_likes(tmp_path: Path) -> None:
    seen: list[Snapshot] = []
    limits = Limits(busy=0.5)
    run_campaign(replace(endless(tmp_path / "c", limits), seconds=4.0), seen.append)
    assert seen[-1].restarts == 0
    assert list(Store(tmp_path / "c").harness.iterdir()) == []


@needs_atheris
def test_a_worker_is_not_to_blame_for_the_time_in_which_all_stood_still(tmp_path: Path) -> None:
    store = Store(tmp_path / "c")
    pids: list[int] = []
    still, look = count(), ceil(LOOK_EVERY / UPDATE)
    ends: list[int] = []

    def watch(now: Snapshot) -> None:
        status = store.status(0)
        if status is None:
            return
        if not pids:
            pids.append(status.pid)
            os.kill(status.pid, signal.SIGSTOP)
        match next(still):
            case updates if updates == 3 * look:  # its last beats have been felt
                time.sleep(ASLEEP + 1)
            case updates if updates > 8 * look:  # and so has its silence
                os.kill(status.pid, signal.SIGCONT)
                ends.append(now.restarts)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_campaign(endless(store.root, Limits(silence=ASLEEP)), watch)
    assert ends == [0]


@needs_atheris
def test_a_worker_that_dies_again_and_again_is_left_alone_and_the_others_go_on(
    tmp_path: Path, misbehaving: pytest.MonkeyPatch
) -> None:
    misbehaving.setenv("GFF_TEST_WORKER", "1 0 stillborn")
    said: list[str] = []

    def watch(now: Snapshot) -> None:
        if now.waiting and now.cases:
            said.append(campaign_line(now))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_campaign(replace(endless(tmp_path / "c", Limits()), workers=2), watch)
    assert "1 worker dying again and again" in said[0]


@needs_atheris
def test_a_signal_ends_a_campaign_within_two_seconds_though_a_worker_hangs(
    tmp_path: Path, misbehaving: pytest.MonkeyPatch
) -> None:
    misbehaving.setenv("GFF_TEST_WORKER", "0 0 hang")
    process, workers = started(tmp_path / "c")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    process.communicate(timeout=10)
    assert time.monotonic() - told < 2
    assert process.returncode == 0
    assert not any(map(is_running, workers))


@pytest.mark.parametrize(
    ("short_lives", "seconds"), [(0, 0), (2, 0), (3, 1), (4, 2), (8, 32), (9, 60), (99, 60)]
)
def test_the_more_short_lives_the_longer_the_wait(short_lives: int, seconds: float) -> None:
    assert delay(short_lives) == seconds


@pytest.mark.parametrize(
    ("code", "words"), [(-9, "SIGKILL"), (-11, "SIGSEGV"), (77, "status 77"), (-60, "signal 60")]
)
def test_what_a_process_died_of_has_a_name(code: int, words: str) -> None:
    assert cause(code) == words


@pytest.mark.parametrize(
    ("code", "outside"), [(-9, True), (-1, True), (-11, False), (-6, False), (1, False)]
)
def test_what_a_process_does_to_itself_is_not_from_outside(code: int, *, outside: bool) -> None:
    assert from_outside(code) == outside


# WHOEVER WAS KILLED FROM OUTSIDE


def suspected(store: Store, **changes: int) -> Suspects:
    limit = changes.get("rss_mib", 512)
    return Suspects(store, ("v7.3", "clean"), settings(store.root).reading, limit)


def decided(suspects: Suspects) -> None:
    deadline = time.monotonic() + 60
    while suspects.busy:
        assert time.monotonic() < deadline
        suspects.tend(time.monotonic())
        time.sleep(0.01)


def test_a_suspect_that_does_no_harm_alone_may_be_run_again(tmp_path: Path) -> None:
    store = create_store(tmp_path / "c", configuration())
    first = suspected(store)
    first.add(f"SIGKILL-{sha1(DATA)}", DATA, "SIGKILL, after 3.0 s")
    first.tend(time.monotonic())
    first.stop()
    # The next run of the campaign comes to it.
    assert store.denied() == {DATA}
    again = suspected(store)
    decided(again)
    assert (again.cleared, len(store.denied())) == (1, 0)
    assert list(store.harness.iterdir()) == []


HARM: Final = [
    ("crash", 512, "tried alone: SIGSEGV"),
    ("hang", 512, "tried alone: hung for 0 s"),
    ("live", 1, "tried alone: took more than 1 MiB"),
]


@pytest.mark.parametrize(("word", "limit", "told"), HARM)
def test_a_suspect_that_does_harm_alone_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, limit: int, told: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(MISBEHAVIOUR))
    monkeypatch.setenv("GFF_TEST_PROBE", word)
    if word == "hang":
        monkeypatch.setattr(suspects, "PATIENCE", 0.3)
    store = create_store(tmp_path / "c", configuration())
    some = suspected(store, rss_mib=limit)
    some.add("SIGKILL-x", DATA, "SIGKILL, after 3.0 s")
    decided(some)
    assert (some.cleared, store.denied()) == (0, frozenset({DATA}))
    assert (store.harness / "died-SIGKILL-x.txt").read_text() == f"SIGKILL, after 3.0 s\n{told}\n"
    assert not suspected(store).busy


# THE INPUT IN HAND


def test_the_input_in_hand_is_there_for_others_to_read(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "hand")
    assert held(tmp_path / "hand") == b""
    for data in (b"long" * 100, b"short", bytes(MAX_SIZE)):
        hand.hold(data)
        assert held(tmp_path / "hand") == data


def test_a_pulse_is_felt_with_each_input_and_between(tmp_path: Path) -> None:
    hand = Hand(tmp_path / "hand")
    before = pulse(tmp_path / "hand")
    hand.hold(DATA)
    hand.beat()
    assert pulse(tmp_path / "hand") == before + 2
    assert held(tmp_path / "hand") == DATA


def test_where_nothing_was_in_hand_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path / "none", tmp_path / "empty"):
        assert (held(path), pulse(path)) == (b"", 0)


def test_a_worker_that_shrinks_for_long_shows_that_it_goes_on(tmp_path: Path) -> None:
    store = create_store(tmp_path / "c", configuration())
    search = Search(replace(orders(store), first=False), store, Arms(), nullcontext())
    before = pulse(store.hand_file(3))
    search.test_one_input(DATA)
    assert store.findings()
    assert pulse(store.hand_file(3)) > before + 10


def orders(store: Store) -> Orders:
    wanted = settings(store.root)
    return Orders(
        campaign=store.root,
        index=3,
        seed=1,
        epoch=time.monotonic(),
        until=float("inf"),
        runs=0,
        engine=Engine.PLAIN,
        coverage=Mode.NONE,
        reading=wanted.reading,
        parent=1,
        kernels=("v7.3", "clean"),
        first=True,
    )


def test_orders_survive_the_command_line(tmp_path: Path) -> None:
    given = orders(Store(tmp_path))
    assert parsed(given.command()[4:]) == given


@pytest.mark.parametrize("denied", [False, True])
def test_an_input_that_a_worker_died_of_is_not_run_again(tmp_path: Path, *, denied: bool) -> None:
    store = create_store(tmp_path / "c", configuration())
    if denied:
        store.record_death(f"hung-{sha1(DATA)}", DATA, "hung")
    search = Search(replace(orders(store), first=False), store, Arms(), nullcontext())
    search.test_one_input(DATA)
    assert bool(store.findings()) != denied
    assert held(store.hand_file(3)) == (b"" if denied else DATA)


# WHAT IS THERE AT THE START


@needs_atheris
@pytest.mark.parametrize("engine", Engine)
def test_what_is_run_again_at_the_start_is_no_case(tmp_path: Path, engine: Engine) -> None:
    store = create_store(tmp_path / "c", configuration())
    store.shard(5).mkdir()
    (store.shard(5) / sha1(DATA)).write_bytes(DATA)
    run_campaign(replace(settings(store.root), cases=100, engine=engine), lambda _: None)
    status = store.status(0)
    assert status is not None
    assert (status.cases, status.process_cases) == (100, 100)
    assert status.reread >= 1
    (leak,) = [found for found in store.findings() if found.name == LEAK]
    assert leak.first == text.dump(text.load(LEAKING))


def test_a_worker_is_given_what_another_has_found_in_place_of_a_mutant(tmp_path: Path) -> None:
    store = create_store(tmp_path / "c", configuration())
    search = Search(replace(orders(store), first=False), store, Arms(), nullcontext())
    assert search.mutate(b"", MAX_SIZE, 0) != DATA
    store.shard(0).mkdir()
    (store.shard(0) / sha1(DATA)).write_bytes(DATA)
    search.test_one_input(b"")  # the first is followed by a look around
    assert search.mutate(b"", MAX_SIZE, 0) == DATA
    assert search.mutate(b"", MAX_SIZE, 0) != DATA


# KERNELS


@needs_atheris
def test_kernels_can_be_dealt_out_to_the_workers(tmp_path: Path) -> None:
    kernels = ("v7.3", "clean", "scribble-on-exit")
    wanted = replace(settings(tmp_path / "c"), kernels=kernels, workers=2, cases=600, split=True)
    run_campaign(wanted, lambda _: None)
    (last,) = samples(tmp_path / "c")[-1:]
    assert {worker.index: worker.kernels for worker in last.workers} == {
        0: ("v7.3", "scribble-on-exit"),
        1: ("clean",),
    }
