"""A QEMU process: its command line, and that it never outlives the one who started it."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Final

from emu.live.images import Image, Qemu, Transport
from emu.live.injector import TELL_FUNCTIONS
from emu.live.needs import Needs
from emu.live.trouble import MissingPartError

MEMORY: Final = 512  # MiB
PORT_NAME: Final = "gff"

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)  # looked up before any fork
_PORT_BUS: Final = {Transport.PCI: "virtio-serial-pci", Transport.MMIO: "virtio-serial-device"}
# Warnings are to be seen on the console; a panic is to end the process. Grace periods are most of
# what the end of a VM waits for.
_KERNEL: Final = "console=ttyAMA0 loglevel=5 panic=-1 rcupdate.rcu_expedited=1 rdinit=/init"


@dataclass(frozen=True, slots=True)
class Wiring:
    """The descriptors that a QEMU is given: nothing of a box has a name in the file system.

    ``port``, ``monitor`` and ``debugger`` are connected sockets, the others files; ``state`` is one
    to resume.
    """

    port: int
    console: int
    initrd: int
    monitor: int | None = None
    state: int | None = None
    debugger: int | None = None

    def descriptors(self) -> tuple[int, ...]:
        """All that there are."""
        every = (self.port, self.console, self.initrd, self.monitor, self.state, self.debugger)
        return tuple(each for each in every if each is not None)


def command(image: Image, needed: Needs, wiring: Wiring) -> list[str]:
    """The words that start a box. Those of a saved and a resumed one differ in the wiring only."""
    qemu = image.qemu(nested=needed.nested)
    return [
        *_machine(qemu, nested=needed.nested),
        *("-kernel", str(image.kernel), "-initrd", _path(wiring.initrd)),
        *("-append", _command_line(needed)),
        *("-chardev", f"file,id=console,path={_path(wiring.console)},append=on"),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=port,fd={wiring.port}"),
        *("-device", _PORT_BUS[image.transport]),
        *("-device", f"virtserialport,chardev=port,name={PORT_NAME}"),
        *_monitor(wiring.monitor),
        *_debugger(wiring.debugger),
        *(("-incoming", f"fd:{wiring.state}") if wiring.state is not None else ()),
    ]


def spawn(words: list[str], wiring: Wiring, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start it; it is killed when the thread that called this ends, however that comes."""
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=wiring.descriptors(),
            start_new_session=True,  # a terminal's ctrl-C is for us to pass on
            preexec_fn=_dies_with(os.getpid()),  # noqa: PLW1509 - nothing but two system calls
        )
    except OSError as error:
        raise MissingPartError(f"{words[0]}: {error.strerror}") from None


def _dies_with(parent: int) -> Callable[[], None]:
    def set_up() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was too late to be told
            os._exit(1)

    return set_up


def _machine(qemu: Qemu, *, nested: bool) -> tuple[str, ...]:
    # Pointer authentication is slow, in all that the kernel calls. KVM goes through all that a
    # guest's guest could address whenever a page of its memory goes: without LPA2 a sixteenth.
    cpu = "max,pauth=off,lpa2=off" if nested else "max,pauth=off"
    return (
        *qemu.command,
        *("-M", "virt,virtualization=on,gic-version=3"),
        *("-cpu", cpu),
        *("-accel", "tcg", "-smp", "1", "-m", str(MEMORY)),
        *("-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"),
    )


def _command_line(needed: Needs) -> str:
    # With VHE a resumed machine loses its timer interrupts and stops after a while.
    words = [_KERNEL, f"kvm-arm.mode={'nested' if needed.nested else 'nvhe'}"]
    if not needed.debugfs:
        words.append("debugfs=off")
    # A nested machine is booted each time: its functions are to be where they were.
    # A kernel that knows no nokaslr hands it on to the executor, behind the first word.
    if needed.injecting:
        words += [TELL_FUNCTIONS, "nokaslr"]
    return " ".join(words)


def _debugger(descriptor: int | None) -> tuple[str, ...]:
    if descriptor is None:
        return ()
    return ("-chardev", f"socket,id=debugger,fd={descriptor}", "-gdb", "chardev:debugger")


def _monitor(descriptor: int | None) -> tuple[str, ...]:
    if descriptor is None:
        return ()
    chardev = f"socket,id=monitor,fd={descriptor}"
    return ("-chardev", chardev, "-mon", "chardev=monitor,mode=control")


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
