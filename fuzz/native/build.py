"""Makes the build that belongs to the source that runs here, and finds it again.

It is found by a digest of all that it is made of, so that one of other source is never used.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from emu.live import cache
from fuzz.guidance.coverage import MODEL_MODULES, is_in
from fuzz.native.members import enums
from fuzz.native.modules import PACKAGES, SUBCLASSED, compiled, module_name
from fuzz.native.records import RewriteError
from fuzz.native.rewrite import rewritten
from fuzz.processes import SOURCE, environment

LOG: Final = "build.log"
_COUNTED: Final = "fuzz/guidance/counted.py"
_NO_PLACES: Final = "PLACES: Final[tuple[tuple[str, int], ...]] = ()"
_POLL: Final = 0.1  # seconds
_COMPILED: Final = re.compile(rb"^\S+ .* -c \S+\.c ", re.MULTILINE)  # a compiler's command line
_ERROR: Final = re.compile(r"\berror\b|Error")

Say = Callable[[str], None]  # what is being done


class MissingToolError(Exception):
    """This machine has no compiler, or what it needs; the text is one line."""


class BuildError(Exception):
    """It could not be built; the text is one line."""


def found() -> Path | None:
    """The build of the source that runs here, if it was made."""
    place = _place()
    return place if place.is_dir() else None


def build(say: Say, jobs: int) -> Path:
    """Makes it, which takes minutes; in the cache it is there whole or not at all.

    ``jobs``: how many compilers run at once.

    Raises MissingToolError, BuildError or OSError.
    """
    _check_tools()
    place = _place()
    with cache.workshop() as folder:
        root = folder / place.name
        say("rewriting")
        try:
            write_rewritten(root)
        except RewriteError as error:
            raise BuildError(str(error)) from error
        _compile(root, compiled(), jobs, say)
        shutil.rmtree(root / "build")
        cache.install(root, place)
    return place


def _place() -> Path:
    return cache.root() / "native" / _digest()


def _digest() -> str:
    """Of the source, of what compiles it, and of the Python that is to load it."""
    made_by = f"{_version('mypy')} {platform.python_version()} {sysconfig.get_config_var('SOABI')}"
    digest = hashlib.sha256(made_by.encode())
    for path in sorted(path for package in PACKAGES for path in (SOURCE / package).rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(SOURCE)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


# WHAT IT TAKES


def _check_tools() -> None:
    for module, distribution in (("mypyc", "mypy"), ("setuptools", "setuptools")):
        if importlib.util.find_spec(module) is None:
            reason = f"{distribution} is not installed: pip install 'guest-fault-fuzzer[native]'"
            raise MissingToolError(reason)
    compiler = os.environ.get("CC", "cc").split()[0]
    if shutil.which(compiler) is None:
        raise MissingToolError(f"no C compiler: {compiler} is not found")
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if not header.exists():
        raise MissingToolError(f"no C headers of this Python: {header} is not there")


# THE STEPS


def write_rewritten(root: Path) -> None:
    """Puts the packages there, as they are compiled. Raises RewriteError."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SOURCE / package, root / package, ignore=ignored)
    trees = {file: ast.parse((root / file).read_bytes(), file) for file in compiled()}
    known = enums(trees.values())
    places: list[tuple[str, int]] = []
    for file, tree in trees.items():
        (root / file).write_text(_rewritten(file, tree, known, places))
    counted = root / _COUNTED
    text = counted.read_text()
    if _NO_PLACES not in text:
        raise BuildError(f"{_COUNTED}: the places of the counters are not where they were")
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


def _compile(root: Path, files: tuple[str, ...], jobs: int, say: Say) -> None:
    words = [sys.executable, "-P", "-m", "fuzz.native.extension", str(jobs), *files]
    log = root / LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
        )
        try:
            while process.poll() is None:
                say(_doing(log))
                time.sleep(_POLL)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if _ERROR.search(line)]
        reason = next(iter(errors or lines[::-1]), "no reason is given")
        raise BuildError(f"mypyc or the C compiler: {reason}")


def _doing(log: Path) -> str:
    done = len(_COMPILED.findall(log.read_bytes()))
    return f"compiling C: {done} files" if done else "checking types, writing C"
