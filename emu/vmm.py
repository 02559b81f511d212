"""The VMM of a case: every step that is not KVM_RUN, as system calls on the modelled host.

One small function a step. Each returns 0, or -errno where the call was refused.
"""

from collections.abc import Callable
from typing import Final

from emu import l1
from emu.abi import (
    HARNESS_BASE,
    HARNESS_SIZE,
    HARNESS_SLOT,
    PAGE_SHIFT,
    U64,
    Errno,
    ExitReason,
    MemFlag,
)
from emu.access import Access, touched
from emu.arena import CODE_SIZE, HARNESS_PFN
from emu.guest import VNCR_ACCESSES, Pending, Special
from emu.injection import Fail, ForceAbort, ForceExit
from emu.kvm.kvm_main import Kernel
from emu.kvm.memslots import MemoryRegion
from emu.kvm.state import (
    Gmem,
    Injection,
    MemorySlot,
    UserMemory,
    Vcpu,
    Vma,
    user_address,
)
from emu.outcome import DirtyLog
from emu.steps import (
    Age,
    Allocate,
    CreateGmem,
    CreateMem,
    GetDirtyLog,
    Guest,
    GuestL2,
    IoEventFd,
    L1Map,
    L1Table,
    L1Vtcr,
    MemKind,
    MemlockLimit,
    MemoryLimit,
    MmioData,
    PoisonGmem,
    PoisonMem,
    Protect,
    Protection,
    PunchHole,
    ReleaseGmem,
    SetMemslot,
    Skip,
    Step,
    Truncate,
    Unmap,
    Userfault,
    effective_address,
)

_HARNESS_OBJECT: Final = 15
_MMIO_IS_WRITE: Final = 0xFF << 32
_WIDEST: Final = 64  # bytes that an access touches on either side of its address
_NEAR_HARNESS: Final = range(HARNESS_BASE - _WIDEST, HARNESS_BASE + HARNESS_SIZE + _WIDEST)
_VNCR: Final = Special.VNCR  # a plain name, for the hot path


def harness_memory(page_size: int) -> tuple[dict[int, UserMemory], MemorySlot]:
    """The VMM memory and the slot that hold the guest's code and stage-1 tables.

    No case can name either, and the slot is read-only, so one of each serves every VM on a host
    with pages of this size.
    """
    vmas = [Vma(0, CODE_SIZE, Protection.READ_WRITE, MemKind.SHARED)]
    frames = range(HARNESS_PFN, HARNESS_PFN + (CODE_SIZE >> PAGE_SHIFT), page_size >> PAGE_SHIFT)
    pages = dict(enumerate(frames))
    memory = UserMemory(MemKind.SHARED, CODE_SIZE, vmas, pages)
    address = user_address(_HARNESS_OBJECT, 0)
    slot = MemorySlot(HARNESS_SLOT, HARNESS_BASE, CODE_SIZE, MemFlag.READONLY, address, None, 0)
    return {_HARNESS_OBJECT: memory}, slot


