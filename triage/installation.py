"""What this machine has of what the tool can use, and what takes over where it has not."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import time
from enum import Enum
from typing import Final

import msgspec

from emu.model import Model
from fuzz.native import builds
from triage.corpus_files import case_files, corpus_dir


class State(Enum):
    """How one part stands."""

    WORKS = "works"
    ABSENT = "absent"  # something else takes over
    BROKEN = "broken"  # nothing does


class Part(msgspec.Struct, frozen=True):
    """One part: its name, how it stands, what was found, and what takes over where it is absent."""

    name: str
    state: State
    found: str
    instead: str = ""


# Distribution, module, and what takes over where it is not installed.
_PACKAGES: Final = (
    ("jinja2", "jinja2", ""),
    ("msgspec", "msgspec", ""),
    ("rich", "rich", ""),
    ("typer", "typer", ""),
    ("unicorn", "unicorn", ""),
    ("prometheus-client", "prometheus_client", "gff status --json, in place of --metrics"),
    ("keystone-engine", "keystone", "words of the accesses, assembled beforehand"),
    ("atheris", "atheris", "a plain mutation loop, as with gff fuzz --engine plain"),
)


def parts() -> tuple[Part, ...]:
    """Every part, looked at now."""
    return (
        _python(),
        *(_package(*package) for package in _PACKAGES),
        _assembler(),
        _model(),
        _corpus(),
        _compiled(),
        Part("cores", State.WORKS, str(len(os.sched_getaffinity(0)))),
        Part("memory", State.WORKS, _memory()),
    )


def _python() -> Part:
    where = f"{platform.python_implementation()} {platform.python_version()}"
    return Part("python", State.WORKS, f"{where}, {platform.system()} {platform.machine()}")


def _package(distribution: str, module: str, instead: str) -> Part:
    if importlib.util.find_spec(module) is None:
        state = State.ABSENT if instead else State.BROKEN
        return Part(distribution, state, "not installed", instead)
    return Part(distribution, State.WORKS, importlib.metadata.version(distribution))


def _assembler() -> Part:
    for name in ("aarch64-linux-gnu-as", *(("as",) if platform.machine() == "aarch64" else ())):
        path = shutil.which(name)
        if path is not None:
            run = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            return Part("GNU as for arm64", State.WORKS, run.stdout.partition("\n")[0])
    instead = "the tests leave out the comparison of assembled words"
    return Part("GNU as for arm64", State.ABSENT, "not found", instead)


def _model() -> Part:
    # The self-test is part of making a model: it raises where unicorn does not behave as needed.
    start = time.perf_counter()
    try:
        Model()
    except Exception as error:  # noqa: BLE001 - whatever it is, this command exists to show it
        return Part("model self-test", State.BROKEN, f"{type(error).__name__}: {error}")
    return Part("model self-test", State.WORKS, f"{(time.perf_counter() - start) * 1000:.0f} ms")


def _corpus() -> Part:
    folder = corpus_dir()
    count = len(case_files(folder))
    state = State.WORKS if count else State.BROKEN
    return Part("corpus", state, f"{count} cases in {folder}")


def _compiled() -> Part:
    place = builds.found()
    if place is not None:
        return Part("gff compile", State.WORKS, str(place))
    run = "of other source, or damaged" if builds.are_unfit() else "not run"
    return Part("gff compile", State.ABSENT, run, "workers run the source, more slowly")


def _memory() -> str:
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{size / (1 << 30):.1f} GiB"
