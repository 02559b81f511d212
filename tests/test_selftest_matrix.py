"""The tables of KVM's selftests: what they hold, the files made from them, and who passes them."""

from collections import Counter

import pytest

from emu.casefile import Basis
from emu.kernels import CATALOGUE
from emu.kernels.entry import Kind
from emu.model import Model
from triage.case_input import read_case_file
from triage.corpus_files import case_files, corpus_dir
from triage.kvm_selftests import ASSERTIONS
from triage.page_fault_test import ACCESSES, GROUPS
from triage.replay import replay
from triage.selftest_files import FOLDER, KERNEL, SIZES, selftest_files

FILES = selftest_files()

# The number of guests in each of the selftest's groups.
SIZE_OF_GROUP = {
    "access": 7,
    "hole": 7,
    "uffd": 9,
    "dirty-log": 9,
    "uffd-dirty-log": 9,
    "readonly": 5,
    "readonly-no-syndrome": 3,
    "readonly-dirty-log": 5,
    "readonly-dirty-log-no-syndrome": 3,
    "readonly-uffd": 5,
    "readonly-uffd-no-syndrome": 3,
}
# A known-bad kernel fails where its slip shows, and so may a release before the one whose selftests
# these are; a twin is legal, which is less than what the selftests ask for.
PASSING = [
    name
    for name, entry in CATALOGUE.items()
    if name == KERNEL or entry.kind in (Kind.PROPOSAL, Kind.CLEAN)
]


@pytest.fixture(scope="module")
def model() -> Model:
    return Model()


def test_page_fault_test_has_its_65_guests() -> None:
    assert {group.name: len(group.rows) for group in GROUPS} == SIZE_OF_GROUP
    assert sum(SIZE_OF_GROUP.values()) == 65


def test_every_access_of_page_fault_test_is_made_with_and_without_an_access_flag() -> None:
    made = {(row.access, row.af) for group in GROUPS for row in group.rows}
    assert {access for access, _ in made} == set(ACCESSES)
    assert {(access, af) for access in ACCESSES for af in (False, True)} == made


def test_no_two_rows_make_the_same_file() -> None:
    rows = [(group.name, row.access, row.af) for group in GROUPS for row in group.rows]
    assertions = [(each.test, each.name, kind) for each in ASSERTIONS for kind in each.kinds or [0]]
    assert Counter(rows).most_common(1)[0][1] == 1
    assert len(FILES) == len(rows) * len(SIZES) + len(assertions)


def test_no_two_files_hold_the_same_case() -> None:
    bodies = Counter(file.case for file in FILES.values())
    assert [case for case, count in bodies.items() if count > 1] == []


def test_the_corpus_has_these_files_and_no_other() -> None:
    found = {str(path.relative_to(corpus_dir())) for path in case_files(corpus_dir() / FOLDER)}
    assert found == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_the_tables_make(name: str) -> None:
    file, made = read_case_file(str(corpus_dir() / name)), FILES[name]
    assert (file.header, file.body) == (made.header, made.body)
    group = file.expected_of(KERNEL)
    assert group is not None
    assert (group.basis, group.lines) == (Basis.INFERRED, made.expectations[0].lines)


@pytest.mark.parametrize("kernel", PASSING)
def test_a_kernel_without_a_known_slip_passes_the_selftests(kernel: str, model: Model) -> None:
    failed = [
        name
        for name, file in FILES.items()
        if replay(model, file.case, kernel) != file.expectations[0].lines
    ]
    assert failed == []


def test_the_selftests_tell_kernels_that_mistake_a_write_for_a_read_or_log_it_once(
    model: Model,
) -> None:
    for kernel in ("bad-walk-never-writes", "bad-walk-always-writes", "bad-dirty-once"):
        lines = {name: replay(model, file.case, kernel) for name, file in FILES.items()}
        assert any(lines[name] != file.expectations[0].lines for name, file in FILES.items())