class Vmm:
    """Does the steps of one case to one VM."""

    __slots__ = ("bases", "guest", "kernel", "kvm", "logs", "vcpu")

    def __init__(self, kernel: Kernel, vcpu: Vcpu) -> None:
        self.kernel = kernel
        self.vcpu = vcpu
        self.kvm = vcpu.kvm
        self.guest = vcpu.guest
        self.bases: dict[int, int] = {}
        self.logs: list[DirtyLog] = []

    def do(self, index: int, step: Step) -> int:
        """Do the step at ``index``; 0 or -errno. KVM_RUN, ``at`` and ``vcpu`` are the machine's."""
        return _DO[type(step)](self, step, index)

    # MEMORY

    def _create_gmem(self, step: CreateGmem, _: int) -> int:
        old = self.kvm.gmems.pop(step.index, None)
        if old is not None:
            self.kernel.kvm_gmem_release(self.kvm, old)
        created = self.kernel.kvm_gmem_create(self.kvm, step.size, step.flags)
        if isinstance(created, int):
            return created
        self.kvm.gmems[step.index] = created
        return 0

    def _create_mem(self, step: CreateMem, _: int) -> int:
        return self.kernel.mmap(self.kvm, step.index, step.size, step.kind)

    def _set_memslot(self, step: SetMemslot, _: int) -> int:
        self.bases[step.slot] = step.gpa
        if step.slot == HARNESS_SLOT:
            return -Errno.EINVAL
        end = step.gpa + step.size
        if step.size and step.gpa < HARNESS_BASE + HARNESS_SIZE and end > HARNESS_BASE:
            return -Errno.EEXIST
        mem, gmem = step.mem, step.gmem
        region = MemoryRegion(
            step.slot,
            step.flags,
            step.gpa,
            step.size,
            user_address(mem.index, mem.offset) & U64 if mem is not None else 0,
            gmem.index if gmem is not None else -1,
            gmem.offset if gmem is not None else 0,
            step.v1,
        )
        return self.kernel.kvm_vm_ioctl_set_memory_region(self.kvm, region)

    # EVENTS

    def _punch_hole(self, step: PunchHole, _: int) -> int:
        gmem = self._gmem(step.gmem.index)
        if gmem is None:
            return -Errno.EBADF
        return self.kernel.kvm_gmem_punch_hole(self.kvm, gmem, step.gmem.offset, step.size)

    def _allocate(self, step: Allocate, _: int) -> int:
        gmem = self._gmem(step.gmem.index)
        if gmem is None:
            return -Errno.EBADF
        return self.kernel.kvm_gmem_allocate(self.kvm, gmem, step.gmem.offset, step.size)

    def _release_gmem(self, step: ReleaseGmem, _: int) -> int:
        gmem = self.kvm.gmems.pop(step.index, None)
        if gmem is None:
            return -Errno.EBADF
        self.kernel.kvm_gmem_release(self.kvm, gmem)
        return 0

    def _poison_gmem(self, step: PoisonGmem, _: int) -> int:
        gmem = self._gmem(step.gmem.index)
        if gmem is None:
            return -Errno.EBADF
        return self.kernel.kvm_gmem_error_folio(self.kvm, gmem, step.gmem.offset)

    def _poison_mem(self, step: PoisonMem, _: int) -> int:
        return self.kernel.memory_failure(self.kvm, step.mem.index, step.mem.offset)

    def _unmap(self, step: Unmap, _: int) -> int:
        return self.kernel.munmap(self.kvm, step.mem.index, step.mem.offset, step.size)

    def _protect(self, step: Protect, _: int) -> int:
        return self.kernel.mprotect(
            self.kvm, step.mem.index, step.mem.offset, step.size, step.protection
        )

    def _truncate(self, step: Truncate, _: int) -> int:
        return self.kernel.ftruncate(self.kvm, step.index, step.size)

    def _age(self, step: Age, _: int) -> int:
        for slot in self.kvm.memslots:
            if slot.id == step.slot and slot.id != HARNESS_SLOT:
                self.kernel.kvm_age_gfn(self.kvm, slot)
        return 0

    def _memory_limit(self, step: MemoryLimit, _: int) -> int:
        self.kvm.memory_limit = step.on
        return 0

    def _memlock_limit(self, step: MemlockLimit, _: int) -> int:
        self.kvm.memlock_limit = step.on
        return 0

    def _ioeventfd(self, step: IoEventFd, _: int) -> int:
        if self.kvm.vm_dead:
            return -Errno.EIO
        if step.gpa + step.size > U64:
            return -Errno.EINVAL
        if (step.gpa, step.size) in self.kvm.ioeventfds:
            return -Errno.EEXIST
        self.kvm.ioeventfds.add((step.gpa, step.size))
        return 0

    def _userfault(self, step: Userfault, _: int) -> int:
        return self.kernel.userfaultfd_ctl(
            self.kvm, step.mem.index, step.mem.offset, step.size, step.mode
        )

    def _get_dirty_log(self, step: GetDirtyLog, index: int) -> int:
        answer = self.kernel.kvm_vm_ioctl_get_dirty_log(self.kvm, step.slot)
        if isinstance(answer, int):
            return answer
        self.logs.append(DirtyLog(index, answer))
        return 0

    # INJECTION

    def _fail(self, step: Fail, _: int) -> int:
        self.kvm.injections.append(Injection(step.site, step.errno, step.nth))
        return 0

    def _force_exit(self, step: ForceExit, _: int) -> int:
        self.guest.forced_exit = step.exit
        return 0

    def _force_abort(self, step: ForceAbort, _: int) -> int:
        self.guest.forced_abort = step
        return 0

    # GUEST

    def _program(self, step: Guest, index: int) -> int:
        address = effective_address(step, self.bases)
        if address in _NEAR_HARNESS and _meddles(step.access, address):
            return -Errno.EINVAL
        special = None
        if step.access in VNCR_ACCESSES:
            special = _VNCR
            if self.kvm.nested is None:
                return -Errno.EOPNOTSUPP
            self.kvm.nested.used = True
        self.guest.program.append(Pending(index, step.access, address, special))
        return 0

    # THE GUEST AS A HYPERVISOR

    def _l1_map(self, step: L1Map, _: int) -> int:
        return l1.l1_map(self.kernel, self.kvm, step, self.bases)

    def _l1_table(self, step: L1Table, _: int) -> int:
        return l1.l1_table(self.kernel, self.kvm, step, self.bases)

    def _l1_vtcr(self, step: L1Vtcr, _: int) -> int:
        return l1.l1_vtcr(self.kernel, self.kvm, step)

    def _program_l2(self, step: GuestL2, index: int) -> int:
        return l1.guest_l2(self.kvm, self.guest, step, index)

    def _skip(self, _step: Skip, _: int) -> int:
        if not self.vcpu.mmio_needed:  # its completion moves the PC as well
            self.guest.skip()
        return 0

    def _mmio_data(self, step: MmioData, _: int) -> int:
        run = self.vcpu.run
        if run.exit_reason == ExitReason.MMIO and not run.u2 & _MMIO_IS_WRITE:
            run.u1 = step.value
        return 0

    def _gmem(self, index: int) -> Gmem | None:
        return self.kvm.gmems.get(index)


