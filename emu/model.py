"""The model machine: Unicorn runs the guest, a modelled kernel serves its faults."""

from typing import Final

from emu.abi import PAGE_SIZE, STAMP_GPA, STAMP_SIZE, Errno, ExitReason
from emu.case import PAGE_SIZES, Case, VcpuState
from emu.cpu import SHADOW_IPA_BITS, Cpu
from emu.guest import GuestContext, StuckError, VncrTlb
from emu.kvm.kvm_main import Kernel
from emu.kvm.nested_state import Nested
from emu.kvm.state import MMU_CACHE_CAPACITY, Kvm, Vcpu
from emu.outcome import IDLE, Outcomes, Refusal, RunOutcome
from emu.steps import Run, RunFlag
from emu.threads import THREADED, Threads
from emu.vmm import Vmm, harness_memory

# Plain names, for the hot path: see emu.abi.
_MMIO: Final = ExitReason.MMIO
_SIGNAL: Final = RunFlag.SIGNAL
_READY: Final = VcpuState.READY


class Model:
    """One emulated CPU, used for one case after another, and more where a case has more vCPUs.

    A process needs one model.
    """

    def __init__(self) -> None:
        self.cpu = Cpu()
        self._cpus = {0: self.cpu}
        self._harness = {size: harness_memory(size) for size in PAGE_SIZES}

    def run(self, case: Case, kernel: Kernel) -> Outcomes:
        """Play ``case`` on a fresh VM of ``kernel``. The same case gives the same outcomes."""
        vcpu = self.boot(case)
        vmm = Vmm(kernel, vcpu)
        runs: list[RunOutcome] = []
        refusals: list[Refusal] = []
        for index, step in enumerate(case.steps):
            if type(step) is Run:
                runs.append(self.kvm_run(kernel, vcpu, index, step.flags))
            elif type(step) in THREADED:
                done = Outcomes(tuple(runs), tuple(refusals))
                return Threads(self, vmm, done).play(case.steps, index)
            elif errno := vmm.do(index, step):
                refusals.append(Refusal(index, -errno))
        return Outcomes(tuple(runs), tuple(refusals), tuple(vmm.logs))

    def boot(self, case: Case) -> Vcpu:
        """A VM with one vCPU, as one warm-up KVM_RUN leaves it unless the case says otherwise."""
        config = case.vm
        cpu = self.cpu
        warm = not config.cold and config.vcpu is _READY
        cpu.reset(config.ipa_bits, warm, config.page_size)
        memory, slot = self._harness[config.page_size]
        kvm = Kvm(config, cpu.arena, cpu.stage2, [slot], memory=memory.copy())
        if config.page_size != PAGE_SIZE:
            kvm.page_size = config.page_size
            kvm.page_shift = config.page_size.bit_length() - 1
        kvm.hyp_vm = warm
        if config.nested and not config.protected:
            cpu.shadow.reset(SHADOW_IPA_BITS, warm=False)
            kvm.nested = Nested(cpu.shadow, warm)
            kvm.nested.warm_up()
        return _vcpu(kvm, cpu, 0)

    def add_vcpu(self, kvm: Kvm, index: int) -> Vcpu:
        """Another vCPU of a VM, as far as the first one was at the start."""
        cpu = self._cpus.get(index)
        if cpu is None:
            cpu = self._cpus[index] = self.cpu.sibling()
        cpu.join(kvm.config.ipa_bits, kvm.config.page_size)
        return _vcpu(kvm, cpu, index)

    def kvm_run(self, kernel: Kernel, vcpu: Vcpu, index: int, flags: int) -> RunOutcome:
        """One KVM_RUN: stamp, run, and put down what came of it."""
        run, guest = vcpu.run, vcpu.guest
        before = run.exit_reason
        stamped = before != _MMIO  # whose record is still wanted
        if stamped:
            run.u1, run.u2 = STAMP_GPA, STAMP_SIZE
        gpa, size = run.u1, run.u2
        vcpu.requests = flags
        vcpu.signal_pending = bool(flags & _SIGNAL)
        vcpu.sigbus = False
        kvm = vcpu.kvm
        userfaults = kvm.userfaults
        guest.begin_run()
        stuck = False
        try:
            ret = kernel.kvm_vcpu_ioctl_run(vcpu)
        except StuckError:
            # What a VMM does about it: a signal ends the call.
            stuck, ret = True, -Errno.EINTR
            run.exit_reason = ExitReason.INTR
        access = guest.step
        idle = access == IDLE
        # In the order of RunOutcome's fields: to name them takes six times as long.
        return RunOutcome(
            index,
            -1 if ret < 0 else ret,
            -ret if ret < 0 else 0,
            run.exit_reason,
            (run.u0, run.u1, run.u2, run.u3),
            before,
            run.u1 != gpa or (not stamped and run.u2 != size),  # fresh
            access,
            not idle and guest.moved,
            not idle and guest.changed,
            tuple(guest.exceptions),
            kvm.injected,
            stuck,
            vcpu.sigbus,
            vcpu.index,
            kvm.userfaults - userfaults,
        )


def _vcpu(kvm: Kvm, cpu: Cpu, index: int) -> Vcpu:
    """A new vCPU; one that is ready has done the warm-up KVM_RUN unless the VM is cold."""
    vcpu = Vcpu(kvm, GuestContext(cpu), kvm.stage2, index=index)
    if not kvm.config.cold and kvm.config.vcpu is _READY:
        vcpu.ran_once = True
        vcpu.mmu_page_cache = MMU_CACHE_CAPACITY
    if kvm.nested is not None:
        vcpu.guest.vncr_tlb = VncrTlb()
        kvm.nested.vncr_tlbs.append(vcpu.guest.vncr_tlb)
    return vcpu
