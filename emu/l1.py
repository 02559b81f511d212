"""The guest as a hypervisor: what L1 itself does to the tables of its own guest, L2.

Each function returns 0 or the -errno with which the step is refused before any guest sees it: no
EL2 in this VM, pages of the host that L1's 4 KiB tables do not fit, the harness's own addresses.
"""

from emu.abi import HARNESS_BASE, HARNESS_SIZE, PAGE_SIZE, U64, Errno
from emu.access import touched
from emu.arena import HUGE_SIZE
from emu.guest import VNCR_ACCESSES, GuestContext, Pending, Special
from emu.kvm.kvm_main import Kernel
from emu.kvm.nested_state import L1Leaf, Nested
from emu.kvm.state import Kvm
from emu.steps import GuestL2, L1Map, L1Table, L1Vtcr, effective_address


def l1_map(kernel: Kernel, kvm: Kvm, step: L1Map, bases: dict[int, int]) -> int:
    """Write a leaf."""
    nested = _nested(kvm)
    if nested is None:
        return -Errno.EOPNOTSUPP
    size = HUGE_SIZE if step.block else PAGE_SIZE
    ipa, output = step.ipa & -size & U64, effective_address(step, bases) & -size & U64
    if _in_harness(ipa, ipa + size - 1) or _in_harness(output, output + size - 1):
        return -Errno.EINVAL
    leaf = L1Leaf(output, step.prot, step.old)
    if step.block:
        nested.l1.write_block(ipa, leaf)
    else:
        nested.l1.write_page(ipa, leaf)
    if nested.used:  # else nothing of the case's is in the shadow: executor/nested.c
        _invalidate(kernel, kvm, nested)
    return 0


def l1_table(kernel: Kernel, kvm: Kvm, step: L1Table, bases: dict[int, int]) -> int:
    """Place the tables of a level."""
    nested = _nested(kvm)
    if nested is None:
        return -Errno.EOPNOTSUPP
    address = effective_address(step, bases)
    if _in_harness(address, address):
        return -Errno.EINVAL
    nested.l1.tables[step.level] = address
    _invalidate(kernel, kvm, nested)
    return 0


def l1_vtcr(kernel: Kernel, kvm: Kvm, step: L1Vtcr) -> int:
    """Write VTCR_EL2."""
    nested = _nested(kvm)
    if nested is None:
        return -Errno.EOPNOTSUPP
    nested.l1.legal, nested.l1.hardware_af = step.legal, step.hardware_af
    _invalidate(kernel, kvm, nested)
    return 0


def guest_l2(kvm: Kvm, guest: GuestContext, step: GuestL2, index: int) -> int:
    """L2's program goes on. It has no guest of its own, and so no VNCR page."""
    nested = _nested(kvm)
    if nested is None:
        return -Errno.EOPNOTSUPP
    if step.access in VNCR_ACCESSES or _in_harness(*touched(step.access, step.address)):
        return -Errno.EINVAL
    guest.program.append(Pending(index, step.access, step.address, Special.L2))
    nested.used = True
    return 0


def _invalidate(kernel: Kernel, kvm: Kvm, nested: Nested) -> None:
    kernel.handle_tlbi(nested)
    # A fault that is being served now maps its page only after this.
    nested.used = kvm.races is not None and kvm.races.reading


def _nested(kvm: Kvm) -> Nested | None:
    # KVM hides granules smaller than the host's pages from L1 (arch/arm64/kvm/nested.c).
    return kvm.nested if kvm.config.page_size == PAGE_SIZE else None


def _in_harness(first: int, last: int) -> bool:
    return last >= HARNESS_BASE and first < HARNESS_BASE + HARNESS_SIZE
