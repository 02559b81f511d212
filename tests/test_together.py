"""Several kernels on one execution: what is shared is what each would have shown alone."""

from typing import Final

import pytest
from hypothesis import given, settings

from emu import casefile, text
from emu.abi import Errno
from emu.case import Case
from emu.kernels import KERNELS
from emu.kernels.clean import Clean
from emu.kernels.known_bad.report import BadScribbleSign
from emu.kernels.thread import RfcAlignErrno, ScribbleAsPosted, ScribbleOnExit
from emu.kvm.kvm_main import Kernel
from emu.kvm.state import Kvm, MemorySlot, Vcpu
from emu.model import Model
from emu.outcome import Outcomes
from emu.stage2 import Prot
from emu.steps import MemKind
from emu.syndrome import is_iabt
from fuzz.search.together import Together
from tests.strategies import CASES
from triage.corpus_files import case_files, corpus_dir

MODEL: Final = Model()
ALL: Final = Together(MODEL, KERNELS)
# A corpus case is run on an eighth of the kernels, the next one on another.
_EIGHTHS: Final = [
    {"clean": KERNELS["clean"]} | {name: KERNELS[name] for name in [*KERNELS][part::8]}
    for part in range(8)
]
PARTS: Final = [(Together(MODEL, kernels), kernels) for kernels in _EIGHTHS]

READ: Final = text.load("""
create gmem0 size=0x1000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
guest read64 slot0+0x0
run
""")
POISONED: Final = text.load("""
create gmem0 size=0x1000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x1000 gmem0+0x0 flags=guest-memfd
poison gmem0+0x0
guest read64 slot0+0x0
run
""")
USER_MEMORY: Final = text.load("""
create mem0 size=0x1000 anon
memslot 0 gpa=0x40000000 size=0x1000 mem0+0x0
guest fetch slot0+0x0
run
""")
CORPUS: Final = sorted(case_files(corpus_dir()))


def shared(kernels: dict[str, Kernel], case: Case) -> dict[str, Outcomes]:
    return Together(MODEL, kernels).each(case)


def alone(kernels: dict[str, Kernel], case: Case) -> dict[str, Outcomes]:
    return {name: MODEL.run(case, kernel) for name, kernel in kernels.items()}


MADE: Final = """
class Made(Clean):
    def kvm_handle_guest_abort(self, vcpu):
        ret = super().kvm_handle_guest_abort(vcpu)
        vcpu.run.u3 = 5
        return ret
"""


class CountingModel(Model):
    """Counts the cases that it runs."""

    runs = 0

    def run(self, case: Case, kernel: Kernel) -> Outcomes:
        self.runs += 1
        return super().run(case, kernel)


def runs_needed(kernels: dict[str, Kernel], case: Case) -> int:
    model = CountingModel()
    Together(model, kernels).run(case)
    return model.runs


@given(CASES)
@settings(max_examples=60, deadline=None)
def test_any_case_shows_on_every_kernel_what_it_shows_alone(case: Case) -> None:
    assert ALL.each(case) == alone(KERNELS, case)


def test_a_corpus_case_shows_on_every_kernel_what_it_shows_alone() -> None:
    for number, path in enumerate(CORPUS):
        case = casefile.load(path.read_text(), str(path)).case
        part, kernels = PARTS[number % len(PARTS)]
        assert part.each(case) == alone(kernels, case), path


def test_each_group_of_kernels_is_told_apart_by_its_outcomes() -> None:
    kernels = {name: KERNELS[name] for name in ("clean", "v7.3", "twin-pages-only")}
    assert list(Together(MODEL, kernels).run(READ).values()) == [
        ["clean", "v7.3", "twin-pages-only"]
    ]


# HUNKS THAT DO SOMETHING ELSE, each in another way, in this case


class StoresAnotherValue(Clean):
    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        ret = super().kvm_handle_guest_abort(vcpu)
        vcpu.run.u3 = 7
        return ret


class StoresBefore(Clean):
    def kvm_arch_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        vcpu.signal_pending = True
        return super().kvm_arch_vcpu_ioctl_run(vcpu)


class AddsInPlace(Clean):
    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        ret = super().kvm_handle_guest_abort(vcpu)
        vcpu.run.u0 += 1
        return ret


