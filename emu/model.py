"""The model machine: Unicorn runs the guest, a modelled kernel serves its faults."""

from typing import Final

from emu.abi import STAMP_GPA, STAMP_SIZE, Errno, ExitReason
from emu.case import Case, Run, RunFlag, VcpuState
from emu.cpu import Cpu
from emu.guest import GuestContext, StuckError
from emu.kvm.kvm_main import Kernel
from emu.kvm.state import MMU_CACHE_CAPACITY, Kvm, Vcpu
from emu.outcome import IDLE, Outcomes, Refusal, RunOutcome
from emu.vmm import Vmm, harness_memory

# Plain names, for the hot path: see emu.abi.
_MMIO: Final = ExitReason.MMIO
_SIGNAL: Final = RunFlag.SIGNAL
_READY: Final = VcpuState.READY


class Model:
    """One emulated CPU, used for one case after another. A process needs one."""

    def __init__(self) -> None:
        self.cpu = Cpu()
        self._harness = harness_memory()

    def run(self, case: Case, kernel: Kernel) -> Outcomes:
        """Play ``case`` on a fresh VM of ``kernel``. The same case gives the same outcomes."""
        vcpu = self.boot(case)
        vmm = Vmm(kernel, vcpu)
        runs: list[RunOutcome] = []
        refusals: list[Refusal] = []
        for index, step in enumerate(case.steps):
            if type(step) is Run:
                runs.append(self.kvm_run(kernel, vcpu, index, step.flags))
            elif errno := vmm.do(index, step):
                refusals.append(Refusal(index, -errno))
        return Outcomes(tuple(runs), tuple(refusals))

    def boot(self, case: Case) -> Vcpu:
        """A VM with one vCPU, as one warm-up KVM_RUN leaves it unless the case says otherwise."""
        config = case.vm
        cpu = self.cpu
        warm = not config.cold and config.vcpu is _READY
        cpu.reset(config.ipa_bits, warm)
        memory, slot = self._harness
        kvm = Kvm(config, cpu.arena, cpu.stage2, [slot], memory=memory.copy())
        vcpu = Vcpu(kvm, GuestContext(cpu))
        if warm:
            vcpu.ran_once = True
            vcpu.mmu_page_cache = MMU_CACHE_CAPACITY
        return vcpu

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
        guest.begin_run()
        stuck = False
        try:
            ret = kernel.kvm_vcpu_ioctl_run(vcpu)
        except StuckError:
            # What a VMM does about it: a signal ends the call.
            stuck, ret = True, -Errno.EINTR
            run.exit_reason = ExitReason.INTR
        step = guest.step
        return RunOutcome(
            step=index,
            ret=-1 if ret < 0 else ret,
            errno=-ret if ret < 0 else 0,
            exit_reason=run.exit_reason,
            union=(run.u0, run.u1, run.u2, run.u3),
            before=before,
            fresh=run.u1 != gpa or (not stamped and run.u2 != size),
            access=step,
            moved=step != IDLE and guest.moved,
            changed=step != IDLE and guest.changed,
            exceptions=tuple(guest.exceptions),
            injected=vcpu.kvm.injected,
            stuck=stuck,
            sigbus=vcpu.sigbus,
        )
