"""The course of a campaign: whole lines, none for ever more, and none torn."""

import resource
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from fuzz.directory.series import (
    MOST,
    SHARP,
    STATISTICS,
    Sample,
    Series,
    WorkerSample,
    samples,
    thinned,
)
from fuzz.directory.store import StoreError


def sample(seconds: float) -> Sample:
    return Sample(
        seconds=seconds,
        at=datetime(2026, 5, 7, 12, 0, tzinfo=UTC),
        cases=int(seconds) * 1000,
        cases_per_second=1000.5,
        arms=400,
        arms_known=700,
        corpus=12,
        findings=3,
        questions=2,
        harness_crashes=1,
        restarts=4,
        rss_mib=90,
        rerun=7,
        differed=0,
        last_new_s=seconds / 2,
        workers=(
            WorkerSample(0, 1000, 500.25, 80),
            WorkerSample(1, 2000, 500.25, 90, kernels=("v7.3", "clean")),
        ),
    )


def written(root: Path, *seconds: float) -> None:
    series = Series(root)
    for each in seconds:
        series.add(sample(each))


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    written(tmp_path, 1, 2.5)
    written(tmp_path, 3)
    assert samples(tmp_path) == [sample(1), sample(2.5), sample(3)]


def test_where_nothing_was_written_there_is_nothing(tmp_path: Path) -> None:
    assert samples(tmp_path) == []


@pytest.mark.parametrize("length", [1, 20, 200])
def test_a_torn_line_is_dropped_and_nothing_is_joined_to_it(tmp_path: Path, length: int) -> None:
    written(tmp_path, 1, 2)
    path = tmp_path / STATISTICS
    path.write_bytes(path.read_bytes() + path.read_bytes()[:length])
    assert samples(tmp_path) == [sample(1), sample(2)]
    written(tmp_path, 3)
    assert samples(tmp_path) == [sample(1), sample(2), sample(3)]


def test_a_line_for_which_there_is_half_the_room_is_an_error(tmp_path: Path) -> None:
    written(tmp_path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = (tmp_path / STATISTICS).stat().st_size + 100
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            written(tmp_path, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    written(tmp_path, 3)
    assert samples(tmp_path) == [sample(1), sample(3)]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    written(tmp_path, 1, 2, 3)
    path = tmp_path / STATISTICS
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"\0" * 40, *lines[2:]]))
    with pytest.raises(StoreError, match=f"{path}: line 2: damaged: "):
        samples(tmp_path)


def test_a_long_course_is_thinned_evenly_and_its_end_stays_sharp(tmp_path: Path) -> None:
    series = Series(tmp_path)
    end = 5 * MOST
    for second in range(end):
        series.add(sample(second))
        if second % 1000 == 0:
            series = Series(tmp_path)  # a campaign that is continued
    kept = [int(each.seconds) for each in samples(tmp_path)]
    assert len(kept) < MOST
    assert kept[0] == 0
    assert kept[-SHARP:] == list(range(end - SHARP, end))
    gaps = [later - earlier for earlier, later in pairwise(kept)]
    assert min(gaps) == 1
    assert max(gaps) <= 2 * end / SHARP


@pytest.mark.parametrize("left", [0, 1, SHARP])
def test_a_course_from_which_somebody_has_taken_lines_is_not_thinned(left: int) -> None:
    course = [sample(second) for second in range(left)]
    assert thinned(course) == course
