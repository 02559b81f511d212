"""Linux 7.3.4 branch by branch: a case, and what each of its KVM_RUNs must show.

The expectations are written from the facts about the kernel, not from the model. What the guest's
exceptions look like (ESR_EL1) is inferred from source where no real kernel has shown it.
"""

import pytest

from emu import text
from emu.abi import errno_name
from emu.kernels import KERNELS
from emu.kernels.releases import V73
from emu.kvm.state import MemorySlot, Vcpu
from emu.model import Model
from emu.outcome import Outcomes, describe

GMEM = """
create gmem0 size=0x2000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
ANON = """
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""
FILE = """
create mem0 size=0x2000 file
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
"""
READONLY = """
create mem0 size=0x2000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=readonly
"""

DONE = "0 MMIO doorbell"
FAULT = "MEMORY_FAULT gpa=0x40000000 size=0x1000 flags=0x0"
DATA_ABORT = "exception=0x96000010"
FETCH_ABORT = "exception=0x86000010"

BRANCHES = [
    # 1.1 and 1.2: before the guest runs, and between its entries.
    ("another mm", "run other-mm", ["-1 EIO UNKNOWN"]),
    ("killed while waiting", "run killed", ["-1 EINTR UNKNOWN"]),
    ("a bad argument", "run bad-argument", ["-1 EINVAL UNKNOWN"]),
    ("another mm wins over a bad argument", "run other-mm bad-argument", ["-1 EIO UNKNOWN"]),
    ("a vCPU that is not initialised", "vm vcpu=uninitialized\nrun", ["-1 ENOEXEC UNKNOWN"]),
    ("a vCPU that is not finalized", "vm vcpu=unfinalized\nrun", ["-1 EPERM UNKNOWN"]),
    (
        "a first run whose set-up fails, then one that works",
        "vm cold\nfail kvm_arch_vcpu_run_pid_change ENOMEM\nrun\nrun",
        ["-1 ENOMEM UNKNOWN injected", DONE + " injected"],
    ),
    ("immediate_exit", "run immediate-exit", ["-1 EINTR UNKNOWN"]),
    ("a pending signal", "run signal", ["-1 EINTR INTR"]),
    ("immediate_exit wins over a signal", "run immediate-exit signal", ["-1 EINTR UNKNOWN"]),
    ("a VM that dies, and stays dead", "run vm-dead\nrun", ["-1 EIO UNKNOWN"] * 2),
    ("a wake-up from suspend", "run suspend", ["0 SYSTEM_EVENT type=4"]),
    ("a full dirty ring", "run dirty-ring-full", ["0 DIRTY_RING_FULL"]),
    ("an interrupt line that changed", "run irq-line", ["-1 EINTR INTR"]),
    ("a CPU that cannot run the VM", "run cpu-unsupported", ["0 FAIL_ENTRY"]),
    # 1.3: exits other than aborts.
    ("an interrupt of the host", "force-exit irq\nrun", [DONE]),
    ("an SError of the host", "force-exit serror\nrun", [DONE]),
    ("an illegal exception return", "force-exit illegal-return\nrun", ["-1 EINVAL FAIL_ENTRY"]),
    ("a hypervisor that is gone", "force-exit hyp-gone\nrun", ["0 FAIL_ENTRY"]),
    ("an exit nobody knows", "force-exit unknown\nrun", ["0 INTERNAL_ERROR"]),
    # 1.4: the branches of kvm_handle_guest_abort.
    (
        "A1, an external abort",
        GMEM + "force-abort fsc=0x10\nguest read64 slot0+0x10\nrun",
        ["0 MMIO doorbell exception=0xbf000000"],
    ),
    (
        "A1 with SEA_TO_USER",
        "vm sea-to-user" + GMEM + "force-abort fsc=0x10\nguest read64 slot0+0x10\nrun",
        ["0 ARM_SEA flags=0x1 esr=0x92000010 gva=0x40000010 gpa=0x40000000"],
    ),
    (
        "A1 with SEA_TO_USER and no address",
        "vm sea-to-user"
        + GMEM
        + "force-abort fsc=0x10 fnv hpfar-invalid\nguest read64 slot0+0x10\nrun",
        ["0 ARM_SEA flags=0x0 esr=0x92000410 gva=0x0 gpa=0x0"],
    ),
    (
        "A1 with SEA_TO_USER, on the host's own tables",
        "vm sea-to-user" + GMEM + "force-abort fsc=0x14 s1ptw\nguest read64 slot0+0x10\nrun",
        [DONE + " exception=0xbf000000"],
    ),
    (
        "A2, no IPA: the VM is dead afterwards",
        GMEM + "force-abort fsc=0x7 hpfar-invalid\nguest read64 slot0+0x10\nrun\nrun",
        ["-1 EFAULT UNKNOWN", "-1 EIO UNKNOWN"],
    ),
    (
        "A3, at the host's IPA limit",
        "guest read64 0x40000000000\nrun",
        ["0 MMIO doorbell exception=0x96000000"],
    ),
    (
        "A4, at the VM's IPA size",
        "guest read64 0x10000000000\nguest fetch 0x10000000000\nrun",
        [f"{DONE} {DATA_ABORT} {FETCH_ABORT}"],
    ),
    (
        "A4 in a smaller space",
        "vm ipa-bits=32\nguest write8 0x100000000\nrun",
        [f"0 MMIO doorbell {DATA_ABORT}"],
    ),
    (
        "A5, a fault status nobody serves",
        GMEM + "force-abort fsc=0x30\nguest read64 slot0+0x10\nrun\nrun",
        ["-1 EFAULT UNKNOWN", DONE],
    ),
    (
        "A10, a fetch where no slot is",
        "guest fetch 0x60000000\nrun",
        [f"0 MMIO doorbell {FETCH_ABORT}"],
    ),
    (
        "A11, a stage-1 walk where no slot is",
        "guest walk 0x60000010\nguest at-walk 0x60000010\nguest walk-af 0x60000010\nrun",
        ["0 MMIO doorbell" + " exception=0x96000015" * 3],
    ),
    (
        "A11, where no stage-1 walk leads",
        "force-abort fsc=0x5 s1ptw\nguest read64 0x60000010\nrun",
        ["0 MMIO gpa=0x60000010 len=8 read"],
    ),
    ("A12, cache maintenance where no slot is", "guest dc-civac 0x60000000\nrun", [DONE]),
    (
        "A12 does not hold for a read-only slot",
        READONLY + "guest dc-civac slot0+0x0\nrun",
        ["-1 ENOSYS UNKNOWN"],
    ),
    (
        "A14, an old page",
        ANON + "guest write64 slot0+0x0\nrun\nage slot0\nguest read64 slot0+0x0\nrun",
        [DONE, DONE],
    ),
    # 1.5: io_mem_abort.
    (
        "a load that the VMM completes",
        "guest read32 0x60000004\nrun\nrun",
        ["0 MMIO gpa=0x60000004 len=4 read", DONE],
    ),
    (
        "a store that the VMM completes",
        "guest write16 0x60000002\nrun\nrun",
        ["0 MMIO gpa=0x60000002 len=2 write=0x5a5a5a5a5a5a0000", DONE],
    ),
    (
        "a store that an ioeventfd takes",
        "ioeventfd gpa=0x60000000 size=4\nguest write32 0x60000000\nrun",
        [DONE],
    ),
    (
        "a store of another size is not the ioeventfd's",
        "ioeventfd gpa=0x60000000 size=4\nguest write8 0x60000000\nrun",
        ["0 MMIO gpa=0x60000000 len=1 write=0x5a5a5a5a5a5a5a00"],
    ),
    ("no syndrome", "guest read-pair 0x60000000\nrun", ["-1 ENOSYS UNKNOWN"]),
    (
        "no syndrome, and the VMM wants to know",
        "vm nisv-to-user\nguest read-pair 0x60000008\nrun\nskip\nrun",
        ["0 ARM_NISV iss=0x5 ipa=0x60000008", DONE],
    ),
    (
        "a 64-byte access",
        "force-abort fsc=0x5 lst\nguest read64 0x60000000\nrun",
        ["0 ARM_LDST64B iss=0x93c08800 ipa=0x60000000"],
    ),
    (
        "a 64-byte access is told by its fault status too",
        "force-abort fsc=0x35 lst\nguest read64 0x60000000\nrun",
        ["0 MMIO gpa=0x60000000 len=8 read"],
    ),
    (
        "a store to a read-only slot",
        READONLY + "guest write64 slot0+0x8\nrun\nrun",
        ["0 MMIO gpa=0x40000008 len=8 write=0x0", DONE],
    ),
    ("a load from a read-only slot", READONLY + "guest read64 slot0+0x8\nrun", [DONE]),
    # 1.6: gmem_abort.
    ("guest_memfd, served", GMEM + "guest write64 slot0+0x0\nguest fetch slot0+0x0\nrun", [DONE]),
    (
        "a file that is gone",
        GMEM + "release gmem0\nguest write64 slot0+0x18\nrun\nrun",
        [f"-1 EFAULT {FAULT}"] * 2,
    ),
    (
        "a page that was mapped leaves with the file",
        GMEM + "guest write64 slot0+0x0\nrun\nrelease gmem0\nguest read8 slot0+0x0\nrun",
        [DONE, f"-1 EFAULT {FAULT}"],
    ),
    (
        "a stage-1 walk in a file that is gone",
        GMEM + "release gmem0\nguest walk slot0+0x18\nrun",
        [f"-1 EFAULT {FAULT}"],
    ),
    (
        "the second page of an access",
        GMEM + "guest write64 slot0+0x0\nrun\nmemory-limit on\nguest write64 slot0+0xffc\nrun",
        [DONE, "-1 ENOMEM MEMORY_FAULT gpa=0x40001000 size=0x1000 flags=0x0"],
    ),
    (
        "fallocate pays in advance",
        GMEM
        + "allocate gmem0+0x0 size=0x1000\nmemory-limit on\nguest read8 slot0+0x0\nrun\n"
        + "guest read8 slot0+0x1000\nrun",
        [DONE, "-1 ENOMEM MEMORY_FAULT gpa=0x40001000 size=0x1000 flags=0x0"],
    ),
    (
        "the table cache comes first, and reports nothing",
        GMEM + "fail kvm_mmu_topup_memory_cache ENOMEM\nguest read8 slot0+0x0\nrun",
        ["-1 ENOMEM UNKNOWN injected"],
    ),
    (
        "an error of the tables is handed out without a report",
        GMEM + "fail kvm_pgtable_stage2_map ERANGE\nguest read8 slot0+0x0\nrun\nrun",
        ["-1 ERANGE UNKNOWN injected", DONE + " injected"],
    ),
    (
        "EAGAIN of the tables resumes",
        GMEM + "fail kvm_pgtable_stage2_map EAGAIN\nguest read8 slot0+0x0\nrun",
        [DONE + " injected"],
    ),
    (
        "EAGAIN of the lookup does not",
        GMEM + "fail kvm_gmem_get_pfn EAGAIN\nguest read8 slot0+0x0\nrun",
        [f"-1 EAGAIN {FAULT} injected"],
    ),
    (
        "ENOEXEC of the lookup is the guest's",
        GMEM + "fail kvm_gmem_get_pfn ENOEXEC\nguest read8 slot0+0x0\nrun",
        [f"0 MMIO doorbell {FETCH_ABORT} injected"],
    ),
    (
        "a fetch relaxes a page that was mapped for data",
        GMEM
        + "guest write64 slot0+0x0\nrun\nfail kvm_pgtable_stage2_relax_perms ENOMEM\n"
        + "guest fetch slot0+0x0\nrun\nrun",
        [DONE, "-1 ENOMEM UNKNOWN injected", DONE + " injected"],
    ),
    (
        "a permission fault relaxes, and does nothing where nothing is mapped",
        GMEM
        + "force-abort fsc=0xf\nfail kvm_pgtable_stage2_relax_perms ENOMEM\n"
        + "guest read64 slot0+0x10\nrun\nrun",
        ["-1 ENOMEM UNKNOWN injected", DONE + " injected"],
    ),
    # 4: user_mem_abort.
    (
        "a store to a page that a load had shown as zeros",
        ANON + "guest read8 slot0+0x0\nguest write8 slot0+0x0\nrun",
        [DONE],
    ),
    ("anonymous memory, served", ANON + "guest read8 slot0+0x0\nguest cas slot0+0x8\nrun", [DONE]),
    (
        "unmapped",
        ANON + "munmap mem0+0x0 size=0x1000\nguest read8 slot0+0x0\nrun",
        ["-1 EFAULT UNKNOWN"],
    ),
    (
        "read-only for the VMM, and a load",
        ANON + "mprotect mem0+0x0 size=0x1000 read\nguest read8 slot0+0x0\nrun",
        [DONE],
    ),
    (
        "a file's end",
        FILE + "truncate mem0 size=0x1000\nguest read8 slot0+0x0\nguest read8 slot0+0x1000\nrun",
        ["-1 EFAULT UNKNOWN"],
    ),
    (
        "a memory limit",
        ANON + "memory-limit on\nguest read8 slot0+0x0\nguest write8 slot0+0x0\nrun",
        ["-1 EFAULT UNKNOWN"],
    ),
    (
        "a memory error: SIGBUS, then the signal",
        FILE + "poison mem0+0x0\nguest read8 slot0+0x0\nrun",
        ["-1 EINTR INTR sigbus"],
    ),
    (
        "an exclusive or atomic access that memory does not support",
        ANON + "force-abort fsc=0x35\nguest write64 slot0+0x0\nrun",
        ["0 MMIO doorbell exception=0x96000035"],
    ),
    (
        "dirty logging: a load maps read-only, the store that follows is served",
        ANON
        + "memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=log-dirty\n"
        + "guest read8 slot0+0x0\nguest write8 slot0+0x0\nrun",
        [DONE],
    ),
    (
        "the table cache of a cold vCPU: its own code comes first",
        "vm cold\nmemory-limit on\nrun",
        ["-1 ENOMEM UNKNOWN"],
    ),
]

