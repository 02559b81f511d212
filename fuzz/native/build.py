"""Makes a build of the source that runs here: copied, rewritten, compiled, tried."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from emu.live import cache
from fuzz.guidance.coverage import MODEL_MODULES, is_in
from fuzz.native.builds import (
    NOT_COPIED,
    folder,
    forget_all_but_the_newest,
    is_whole,
    place_of,
    seal,
)
from fuzz.native.enum_names import enums
from fuzz.native.modules import PACKAGES, SUBCLASSED, compiled, module_name
from fuzz.native.records import RewriteError
from fuzz.native.rewrite import rewritten
from fuzz.processes import SOURCE, environment

LOG: Final = "build.log"
_COUNTED: Final = "fuzz/guidance/counted.py"
_NO_PLACES: Final = "PLACES: Final[tuple[tuple[str, int], ...]] = ()"
_LEFT_OVER: Final = ("build", ".mypy_cache")
_TRIAL: Final = "from emu.model import Model; from fuzz.search import target; Model()"
_POLL: Final = 0.1  # seconds
_COMPILED: Final = re.compile(rb"^\S+ .* -c \S+\.c ", re.MULTILINE)  # a compiler's command line
_ERROR: Final = re.compile(r"\berror\b|Error")

Say = Callable[[str], None]  # what is being done


class MissingToolError(Exception):
    """This machine has no compiler, or what it needs; the text is one line."""


class BuildError(Exception):
    """It could not be built; the text is one line."""


def build(say: Say, jobs: int) -> Path:
    """Makes it, which takes a minute; in the cache it is there whole or not at all.

    ``jobs``: how many compilers run at once.
    Raises MissingToolError, BuildError or OSError.
    """
    _check_tools()
    say("waiting for whoever writes to the cache")
    with cache.workshop() as workshop:
        root = workshop / "native"
        try:
            copy(root)
        except shutil.Error as error:  # one line for each file
            raise BuildError(f"{error.args[0][0][2]}") from error
        place = place_of(root)  # the source may change meanwhile
        if is_whole(place):
            return place
        try:
            rewrite(root)
            _compile(root, jobs, say)
            say("trying it")
            _run([sys.executable, "-P", "-c", _TRIAL], root, root, lambda: None)
        except RewriteError as error:
            raise BuildError(str(error)) from error
        except BuildError:
            with suppress(OSError):  # the disk may be full
                folder().mkdir(exist_ok=True)
                shutil.copy(root / LOG, folder())
            raise
        for name in _LEFT_OVER:
            shutil.rmtree(root / name)
        seal(root)
        cache.install(root, place)
    (folder() / LOG).unlink(missing_ok=True)  # of one that came to nothing
    forget_all_but_the_newest()
    return place


# WHAT IT TAKES


def _check_tools() -> None:
    for module, distribution in (("mypyc", "mypy"), ("setuptools", "setuptools")):
        if importlib.util.find_spec(module) is None:
            reason = f"{distribution} is not installed: pip install 'guest-fault-fuzzer[native]'"
            raise MissingToolError(reason)
    # As setuptools looks for it.
    command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    compiler = shlex.split(command)[0]
    if shutil.which(compiler) is None:
        raise MissingToolError(f"no C compiler: {compiler} is not found")
    header = Path(sysconfig.get_config_var("INCLUDEPY")) / "Python.h"
    if not header.exists():
        reason = f"no C headers of this Python: {header} is not there; Debian has it in python3-dev"
        raise MissingToolError(reason)


# THE STEPS


def copy(root: Path) -> None:
    """Puts the packages there."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns(NOT_COPIED)
        shutil.copytree(SOURCE / package, root / package, ignore=ignored)


def rewrite(root: Path) -> None:
    """Changes the packages that were copied to what is compiled. Raises RewriteError."""
    trees = {file: ast.parse((root / file).read_bytes(), file) for file in compiled()}
    known = enums(trees.values())
    places: list[tuple[str, int]] = []
    for file, tree in trees.items():
        (root / file).write_text(_rewritten(file, tree, known, places))
    counted = root / _COUNTED
    text = counted.read_text()
    if _NO_PLACES not in text:
        raise RewriteError(f"{_COUNTED}: the places of the counters are not where they were")
    counted.write_text(text.replace(_NO_PLACES, f"PLACES: Final = {tuple(places)!r}"))


def _rewritten(
    file: str, tree: ast.Module, known: frozenset[str], places: list[tuple[str, int]]
) -> str:
    """``places``: those of the counters so far; this module's go behind them."""
    name = module_name(file)

    def new_counter(line: int) -> int:
        places.append((name, line))
        return len(places) - 1

    counter = new_counter if is_in(name, MODEL_MODULES) else None
    try:
        return rewritten(tree, known, counter, subclassed=file.startswith(SUBCLASSED))
    except RewriteError as error:
        raise RewriteError(f"{file}: {error}") from error


def _compile(root: Path, jobs: int, say: Say) -> None:
    words = [sys.executable, "-P", "-m", "fuzz.native.extension", str(jobs), str(os.getpid())]
    _run([*words, *compiled()], root, SOURCE, lambda: say(_doing(root / LOG)))


def _run(words: Sequence[str], root: Path, tree: Path, on_wait: Callable[[], None]) -> None:
    """Runs this there, with the packages below ``tree``; what it says goes to the log.

    Raises BuildError with the first line of it that tells of an error.
    """
    log = root / LOG
    with log.open("ab") as output:
        process = subprocess.Popen(
            words,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(tree),
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                on_wait()
                time.sleep(_POLL)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # the compilers too
            process.wait()
            raise
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if _ERROR.search(line)]
        silent = f"exit status {process.returncode} without a word; the disk may be full"
        reason = next(iter(errors or lines[::-1]), silent)
        raise BuildError(f"{reason} (all of it: {folder() / LOG})")


def _doing(log: Path) -> str:
    done = len(_COMPILED.findall(log.read_bytes()))
    return f"compiling C: {done} files" if done else "checking types, writing C"
