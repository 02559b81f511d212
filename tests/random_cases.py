"""Random cases for the expectation, of lines that are close to each other's limits.

They rest on a seed alone: neither on the corpus nor on how the fuzzer mutates.
"""

from collections.abc import Iterator
from random import Random
from typing import Final

from emu import text
from emu.case import Case
from fuzz.expectation.premises import Premises

# Three slots in memory of three sorts, with ends of pages, of files and of slots close together.
BASE: Final = text.load("""\
create gmem0 size=0x3000 flags=mmap,init-shared
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x1000 flags=guest-memfd
create mem1 size=0x3000 anon
memslot 1 gpa=0x40002000 size=0x2000 mem1+0x1000
create mem2 size=0x2800 file
memslot 2 gpa=0x40005000 size=0x3000 mem2+0x0
""").steps

EVENTS: Final = text.load("""\
create gmem0 size=0x2000 flags=mmap
create gmem1 size=0x4000 flags=mmap,init-shared
create gmem1 size=0x4000
release gmem0
release gmem1
punch gmem0+0x1000 size=0x1000
punch gmem0+0x0 size=0x1000
punch gmem1+0x0 size=0x4000
allocate gmem0+0x1000 size=0x1000
poison gmem0+0x1008
poison gmem0+0x2ff8
poison gmem1+0x0
create mem1 size=0x2000 thp
create mem2 size=0x3000 shared
create mem3 size=0x2000 hugetlb
create mem3 size=0x1001 file
munmap mem1+0x1000 size=0x1
munmap mem1+0x2000 size=0x1000
munmap mem2+0x1000 size=0x1001
mprotect mem1+0x1000 size=0x1000 read
mprotect mem1+0x2000 size=0x800 none
mprotect mem1+0x1000 size=0x2000 read-write
mprotect mem2+0x0 size=0x1001 none
poison mem1+0x1ff8
poison mem2+0x1000
poison mem2+0x2000
truncate mem2 size=0x1001
truncate mem2 size=0x2001
truncate mem1 size=0x1000
userfault mem1+0x1000 size=0x1000 sigbus
userfault mem1+0x1000 size=0x1000 missing
userfault mem2+0x0 size=0x1001 sigbus
memslot 0 delete
memslot 1 delete
memslot 1 gpa=0x40002000 size=0x2000 mem1+0x1000 flags=readonly
memslot 1 gpa=0x40002000 size=0x2000 mem1+0x1000 flags=log-dirty
memslot 2 gpa=0x40006000 size=0x3000 mem2+0x0
memslot 3 gpa=0x40004000 size=0x1000 mem3+0x1000
memslot 3 gpa=0x40004000 size=0x1000 gmem1+0x3000 flags=guest-memfd
memslot 3 gpa=0x40004000 size=0x1000 mem3+0x0 gmem1+0x1000 flags=guest-memfd
memslot 3 gpa=0x40004000 size=0x1000 mem3+0x0 gmem1+0x1000
memslot 4 gpa=0xffffe000 size=0x2000 mem1+0x0
memory-limit on
memory-limit off
memlock-limit on
memlock-limit off
ioeventfd gpa=0x40004ff8 size=8
ioeventfd gpa=0x40004ff8 size=4
fail kvm_gmem_get_pfn EIO
fail kvm_gmem_bind ENOSPC
fail __kvm_faultin_pfn EHWPOISON
fail kvm_pgtable_stage2_map ENOEXEC
""").steps

ADDRESSES: Final = (
    *(page + offset for page in range(0x3FFF_F000, 0x4000_A000, 0x1000) for offset in (0, 0xFF8)),
    *(0x4000_0FFC, 0x4000_2004, 0x4000_4FFD, 0x4000_7FFC, 0xFFFF_FFF8, 0xFFFF_FFFC, 1 << 32),
)

# L1's stage 2, and what makes it another.
L1_MAPS: Final = text.load("""\
vm nested
l1-map 0x4000 slot0+0x0 flags=read,write,execute
l1-map 0x5000 slot0+0x1000 flags=read
l1-map 0x6000 slot1+0x8 flags=write
l1-map 0x7000 slot1+0x1000 flags=read,execute
l1-map 0x4000 slot0+0x0 flags=read,write,execute block
l1-map 0x6008 slot2+0x0 flags=read,write
l1-map 0xfffffff000 slot0+0x0 flags=read
l1-map 0x200000 slot0+0x0 flags=read,write block
l1-map 0x10000000000 slot0+0x0 flags=read
l1-map 0x6000 slot0+0x1000 flags=read,write old
""").steps
L1_TABLES: Final = text.load("""\
vm nested
l1-table 1 0x9000000
l1-table 2 0x9000000
l1-table 3 0x9000000
l1-vtcr illegal
l1-vtcr legal
l1-vtcr legal hardware-af
""").steps
L2_ADDRESSES: Final = (
    *(page + offset for page in range(0x3000, 0x9000, 0x1000) for offset in (0, 0xFFC)),
    *(0xFF_FFFF_FFF8, 0xFF_FFFF_FFFC, 1 << 40, 0x20_0000, 0x3F_FFFC),
)

