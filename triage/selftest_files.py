"""The files of ``corpus/selftest``, made from the tables of KVM's selftests.

``python -m triage.selftest_files`` writes them: what the selftests assert as inferred of v7.3, and
what the model gives on every other kernel as claims.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from emu import casefile
from emu.access import Access
from emu.casefile import CaseFile
from emu.model import Model
from emu.steps import MemKind
from fuzz.directory import durable
from triage.corpus import bless, check
from triage.corpus_files import case_files, corpus_dir
from triage.kvm_selftests import ASSERTIONS, Assertion
from triage.page_fault_test import ACCESSES, GROUPS, End, Group, Hole, Row
from triage.replay import replay

KERNEL: Final = "v7.3"  # whose selftests these are
FOLDER: Final = "selftest"
SIZES: Final = {
    MemKind.ANONYMOUS: 0x2000,
    MemKind.SHARED: 0x2000,
    MemKind.THP: 0x20_0000,
    MemKind.HUGETLB: 0x20_0000,
}
DONE: Final = "0 MMIO doorbell"


_DATA: Final = "slot0+0x0"
_TABLE: Final = "slot1+0x0"


def selftest_files() -> dict[str, CaseFile]:
    """Every file by its name below the corpus, with the one group that the tables make."""
    return {name: casefile.load(content, name) for name, content in _contents()}


def _contents() -> Iterator[tuple[str, str]]:
    for group in GROUPS:
        for row in group.rows:
            for kind in SIZES:
                name = f"{group.name}-{row.access}{'-af' if row.af else ''}"
                yield _name("page_fault_test", kind, name), _guest(group, row, kind)
    for assertion in ASSERTIONS:
        for backing in assertion.kinds or (None,):
            name = _name(assertion.test, backing, assertion.name)
            yield name, _assertion(assertion, backing)


def _name(test: str, kind: MemKind | None, name: str) -> str:
    folder = f"{FOLDER}/{test}/{kind.value}" if kind else f"{FOLDER}/{test}"
    return f"{folder}/{name}.case"


def _file(test: str, rule: str, steps: Iterable[str], expected: Iterable[str]) -> str:
    above = [f"# {rule}", f"# Selftest {test}.", *steps]
    below = ["---", f"inferred {KERNEL}", *(f"  {line}" for line in expected)]
    return "\n".join([*above, *below]) + "\n"


# What other selftests assert


def _assertion(assertion: Assertion, kind: MemKind | None) -> str:
    steps = assertion.steps
    if kind is not None:
        steps = steps.format(kind=kind.value, size=f"{SIZES[kind]:#x}")
    lines = [line for line in steps.splitlines() if line]
    return _file(assertion.test, assertion.rule, lines, assertion.expected)


# page_fault_test


def _guest(group: Group, row: Row, kind: MemKind) -> str:
    runs = list(_runs(group, row))
    expected = [f"run {number}: {outcome}" for number, outcome in enumerate(runs, start=1)]
    steps = [*_memory(group, kind), *_program(row)]
    steps += ["run"] * (len(runs) - steps.count("run"))
    if "log-dirty" in group.flags:
        steps += ["dirty-log slot0", "dirty-log slot1"]
        data, table = len(steps) - 1, len(steps)
        expected += [f"step {data}: {_log(row.dirty)}", f"step {table}: {_log(row.af)}"]
    return _file("arm64/page_fault_test", group.rule, steps, expected)


def _memory(group: Group, kind: MemKind) -> Iterator[str]:
    """Both pages: there, as the guest itself has written them through other slots, or not."""
    size = f"size={SIZES[kind]:#x}"
    flags = f" flags={group.flags}" if group.flags else ""
    yield f"create mem0 {size} {kind.value}"
    yield f"create mem1 {size} {kind.value}"
    there = _THERE[group.hole]
    for mem in there:
        yield f"memslot {mem + 2} gpa={0x6000_0000 + (mem << 28):#x} {size} mem{mem}+0x0"
    for mem in there:
        yield f"guest write64 slot{mem + 2}+0x0"
    if there:
        yield "run"
    yield f"memslot 0 gpa=0x40000000 {size} mem0+0x0{flags}"
    yield f"memslot 1 gpa=0x50000000 {size} mem1+0x0{flags}"
    if group.userfault:
        yield f"userfault mem0+0x0 {size} missing"
        yield f"userfault mem1+0x0 {size} missing"


_THERE: Final = {Hole.NONE: (0, 1), Hole.DATA: (1,), Hole.BOTH: ()}


def _program(row: Row) -> Iterator[str]:
    """The walk of the tables, then the access, if it is not the walk itself."""
    walk = Access.AT_WALK if row.access == "at" else Access.WALK
    yield f"guest {(Access.WALK_AF if row.af else walk).value} {_TABLE}"
    for access in ACCESSES[row.access]:
        yield f"guest {access.value} {_DATA}"


def _runs(group: Group, row: Row) -> Iterator[str]:
    """The outcome of each KVM_RUN."""
    if _THERE[group.hole]:
        yield DONE
    match row.end:
        case End.DONE:
            yield DONE + _faults(row.faults)
        case End.ENOSYS:
            yield "-1 ENOSYS UNKNOWN" + _faults(row.faults)
        case End.MMIO:  # between the fault in the tables and that of reading the data back
            tables = min(row.faults, 1)
            yield "0 MMIO gpa=0x40000000 len=8 write=0x0" + _faults(tables)
            yield DONE + _faults(row.faults - tables)
        case _:
            assert_never(row.end)


def _faults(count: int) -> str:
    return f" userfaults={count}" if count else ""


def _log(dirty: bool) -> str:
    return "dirty 0" if dirty else "clean"


# The files


def main() -> int:
    """Write every file, and remove those that no table makes; 1 where the model disagrees."""
    model, folder, wrong = Model(), corpus_dir(), 0
    files = selftest_files()
    for name, made in files.items():
        mismatches = check(name, made, [KERNEL], lambda *each: replay(model, *each))
        for difference in (each for mismatch in mismatches for each in mismatch.differences):
            print(f"{name}: table {difference.expected!r}, model {difference.actual!r}")
        if mismatches:
            wrong += 1
            continue
        _, blessed = bless(name, made, lambda *each: replay(model, *each))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        durable.write(folder / name, casefile.dump(blessed).encode())
    kept = {folder / name for name in files}
    for path in case_files(folder / FOLDER):
        if path not in kept:
            path.unlink()
    print(f"{len(files)} files, {wrong} in which table and model differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
