"""The executor's decoder as a process: frames go in, answers come out."""

import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from emu.live import build, protocol

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


def decoder(cache: Path) -> Path:
    """The decode-only build; a compiler without sanitizers is a reason to skip."""
    try:
        return build.decoder(cache)
    except build.BuildError as error:
        pytest.skip(str(error).splitlines()[-1])


def answers(program: Path, requests: Sequence[bytes]) -> list[tuple[int, int, bytes]]:
    """What the decoder says to frames, or to what should be some: kind, number and body of each."""
    done = subprocess.run(
        [str(program)], input=b"".join(requests), capture_output=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return [protocol.opened(content) for content in _frames(done.stdout)][1:]  # all but the hello


def _frames(data: bytes) -> list[bytes]:
    frames, place = [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<I", data, place)
        place += 4
        frames.append(data[place : place + length])
        place += length
    return frames