def _meddles(access: Access, address: int) -> bool:
    """Whether the guest would touch its own code and tables."""
    first, last = touched(access, address)
    return last >= HARNESS_BASE and first < HARNESS_BASE + HARNESS_SIZE


# Each method takes the one type that its key names, which a dict's type cannot say.
_DO: Final[dict[type, Callable[..., int]]] = {  # type: ignore[explicit-any]  # see above
    CreateGmem: Vmm._create_gmem,
    CreateMem: Vmm._create_mem,
    SetMemslot: Vmm._set_memslot,
    PunchHole: Vmm._punch_hole,
    Allocate: Vmm._allocate,
    ReleaseGmem: Vmm._release_gmem,
    PoisonGmem: Vmm._poison_gmem,
    PoisonMem: Vmm._poison_mem,
    Unmap: Vmm._unmap,
    Protect: Vmm._protect,
    Truncate: Vmm._truncate,
    Age: Vmm._age,
    MemoryLimit: Vmm._memory_limit,
    IoEventFd: Vmm._ioeventfd,
    Fail: Vmm._fail,
    ForceExit: Vmm._force_exit,
    ForceAbort: Vmm._force_abort,
    Guest: Vmm._program,
    Skip: Vmm._skip,
    MmioData: Vmm._mmio_data,
    Userfault: Vmm._userfault,
    GetDirtyLog: Vmm._get_dirty_log,
    MemlockLimit: Vmm._memlock_limit,
    L1Map: Vmm._l1_map,
    L1Table: Vmm._l1_table,
    L1Vtcr: Vmm._l1_vtcr,
    GuestL2: Vmm._program_l2,
}