class ReturnsAnotherValue(Clean):
    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        ret = super().kvm_vcpu_ioctl_run(vcpu)
        return -Errno.EIO if ret == 0 else ret


class PassesAnotherArgument(Clean):
    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        ipa += 0x1000
        return super().gmem_abort(vcpu, ipa, slot)


class CallsTwice(Clean):
    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        ret = super().kvm_handle_guest_abort(vcpu)
        return super().kvm_handle_guest_abort(vcpu) if ret == 0 else ret


class NeverCalls(Clean):
    def gmem_abort(self, _vcpu: Vcpu, _ipa: int, _slot: MemorySlot) -> int:
        return -Errno.EFAULT


class CallsSomethingElse(Clean):
    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        ret = super().gmem_abort(vcpu, ipa, slot)
        vcpu.guest.advance()
        return ret


class CallsSomethingElseInACondition(Clean):
    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        if self.kvm_gmem_get_pfn(vcpu.kvm, slot, ipa + 0x1000) < 0:
            return -Errno.ENOENT
        return super().gmem_abort(vcpu, ipa, slot)


class Loops(Clean):
    def before_guest_entry(self, vcpu: Vcpu) -> int:
        for _ in (1, 2):
            vcpu.run.u3 += 1
        return super().before_guest_entry(vcpu)


class ChangesInPlace(Clean):
    """A set that is known under another name, too."""

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        first = set(range(1))
        if slot.gmem is not None:
            poisoned = slot.gmem.poisoned
            poisoned |= first
        return super().gmem_abort(vcpu, ipa, slot)


class LooksUpItsOwnWay(Clean):
    """The lookup of its own condition is changed as well."""

    def gfn_to_memslot(self, kvm: Kvm, ipa: int) -> MemorySlot | None:
        return None if kvm.vm_dead else super().gfn_to_memslot(kvm, ipa)

    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        vcpu.kvm.vm_dead = True
        return super().kvm_handle_guest_abort(vcpu)


class TakesByPosition(Clean):
    def kvm_handle_guest_abort(self, vcpu: Vcpu, /) -> int:
        ret = super().kvm_handle_guest_abort(vcpu)
        vcpu.run.u3 = 7
        return ret


class ThroughAHelper(Clean):
    """What it changes calls something that only it has."""

    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        return self.spoil(vcpu) or super().gmem_abort(vcpu, ipa, slot)

    def spoil(self, vcpu: Vcpu) -> int:
        vcpu.run.u3 = 9
        return 0


class Static(Clean):
    @staticmethod
    def _memory_prot(_kvm: Kvm, _kind: MemKind, _esr: int) -> int:
        return Prot.DEVICE


class WithState(Clean):
    def __init__(self) -> None:
        self.__dict__["gmem_abort"] = lambda _vcpu, _ipa, _slot: -Errno.EFAULT


class Between(RfcAlignErrno):
    def prepare_gmem_fault_exit(self, vcpu: Vcpu, gpa: int, size: int, ret: int) -> None:
        super().prepare_gmem_fault_exit(vcpu, gpa, 2 * size, ret)


class AnotherParent(Clean, Between):
    """``super()`` of a function that it does not change leads elsewhere."""


DIFFERENT: Final = (
    StoresAnotherValue,
    StoresBefore,
    AddsInPlace,
    ReturnsAnotherValue,
    PassesAnotherArgument,
    CallsTwice,
    NeverCalls,
    CallsSomethingElse,
    CallsSomethingElseInACondition,
    Loops,
    ChangesInPlace,
    LooksUpItsOwnWay,
    TakesByPosition,
    ThroughAHelper,
    WithState,
)


@pytest.mark.parametrize("changed", DIFFERENT)
@pytest.mark.parametrize("base", [Clean, RfcAlignErrno])
def test_a_hunk_that_does_something_else_is_noticed(
    base: type[Kernel], changed: type[Kernel]
) -> None:
    kernels = {"base": base(), "again": base(), "changed": changed()}
    assert shared(kernels, READ) == alone(kernels, READ)
    assert runs_needed(kernels, READ) == 2


def _of_another_name(self: Kernel, vcpu: Vcpu) -> int:
    vcpu.run.u3 = 1
    return Clean.kvm_handle_guest_abort(self, vcpu)