# 5.1, in the order of its rules: a memslot line after the set-up, and the errno; None: accepted.
_SETUP = """
create gmem0 size=0x4000 flags=mmap,init-shared
create gmem1 size=0x4000
create mem0 size=0x4000 anon
memslot 0 gpa=0x40000000 size=0x2000 mem0+0x0
memslot 1 gpa=0x50000000 size=0x2000 gmem0+0x0 flags=guest-memfd
"""
RULES = [
    ("2", "2 gpa=0x60000000 size=0x1000 gmem0+0x2000 flags=guest-memfd v1", "EINVAL"),
    ("3", "32767 gpa=0x60000000 size=0x1000 mem0+0x0", "EINVAL"),
    ("4", "2 gpa=0x60000000 size=0x1000 mem0+0x0 flags=0x8", "EINVAL"),
    ("4", "2 gpa=0x60000000 size=0x1000 gmem0+0x2000 flags=readonly,guest-memfd", "EINVAL"),
    ("4", "2 gpa=0x60000000 size=0x1000 gmem0+0x2000 flags=log-dirty,guest-memfd", "EINVAL"),
    ("5", "2 gpa=0x60000800 size=0x1000 mem0+0x0", "EINVAL"),
    ("5", "2 gpa=0x60000000 size=0x1800 mem0+0x0", "EINVAL"),
    ("6", "2 gpa=0x60000000 size=0x1000 mem0+0x800", "EINVAL"),
    ("6, tagged", "2 gpa=0x60000000 size=0x1000 mem0+0x100000000000000", "EINVAL"),
    ("6, not the user's", "2 gpa=0x60000000 size=0x1000 mem0+0x1000000000000", "EINVAL"),
    ("7", "2 gpa=0x60000000 size=0x1000 gmem0+0x2800 flags=guest-memfd", "EINVAL"),
    ("7, overflows", "2 gpa=0 size=0x2000 gmem0+0xfffffffffffff000 flags=guest-memfd", "EINVAL"),
    ("8", "0x10002 gpa=0x60000000 size=0x1000 mem0+0x0", "EINVAL"),
    ("9", "2 gpa=0xfffffffffffff000 size=0x2000 mem0+0x0", "EINVAL"),
    ("9, pages", "2 gpa=0x100000000 size=0x80000000000 mem0+0x0", "EINVAL"),
    ("10", "2 delete", "EINVAL"),
    ("10, delete", "0 delete", None),
    ("11, guest_memfd", "1 gpa=0x58000000 size=0x2000 gmem0+0x0 flags=guest-memfd", "EINVAL"),
    ("11, nor drop its flag", "1 gpa=0x50000000 size=0x2000", "EINVAL"),
    ("11, size", "0 gpa=0x40000000 size=0x1000 mem0+0x0", "EINVAL"),
    ("11, address", "0 gpa=0x40000000 size=0x2000 mem0+0x1000", "EINVAL"),
    ("11, READONLY", "0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=readonly", "EINVAL"),
    ("12, move", "0 gpa=0x60000000 size=0x2000 mem0+0x0", None),
    ("12, flags", "0 gpa=0x40000000 size=0x2000 mem0+0x0 flags=log-dirty", None),
    ("12, nothing", "0 gpa=0x40000000 size=0x2000 mem0+0x0", None),
    ("13", "2 gpa=0x40001000 size=0x2000 mem0+0x0", "EEXIST"),
    ("13, move", "0 gpa=0x50001000 size=0x2000 mem0+0x0", "EEXIST"),
    ("14, no such file", "2 gpa=0x60000000 size=0x1000 gmem7+0x0 flags=guest-memfd", "EBADF"),
    ("14, past its end", "2 gpa=0x60000000 size=0x3000 gmem0+0x2000 flags=guest-memfd", "EINVAL"),
    ("14 before 15", "2 gpa=0xfffffffff000 size=0x1000 gmem7+0x0 flags=guest-memfd", "EBADF"),
    ("15", "2 gpa=0xffffffff000 size=0x1000 mem0+0x0", "EFAULT"),
    ("16", "2 gpa=0x60000000 size=0x1000 gmem1+0x0 flags=guest-memfd", "EINVAL"),
    ("18", "2 gpa=0x60000000 size=0x1000 gmem0+0x1000 flags=guest-memfd", "EEXIST"),
    ("created", "2 gpa=0x60000000 size=0x1000 gmem0+0x2000 flags=guest-memfd", None),
    ("the harness's addresses", "2 gpa=0xf0000000 size=0x1000 mem0+0x0", "EEXIST"),
    ("the harness's slot", "32766 gpa=0x60000000 size=0x1000 mem0+0x0", "EINVAL"),
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def play(model: Model, source: str) -> Outcomes:
    return model.run(text.load(source), KERNELS["v7.3"])


@pytest.mark.parametrize(("name", "source", "expected"), BRANCHES)
def test_a_branch_shows_what_the_kernel_shows(
    model: Model, name: str, source: str, expected: list[str]
) -> None:
    assert [describe(run) for run in play(model, source).runs] == expected, name


class Livelock(V73):
    """A kernel that says that it mapped the page, and did not."""

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        return 0


def test_a_fault_that_repeats_for_ever_hangs_and_the_machine_goes_on(model: Model) -> None:
    case = text.load(GMEM + "guest read64 slot0+0x10\nrun\nskip\nrun\n")
    runs = model.run(case, Livelock()).runs
    assert [describe(run) for run in runs] == ["hang EINTR INTR", DONE]


@pytest.mark.parametrize("address", ["0xeffffffc", "0xf0001000", "0xf0200000", "0xf03fffff"])
def test_an_access_to_the_harness_is_refused(model: Model, address: str) -> None:
    outcomes = play(model, f"guest read64 {address}\nrun\n")
    assert [errno_name(refusal.errno) for refusal in outcomes.refusals] == ["EINVAL"]
    assert [describe(run) for run in outcomes.runs] == [DONE]


@pytest.mark.parametrize(("rule", "line", "errno"), RULES)
def test_a_memslot_rule_refuses_with_its_errno(
    model: Model, rule: str, line: str, errno: str | None
) -> None:
    outcomes = play(model, f"{_SETUP}memslot {line}\n")
    refused = [errno_name(refusal.errno) for refusal in outcomes.refusals]
    assert refused == ([errno] if errno else []), rule
