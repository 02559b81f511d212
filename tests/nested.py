"""A VM whose guest is a hypervisor, and what its KVM_RUNs show."""

from typing import Final

from emu import text
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import describe

NESTED: Final = """vm nested
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
create mem0 size=0x2000 anon
memslot 1 gpa=0x50000000 size=0x2000 mem0+0x0
"""
MAPPED: Final = "l1-map 0x10000 slot0+0x1000 flags=read,write,execute\n"
HA: Final = "l1-vtcr legal hardware-af\n"
OLD: Final = "l1-map 0x10000 slot0+0x1000 flags=read,write old\n"
VNCR: Final = "guest vncr-write slot0+0x110\n"

DONE: Final = "0 MMIO doorbell"
FAULT: Final = "MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0"
LEFT: Final = "left-gpa=0x40000000 left-size=0x1000"
L2_FAULT: Final = "MEMORY_FAULT gpa=0x10000 size=0x1000 flags=0x0"
L1_FAULT: Final = "MEMORY_FAULT gpa=0x40001000 size=0x1000 flags=0x0"
TOLD: Final = f"{DONE} exception=0x96002050"  # L1, by an external abort at its VNCR page
# Observed: the walk succeeded and left no status, so that bits of its descriptor stand there.
NO_STATUS: Final = f"{DONE} exception=0x96002041"


def run(model: Model, body: str, kernel: str = "v7.3") -> list[str]:
    """Each KVM_RUN of a nested VM, on one line, without the mark of an injection."""
    outcomes = model.run(text.load(NESTED + body), KERNELS[kernel])
    return [describe(each).removesuffix(" injected") for each in outcomes.runs]