def test_a_hunk_is_noticed_whatever_it_is_called_or_made_of() -> None:
    value = 7

    class Closure(Clean):
        def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
            ret = super().kvm_handle_guest_abort(vcpu)
            vcpu.run.u3 = value
            return ret

    assigned = type("Assigned", (Clean,), {"kvm_handle_guest_abort": _of_another_name})
    made: dict[str, object] = {}
    exec(compile(MADE, "nowhere", "exec"), {"Clean": Clean}, made)  # noqa: S102 - no file has it
    for changed in (Closure, assigned, made["Made"]):
        assert isinstance(changed, type)
        kernels: dict[str, Kernel] = {"base": Clean(), "again": Clean(), "changed": changed()}
        found = shared(kernels, READ)
        assert found["changed"] != found["base"]
        assert found == alone(kernels, READ)


def test_a_static_function_that_is_another_is_noticed() -> None:
    kernels: dict[str, Kernel] = {"base": Clean(), "again": Clean(), "changed": Static()}
    assert shared(kernels, USER_MEMORY) == alone(kernels, USER_MEMORY)
    assert runs_needed(kernels, READ) == 2  # it is never shared


def test_a_constant_with_another_value_is_noticed() -> None:
    kernels: dict[str, Kernel] = {
        "base": ScribbleOnExit(),
        "again": ScribbleOnExit(),
        "posted": ScribbleAsPosted(),
    }
    found = shared(kernels, POISONED)
    assert found["posted"] != found["base"]


def test_a_kernel_with_a_state_of_its_own_keeps_it() -> None:
    kernels: dict[str, Kernel] = {"one": WithState(), "other": WithState()}
    assert shared(kernels, READ) == alone(kernels, READ)


def test_another_order_of_the_parents_is_noticed() -> None:
    kernels: dict[str, Kernel] = {"base": Clean(), "again": Clean(), "changed": AnotherParent()}
    found = shared(kernels, POISONED)
    assert found["changed"] != found["base"]
    assert found == alone(kernels, POISONED)


# HUNKS THAT DO NOTHING ELSE in these cases


class ConditionFails(Clean):
    def kvm_handle_guest_abort(self, vcpu: Vcpu) -> int:
        ret, esr = super().kvm_handle_guest_abort(vcpu), vcpu.fault.esr
        if ret == -Errno.EFAULT and is_iabt(esr):
            vcpu.guest.advance()
        return ret


class StoresWhatIsThere(Clean):
    def kvm_vcpu_ioctl_run(self, vcpu: Vcpu) -> int:
        vcpu.kvm.vm_dead = False
        vcpu.fault.esr |= 0
        return super().kvm_vcpu_ioctl_run(vcpu)


class LooksUp(Clean):
    def gmem_abort(self, vcpu: Vcpu, ipa: int, slot: MemorySlot) -> int:
        if self.gfn_to_memslot(vcpu.kvm, ipa) is not slot:
            return -Errno.EFAULT
        return super().gmem_abort(vcpu, ipa, slot)


class Chooses(Clean):
    def gmem_abort_without_pfn(self, vcpu: Vcpu, ipa: int, ret: int) -> int:
        return 0 if ret == -Errno.ENOMEM else super().gmem_abort_without_pfn(vcpu, ipa, ret)


class NotEntered(Clean):
    def kvm_handle_guest_sea(self, vcpu: Vcpu) -> int:
        return self.kvm_inject_serror(vcpu)


@pytest.mark.parametrize(
    "changed", [ConditionFails, StoresWhatIsThere, LooksUp, Chooses, NotEntered, BadScribbleSign]
)
def test_a_hunk_that_does_nothing_else_shares_the_execution(changed: type[Kernel]) -> None:
    kernels = {"base": Clean(), "again": Clean(), "changed": changed()}
    assert runs_needed(kernels, READ) == 1


def test_kernels_that_differ_once_share_again_in_the_next_case() -> None:
    counting = CountingModel()
    together = Together(counting, {"base": Clean(), "again": Clean(), "posted": BadScribbleSign()})
    assert list(together.run(POISONED).values()) == [["base", "again"], ["posted"]]
    assert counting.runs == 2
    assert list(together.run(READ).values()) == [["base", "again", "posted"]]
    assert counting.runs == 3
