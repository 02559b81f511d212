"""What is known of a process from outside."""

import subprocess
import sys
import time

import pytest

from fuzz.processes import processor_seconds, resident_mib

WORK = "import time\nuntil = time.process_time() + 0.5\nwhile time.process_time() < until: pass\n"
WAIT = "import sys\nprint(flush=True)\nsys.stdin.read()\n"


@pytest.mark.parametrize(("program", "least", "most"), [(WORK + WAIT, 0.5, 5.0), (WAIT, 0.0, 0.4)])
def test_processor_time_is_that_of_work_and_not_of_waiting(
    program: str, least: float, most: float
) -> None:
    with started(program) as process:
        time.sleep(0.6)
        assert least <= processor_seconds(process.pid) <= most


def test_a_name_that_is_no_text_hides_no_figure() -> None:
    name = "open('/proc/self/comm', 'wb').write(b'\\xc3) R 1')\n"
    with started(name + WORK + WAIT) as process:
        assert processor_seconds(process.pid) >= 0.5


def test_who_has_ended_uses_nothing() -> None:
    with started("print(flush=True)\n") as process:
        process.wait()
        assert (processor_seconds(process.pid), resident_mib(process.pid)) == (0.0, 0)


def started(program: str) -> subprocess.Popen[bytes]:
    """A process of its own, which has come to its first line of output."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process
