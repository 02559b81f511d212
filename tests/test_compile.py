"""`gff compile` without compiling: what it needs, what is found again, and who runs it."""

import os
import shutil
import sysconfig
from pathlib import Path

import msgspec
import pytest

from fuzz.guidance.coverage import Mode
from fuzz.native import build, builds
from fuzz.native.build import BuildError
from fuzz.native.modules import compiled
from fuzz.native.records import RewriteError
from fuzz.processes import SOURCE, environment
from tests.command import Gff
from triage.ending import Status
from triage.inputs import worker_tree
from triage.installation import State, parts
from triage.speed import layers_of


@pytest.fixture
def built() -> Path:
    """What looks like a build of the source that runs here."""
    place = builds.place_of(SOURCE)
    place.mkdir(parents=True)
    (place / f"one{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"code")
    builds.seal(place)
    return place


# WHAT IS FOUND


def test_a_build_is_found_and_run_by_workers_unless_told_otherwise(built: Path) -> None:
    assert builds.found() == built
    assert worker_tree(Mode.COUNTERS, interpreted=False) == built
    assert worker_tree(Mode.NONE, interpreted=False) == built
    assert worker_tree(Mode.COUNTERS, interpreted=True) == SOURCE
    assert worker_tree(Mode.ATHERIS, interpreted=False) == SOURCE


def test_without_one_the_source_runs() -> None:
    assert builds.found() is None
    assert worker_tree(Mode.COUNTERS, interpreted=False) == SOURCE


@pytest.mark.parametrize("damage", ["cut short", "removed", "unfinished", "no JSON"])
def test_a_build_that_is_not_whole_is_none(built: Path, damage: str) -> None:
    (extension,) = built.glob("one*")
    match damage:
        case "cut short":
            extension.write_bytes(b"")
        case "removed":
            extension.unlink()
        case "unfinished":
            (built / "build.json").unlink()
        case _:
            (built / "build.json").write_bytes(b"{")
    assert builds.found() is None


def test_whatever_is_copied_makes_another_build_and_caches_do_not(tmp_path: Path) -> None:
    build.copy(tmp_path)
    before = builds.digest(tmp_path)
    assert before == builds.digest(SOURCE)
    (tmp_path / "emu" / "__pycache__").mkdir()
    (tmp_path / "emu" / "__pycache__" / "one.pyc").write_bytes(b"code")
    assert builds.digest(tmp_path) == before
    seen = {before}
    for name in ("emu/kvm/mmu.py", "emu/data/snippets.json", "fuzz/native/rewrite.py"):
        file = tmp_path / name
        file.write_bytes(file.read_bytes() + b"\n")
        seen.add(builds.digest(tmp_path))
    assert len(seen) == 4


def test_the_newest_builds_are_kept(built: Path) -> None:
    for age in range(5):
        other = built.parent / f"{age}"
        shutil.copytree(built, other)
        os.utime(other / "build.json", (age, age))
    builds.forget_all_but_the_newest()
    assert sorted(path.name for path in built.parent.iterdir()) == sorted(["3", "4", built.name])


def test_a_build_of_other_source_is_told_apart_from_none(call: Gff, built: Path) -> None:
    assert not builds.are_unfit()
    built.rename(built.parent / "another")
    assert builds.are_unfit()
    (part,) = [part for part in parts() if part.name == "gff compile"]
    assert (part.state, part.found) == (State.ABSENT, "of other source, or damaged")
    words = ("fuzz", "--cases", "50", "--workers", "1", "--engine", "plain", "--kernel", "clean")
    told = "What gff compile has made is of other source"
    assert told in call(*words).err
    assert told not in call(*words, "--interpreted").err


# THE COMMAND


def test_what_is_there_is_not_built_again(call: Gff, built: Path) -> None:
    ended = call("compile")
    assert (ended.status, ended.out) == (Status.CLEAN, f"compiled already: {built}\n")
    ended = call("compile", "--json")
    assert msgspec.json.decode(ended.out) == {"path": str(built), "seconds": 0.0}


@pytest.mark.parametrize("compiler", ["no-such-compiler -O2", "no-such-compiler"])
def test_a_missing_compiler_is_named(
    call: Gff, monkeypatch: pytest.MonkeyPatch, compiler: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    ended = call("compile")
    assert ended.status is Status.MISSING
    assert ended.err == "gff: no C compiler: no-such-compiler is not found\n"


def test_what_is_not_installed_is_named(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name != "mypyc" or None)
    ended = call("compile")
    assert ended.status is Status.MISSING
    assert "mypy is not installed: pip install 'guest-fault-fuzzer[native]'" in ended.err


def test_a_full_disk_is_one_line(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path) -> None:
        raise shutil.Error([("a.py", "b.py", "[Errno 28] No space left on device: 'b.py'")] * 9)

    monkeypatch.setattr(build, "copy", full)
    ended = call("compile")
    line = "gff: not compiled: [Errno 28] No space left on device: 'b.py'\n"
    assert ended.err.endswith(line)


@pytest.mark.parametrize("error", [BuildError("a.c:1: error: no"), RewriteError("a.py: no")])
def test_a_build_that_fails_is_our_fault_and_leaves_nothing(
    call: Gff, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(root: Path, *_: object) -> None:
        (root / build.LOG).write_text("all that was said")
        raise error

    monkeypatch.setattr(build, "_compile", fail)
    ended = call("compile")
    assert ended.status is Status.BROKEN
    assert f"gff: not compiled: {error}" in ended.err
    assert builds.found() is None
    assert [path.name for path in builds.folder().rglob("*")] == (
        [build.LOG] if isinstance(error, BuildError) else []
    )


def test_the_doctor_tells_of_it(built: Path) -> None:
    (part,) = [part for part in parts() if part.name == "gff compile"]
    assert (part.state, part.found) == (State.WORKS, str(built))


# WHO RUNS IT


def test_every_module_that_is_compiled_is_there() -> None:
    assert len(compiled()) == len(set(compiled())) > 80
    assert all((SOURCE / name).is_file() for name in compiled())


def test_what_is_not_in_a_build_comes_from_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    paths = environment(Path("/built"))["PYTHONPATH"].split(os.pathsep)
    assert paths == ["/built", str(SOURCE), "/theirs"]
    assert environment()["PYTHONPATH"].split(os.pathsep) == [str(SOURCE), "/theirs"]


def test_layers_are_measured_where_they_are_asked_for() -> None:
    alone, modelled, whole = layers_of(SOURCE, rounds=1, cases=20)
    assert 0 < alone.us_per_case < whole.us_per_case
    assert modelled.name == "the same with the modelled kernel"
