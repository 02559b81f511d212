"""``make live-test``: brings what is missing, then runs the tests that boot a real kernel.

A compiler comes by pip, a kernel and QEMU by ``gff live fetch``; nothing else is installed. Exit
status 3, and a line for each part, where one cannot be had.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from emu.live import debian, images
from emu.live.trouble import MissingPartError

REQUIREMENTS: Final = Path(__file__).parents[1] / "requirements-live.txt"
LIMIT: Final = 20 * 60  # seconds for the tests
MISSING: Final = 3

_CROSS: Final = "aarch64-linux-gnu-gcc"
_FETCH: Final = "from triage.cli import main; main()"


def live_test() -> int:
    """The exit status."""
    reasons = [reason for reason in (_compiler(), _kernel()) if reason]
    for reason in reasons:
        sys.stderr.write(f"live-test: {reason}\n")
    return MISSING if reasons else _tests()


def _compiler() -> str:
    """Why there is no compiler for arm64; "" where there is one."""
    if shutil.which(_CROSS) or importlib.util.find_spec("ziglang"):
        return ""
    options = ("--quiet", "--disable-pip-version-check", "--requirement")
    done = _called("-m", "pip", "install", *options, str(REQUIREMENTS))
    return f"no compiler for arm64: {done}" if done else ""


def _kernel() -> str:
    """Why there is no kernel or no QEMU; "" where there are both."""
    try:
        for nested in (False, True):
            images.image(debian.DEFAULT).qemu(nested=nested)
    except MissingPartError:
        done = _called("-c", _FETCH, "live", "fetch", debian.DEFAULT)
        return f"no kernel or QEMU: {done}" if done else ""
    return ""


def _called(*words: str) -> str:
    """The last line of what a Python command complained of; "" where it did its work."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return lines[-1]


def _tests() -> int:
    environment = {**os.environ, "GFF_LIVE": "required"}
    words = [sys.executable, "-m", "pytest", "-m", "live"]
    try:
        done = subprocess.run(words, env=environment, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"live-test: not done in {LIMIT // 60} minutes\n")
        return 1
    return done.returncode and 1


if __name__ == "__main__":
    sys.exit(live_test())
