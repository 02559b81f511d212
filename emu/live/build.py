"""The executor's program: built of its source by zig or a cross compiler, cached by its content."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final

from emu.asm import assembler
from emu.live import cache, tables

_FLAGS: Final = (
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wconversion",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wvla",
)
_ZIG: Final = ("-m", "ziglang", "cc", "-target", "aarch64-linux-musl")
_CROSS: Final = "aarch64-linux-gnu-gcc"
_NATIVE: Final = "cc"
_SHARED: Final = ("main.c", "frame.c", "decode.c", "symbols.c")
_DRY: Final = "dry.c"
# A fuzzed decoder must say so when it reads what is not there.
_DRY_FLAGS: Final = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class BuildError(RuntimeError):
    """There is no compiler, or it failed; the message is one line, or what the compiler said."""


def executor(place: Path, more: Mapping[str, str] = MappingProxyType({})) -> Path:
    """The executor for arm64, static; ``more``: sources that a test adds, by their names."""
    sources = {**_sources(), **more}
    compiled = [name for name in sources if name.endswith((".c", ".S")) and name != _DRY]
    return _built(place, "executor", [*_cross_compiler(), "-static", "-s"], sources, compiled)


def decoder(place: Path) -> Path:
    """Its decoding alone, for this machine, with sanitizers."""
    compiler = shutil.which(_NATIVE)
    if compiler is None:
        raise BuildError(f"{_NATIVE}: not found")
    return _built(place, "decoder", [compiler, *_DRY_FLAGS], _sources(), [*_SHARED, _DRY])


def folder() -> Path:
    """Where programs are kept."""
    return cache.root() / "executor"


def _cross_compiler() -> list[str]:
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, *_ZIG]
    cross = shutil.which(_CROSS)
    if cross is None:
        raise BuildError(f"no compiler for arm64: install the Python package ziglang, or {_CROSS}")
    return [cross]


def _sources() -> dict[str, str]:
    source = resources.files("emu.live") / "executor"
    files = {each.name: each.read_text() for each in source.iterdir() if each.is_file()}
    return {"tables.h": tables.header(assembler()), **dict(sorted(files.items()))}


def _built(
    place: Path,
    name: str,
    compiler: Sequence[str],
    sources: Mapping[str, str],
    compiled: Sequence[str],
) -> Path:
    command = [*compiler, *_FLAGS, *compiled]
    content = "\0".join([*command[1:], *(part for each in sources.items() for part in each)])
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    program = place / f"{name}-{digest}"
    if not program.exists():
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as work:
            for file, text in sources.items():
                Path(work, file).write_text(text)
            _compile([*command, "-o", name], work)
            Path(work, name).replace(program)  # another process may be at it, with the same
    return program


def _compile(command: Sequence[str], place: str) -> None:
    # zig keeps the C library that it has built, which takes it a while: with what else we keep.
    environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache.root() / "zig"), **os.environ}
    done = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command)}\n{done.stderr.strip()}")