REQUESTS: Final = text.load("""\
create gmem2 size=0x2000 flags=mmap
create gmem2 size=0x2800 flags=mmap
create gmem2 size=0x0
create gmem2 size=0x7ffffffffffff000
create gmem2 size=0x8000000000000000
create gmem2 size=0x1000 flags=0x4
punch gmem1+0x800 size=0x1000
punch gmem1+0x1000 size=0x800
punch gmem1+0x1000 size=0x7fffffffffffefff
punch gmem1+0x8000000000000000 size=0x1000
allocate gmem1+0x3000 size=0x1000
allocate gmem1+0x4000 size=0x1000
memslot 5 gpa=0x40001000 size=0x1000 mem1+0x0
memslot 5 gpa=0x40009000 size=0x1000 mem1+0x0
memslot 5 gpa=0x3ffff000 size=0x1000 mem1+0x0
memslot 5 gpa=0x3ffff000 size=0x2000 mem1+0x0
memslot 5 gpa=0x50000000 size=0x1000 gmem0+0x2000 flags=guest-memfd
memslot 5 gpa=0x50000000 size=0x1000 gmem0+0x0 flags=guest-memfd
memslot 5 gpa=0x50000000 size=0x2000 gmem0+0x2000 flags=guest-memfd
memslot 5 gpa=0x50000000 size=0x1000 gmem1+0x2000 flags=guest-memfd
memslot 5 gpa=0x50000000 size=0x1000 gmem1+0x0 flags=guest-memfd v1
memslot 5 gpa=0x50000000 size=0x1000 gmem1+0x0 flags=guest-memfd,log-dirty
memslot 5 gpa=0x50000000 size=0x1000 gmem1+0xfffffffffffff000 flags=guest-memfd
memslot 5 gpa=0x50000000 size=0x1000 gmem1+0x800 flags=guest-memfd
memslot 5 gpa=0x50000000 size=0x1000 mem3+0x0 flags=log-dirty
memslot 5 gpa=0x50000000 size=0x1000 mem3+0x0 flags=readonly v1
memslot 5 gpa=0x50000000 size=0x1000 mem3+0x0 flags=0x8
memslot 5 gpa=0x50000000 size=0x1000 mem3+0x800
memslot 5 gpa=0x50000000 size=0x1000
memslot 5 gpa=0x50000800 size=0x1000 mem3+0x0
memslot 5 gpa=0x50000000 size=0x800 mem3+0x0
memslot 5 gpa=0x50000000 size=0x1000 mem3+0x1000000000
memslot 5 gpa=0x50000000 size=0x1000 mem3+0x1000001000
memslot 5 gpa=0x100000000 size=0x1000 mem3+0x0
memslot 5 gpa=0xffffffff000 size=0x1000 mem3+0x0
memslot 5 gpa=0xffffffff000 size=0x2000 mem3+0x0
memslot 5 gpa=0xfffffffffffff000 size=0x1000 mem3+0x0
memslot 5 gpa=0x100000000 size=0x7fffffff000 mem3+0x0
memslot 5 gpa=0x100000000 size=0x80000000000 mem3+0x0
memslot 5 gpa=0xefff0000 size=0x10000 mem3+0x0
memslot 5 gpa=0xf0000000 size=0x1000 mem3+0x0
memslot 32763 gpa=0x50000000 size=0x1000 mem3+0x0
memslot 32766 gpa=0x50000000 size=0x1000 mem3+0x0
memslot 32767 gpa=0x50000000 size=0x1000 mem3+0x0
memslot 65536 gpa=0x50000000 size=0x1000 mem3+0x0
memslot 5 delete
memslot 0 gpa=0x40000000 size=0x2000 gmem0+0x1000 flags=guest-memfd
memslot 0 gpa=0x40000000 size=0x2000 mem1+0x1000
memslot 1 gpa=0x40002000 size=0x2000 mem1+0x1000
memslot 1 gpa=0x40002000 size=0x1000 mem1+0x1000
memslot 1 gpa=0x40002000 size=0x2000 mem1+0x0
memslot 1 gpa=0x40002000 size=0x2000 mem2+0x1000
memslot 1 gpa=0x40003000 size=0x2000 mem1+0x1000
memslot 1 gpa=0x50003000 size=0x2000 mem1+0x1000
memslot 1 gpa=0x50003000 size=0x2000 mem1+0x1000 flags=log-dirty
memslot 1 gpa=0xfffff000 size=0x2000 mem1+0x1000
dirty-log slot1
dirty-log slot5
dirty-log slot32766
dirty-log slot32767
dirty-log slot65537
ioeventfd gpa=0x40004ff8 size=2
ioeventfd gpa=0xfffffffffffffff8 size=8
ioeventfd gpa=0xfffffffffffffffc size=4
ioeventfd gpa=0xfffffffffffffffd size=4
""").steps

