"""A case in text, played on the model: what came of it, and what it leaves in stage 2."""

from emu import text
from emu.descriptor import is_page
from emu.kernels import KERNELS
from emu.model import Model
from emu.outcome import Outcomes
from emu.stage2 import Prot

DONE = "0 MMIO doorbell"
EFAULT = "-1 EFAULT UNKNOWN"
SIGBUS = "-1 EINTR INTR sigbus"
FETCH_ABORT = "exception=0x86000010"

R, W, X = Prot.R, Prot.W, Prot.X
RW, RWX = R | W, R | W | X
PAGE, BLOCK = 0x1000, 0x20_0000
BASE = 0x4000_0000  # of slot 0

MODEL = Model()
"""One machine for all cases."""


def small(kind: str, flags: str = "") -> str:
    """Two pages of this kind, in a slot."""
    return f"create mem0 size=0x2000 {kind}\nmemslot 0 gpa=0x40000000 size=0x2000 mem0+0x0{flags}\n"


def large(kind: str, offset: int = 0, size: int = 2 * BLOCK, flags: str = "") -> str:
    """Four MiB of this kind, and a slot that shows ``size`` of them from ``offset``."""
    return (
        f"create mem0 size={2 * BLOCK:#x} {kind}\n"
        f"memslot 0 gpa=0x40000000 size={size:#x} mem0+{offset:#x}{flags}\n"
    )


def play(source: str, kernel: str = "v7.3") -> Outcomes:
    """What the machine reports of the case."""
    return MODEL.run(text.load(source), KERNELS[kernel])


def leaves(source: str) -> dict[int, tuple[int, int]]:
    """What is mapped after these steps: size and permissions, by IPA."""
    case = text.load(source)
    MODEL.run(case, KERNELS["v7.3"])
    stage2 = MODEL.cpu.stage2
    found = {}
    for ipa in stage2.mapped(0, 1 << case.vm.ipa_bits):
        descriptor, leaf = stage2.descriptor(ipa), stage2.get(ipa)
        assert descriptor is not None
        assert leaf is not None
        found[ipa] = (case.vm.page_size if is_page(descriptor) else BLOCK, leaf.prot)
    return found


def guest(*accesses: str) -> str:
    """Each access in a KVM_RUN of its own."""
    return "".join(f"guest {access}\nrun\n" for access in accesses)
