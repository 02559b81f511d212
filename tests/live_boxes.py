"""What a test of real boxes needs: a kernel and a QEMU in the cache, and a program to run.

Where that is missing the test is skipped; with GFF_LIVE=required it fails.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NoReturn

import pytest

from emu.live import build, debian, images
from emu.live.build_variants import Variant
from emu.live.images import Image
from emu.live.trouble import MissingPartError

_CROSS: Final = "aarch64-linux-gnu-gcc"


def missing(reason: str) -> NoReturn:
    """This machine cannot run the test."""
    if os.environ.get("GFF_LIVE") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


def cached_image(name: str = debian.DEFAULT, *, nested: bool = False) -> Image:
    """The kernel of that name, with a QEMU that runs it."""
    try:
        found = images.image(name)
        found.qemu(nested=nested)
    except MissingPartError as error:
        missing(str(error))
    return found


def built_image(model: str, config: str = "") -> Image:
    """That kernel of ``gff live build``. Where nobody built it the test is skipped, always: it
    takes minutes.
    """
    variant = Variant(model, config)
    if variant.image not in {each.name for each in images.kernels()}:
        pytest.skip(f"gff live build {variant.name} was not run")
    return cached_image(variant.image)


def executor() -> Path:
    """The executor, built."""
    try:
        return build.executor(build.folder())
    except build.BuildError as error:
        missing(str(error).splitlines()[0])


def echo(folder: Path) -> Path:
    """The program that sends frames back."""
    program = folder / "echo"
    source = Path(__file__).with_name("live_echo.c")
    command = [*_compiler(), "-static", "-O2", str(source), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    return program


def _compiler() -> list[str]:
    if shutil.which(_CROSS):
        return [_CROSS]
    if importlib.util.find_spec("ziglang") is None:
        missing(f"neither {_CROSS} nor the Python package ziglang is here")
    return [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl"]
