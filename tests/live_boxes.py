"""What a test of real boxes needs: a kernel and a QEMU in the cache, and a program to run."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from emu.live import debian, images
from emu.live.images import Image
from emu.live.trouble import MissingPartError

_CROSS: Final = "aarch64-linux-gnu-gcc"


def cached_image() -> Image:
    """The default kernel; without it and a QEMU the tests are skipped."""
    try:
        found = images.image(debian.DEFAULT)
        found.qemu(nested=False)
    except MissingPartError as error:
        pytest.skip(str(error))
    return found


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
        pytest.skip(f"neither {_CROSS} nor the Python package ziglang is here")
    return [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl"]
