"""The console of a box: which lines are complaints, and that it does not grow."""

import os
import socket
import time
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Final

import pytest

from emu.live import console
from emu.live.console import Complaint, Console, ConsoleFinding
from emu.live.saved import first_frame, parting_words
from emu.live.trouble import BoxError

LINES: Final = (
    ("Kernel panic - not syncing: Attempted to kill init!", Complaint.PANIC),
    ("INFO: task gff:41 blocked for more than 120 seconds.", Complaint.HUNG_TASK),
    ("rcu: INFO: rcu_sched self-detected stall on CPU", Complaint.RCU),
    ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Complaint.RCU),
    ("watchdog: BUG: soft lockup - CPU#0 stuck for 26s!", Complaint.LOCKUP),
    ("Internal error: Oops: 0000000096000004 [#1]  SMP", Complaint.OOPS),
    ("Unable to handle kernel paging request at virtual address 0", Complaint.OOPS),
    ("BUG: sleeping function called from invalid context", Complaint.BUG),
    ("kernel BUG at mm/memory.c:1!", Complaint.BUG),
    ("WARNING: CPU: 0 PID: 1 at arch/arm64/kvm/mmu.c:1 some_function+0x0/0x0", Complaint.WARN),
    # What an ordinary run prints.
    ("Memory failure: 0x5f000: recovery action for dirty LRU page: Recovered", None),
    ("Memory Limit: none", None),
    ("a message that quotes WARNING: in its middle", None),
)


@pytest.fixture
def box() -> Iterator[Console]:
    made = Console()
    yield made
    made.close()


def printed(box: Console, text: str) -> None:
    """What QEMU does: it appends."""
    writer = os.open(f"/proc/self/fd/{box.descriptor}", os.O_WRONLY | os.O_APPEND)
    os.write(writer, text.encode())
    os.close(writer)


@pytest.mark.parametrize("time", ["", "[    1.812298] ", "[   12.000001][    T1] "])
@pytest.mark.parametrize(("line", "complaint"), LINES)
def test_each_line_is_the_complaint_that_it_is(
    line: str, complaint: Complaint | None, time: str, box: Console
) -> None:
    printed(box, f"{time}{line}\r\n")
    assert box.findings() == ((ConsoleFinding(complaint, line),) if complaint else ())


def test_a_line_that_comes_in_pieces_is_one_line(box: Console) -> None:
    printed(box, "WARN")
    assert box.findings() == ()
    printed(box, "ING: all of it\n")
    assert box.findings() == (ConsoleFinding(Complaint.WARN, "WARNING: all of it"),)


def test_what_a_killed_machine_began_to_say_is_a_line_of_its_own(box: Console) -> None:
    printed(box, "WARNING: ha")
    box.cut()
    printed(box, "WARNING: another machine\n")
    assert [each.line for each in box.findings()] == ["WARNING: ha", "WARNING: another machine"]


def test_news_are_told_once(box: Console) -> None:
    printed(box, "WARNING: one\n")
    assert [each.line for each in box.news()] == ["WARNING: one"]
    printed(box, "WARNING: two\n")
    assert [each.line for each in box.news()] == ["WARNING: two"]
    assert box.news() == ()


def test_the_tail_is_the_last_lines_and_an_unfinished_one(box: Console) -> None:
    printed(box, "".join(f"{number}\n" for number in range(1000)) + "half")
    assert box.tail() == (*map(str, range(1000 - console.TAIL, 1000)), "half")


def test_a_kernel_that_never_stops_does_not_fill_the_disk(box: Console) -> None:
    for _ in range(3):
        printed(box, "WARNING: again\n" * (console.FILE_LIMIT // 10))
        found = box.findings()
        assert len(found) == console.FINDINGS_LIMIT
        assert os.fstat(box.descriptor).st_size < console.FILE_LIMIT
    printed(box, "the end\n")
    assert box.tail()[-1] == "the end"


def test_bytes_that_are_no_text_do_no_harm(box: Console) -> None:
    printed(box, "\udcff\n".encode("utf-8", "surrogatepass").decode("latin-1"))
    assert len(box.tail()) == 1


# What QEMU and the console said, and what is put behind the reason why there is no box.
PARTING: Final = (
    (b"", "", ""),
    (b"qemu: no\n", "", "; QEMU: qemu: no"),
    (b"", "[ 1.0] a size\n\n", "; the console's last line, perhaps harmless: [ 1.0] a size"),
    (b"", "Kernel panic - not syncing: x\nmore\n", "; the kernel: Kernel panic - not syncing: x"),
)


@pytest.mark.parametrize(("qemu", "kernel", "words"), PARTING)
def test_a_last_line_is_not_told_as_the_reason(
    qemu: bytes, kernel: str, words: str, box: Console
) -> None:
    printed(box, kernel)
    with TemporaryFile() as errors:
        errors.write(qemu)
        errors.flush()
        assert parting_words(errors, box) == words


def test_a_box_that_is_late_may_be_on_a_busy_machine() -> None:
    port, other = socket.socketpair()
    with port, other, pytest.raises(BoxError, match="not ready within 60 s; a busy machine may"):
        first_frame(port, time.monotonic())