VMS: Final = tuple(
    text.load(line).vm
    for line in (
        *("", "", "vm ipa-bits=32\n", "vm nisv-to-user\n", "vm mte\n", "vm page-size=16k\n"),
        *("vm protected\n", "vm protected\nvm mte\n"),
    )
)


CASE_VMS: Final = tuple(
    text.load(line).vm
    for line in (
        *("", "", "", "vm nisv-to-user\n", "vm mte\n", "vm cold\n", "vm nested\n", "vm nested\n"),
        *("vm protected\n", "vm protected\nvm mte\n", "vm vcpu=unfinalized\n"),
    )
)
GUEST: Final = text.load("""\
guest read64 slot0+0x0
guest write64 slot0+0x1000
guest cas slot0+0xff8
guest fetch slot0+0x0
guest read64 slot1+0x0
guest write32 slot1+0x1000
guest dc-civac slot1+0x0
guest at-walk slot1+0x0
guest walk-af slot1+0x1000
guest read-pair slot2+0x1000
guest write64 slot2+0x2000
guest read64 0x9000000
guest write64 0x40004ff8
guest read-pair 0x9000000
guest fetch 0x9000000
guest prefetch slot0+0x0
""").steps
NESTED: Final = text.load("""\
vm nested
l1-map 0x4000 slot0+0x0 flags=read,write,execute
l1-map 0x5000 slot0+0x1000 flags=read
l1-table 3 0x9000000
l1-vtcr illegal
l1-vtcr legal
l1-vtcr legal hardware-af
l1-map 0x4000 slot0+0x0 flags=read old
l2 read64 0x4000
l2 write64 0x5008
l2 fetch 0x4000
guest vncr-read slot0+0x0
guest vncr-write slot1+0x0
""").steps
MIDST: Final = text.load("""\
skip
mmio-data 0x7
at entry
at lookup
at map
at pin
at swap
vcpu 1
vcpu 0
force-exit unknown
force-exit hyp-gone
force-exit irq
force-exit illegal-return
force-abort fsc=0x10
fail kvm_arch_vcpu_run_pid_change EIO
run
""").steps
RUNS: Final = text.load("""\
run
run signal
run immediate-exit
run vm-dead
run vm-dead signal
run bad-argument
run other-mm
run killed
run suspend
run dirty-ring-full
run irq-line
run cpu-unsupported
""").steps
RUN_WEIGHTS: Final = (24, *(1 for _ in RUNS[1:]))


def settings(number: int) -> Iterator[tuple[Random, Premises]]:
    """So many VMs after some events, of which a few were refused."""
    rng = Random(number)  # noqa: S311 - nothing here is secret
    for _ in range(number):
        made = Premises(rng.choice(VMS))
        for step in (*BASE, *rng.choices(EVENTS, k=rng.randrange(8))):
            made.apply(step, refused=rng.random() < 0.05)
        yield rng, made


def random_cases(number: int) -> Iterator[tuple[Random, Case]]:
    """Whole cases, which end with a KVM_RUN."""
    rng = Random(number)  # noqa: S311 - nothing here is secret
    for _ in range(number):
        vm = rng.choice(CASE_VMS)
        guest = (*GUEST, *NESTED) if vm.nested else GUEST
        steps = list(BASE)
        for _ in range(rng.randrange(1, 4)):
            steps += rng.choices(EVENTS, k=rng.choice((0, 0, 1, 2)))
            steps += rng.choices(guest, k=rng.randrange(1, 4))
            steps += rng.choices(MIDST, k=rng.choice((0, 0, 1)))
            steps += rng.choices(RUNS, RUN_WEIGHTS)
        yield rng, Case(vm, tuple(steps))
