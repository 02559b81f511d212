"""The case: what a VMM and its guest do, step by step, on either kind of machine.

A case is a VM configuration and a list of steps. Any step may be deleted and the rest is still a
case: nothing refers to another step, only to things by number (memory object, guest_memfd, slot),
and what is not there answers as the kernel would (EBADF, EINVAL, no slot).
The two spellings are ``emu.text`` (people, git) and ``emu.wire`` (the fuzzer).
"""

from dataclasses import dataclass
from enum import Enum, unique
from typing import Final

from emu.abi import PAGE_SIZE
from emu.steps import Step


@unique
class VcpuState(Enum):
    """How far the VMM got with its vCPU before the first step."""

    READY = "ready"
    UNINITIALIZED = "uninitialized"  # no KVM_ARM_VCPU_INIT
    UNFINALIZED = "unfinalized"  # SVE asked for, no KVM_ARM_VCPU_FINALIZE


IPA_BITS: Final = (32, 36, 40, 42)
PAGE_SIZES: Final = (PAGE_SIZE, 0x4000, 0x1_0000)
VCPUS: Final = 4  # that a case can number: 0 to 3


@dataclass(frozen=True, slots=True)
class VmConfig:
    """What is fixed when the VM is made, or is the host's.

    ``cold``: no warm-up KVM_RUN before the first step, so that the vCPU's page-table cache is still
    empty. ``page_size``: the host's, in bytes. ``nested``: the guest has EL2 and NV2.
    ``protected``: a protected VM of pKVM. ``mte``: KVM_CAP_ARM_MTE. ``coherent``: the CPU has
    FEAT_S2FWB and its instruction cache needs no maintenance (CTR_EL0.DIC).
    """

    ipa_bits: int = 40
    nisv_to_user: bool = False
    sea_to_user: bool = False
    cold: bool = False
    vcpu: VcpuState = VcpuState.READY
    page_size: int = PAGE_SIZE
    nested: bool = False
    protected: bool = False
    mte: bool = False
    coherent: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A VM and the steps done to it, in order."""

    vm: VmConfig
    steps: tuple[Step, ...]
