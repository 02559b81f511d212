"""The tool that makes and lists mutants; what it finds, ``make mutants`` says."""

import sys
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.mutants.__main__ import main
from tests.mutants.kept import Kept, Result, newest, sources_of
from tests.mutants.killers import fails
from tests.mutants.mutant import Place, mutants
from tests.mutants.part import Part, part_of
from tests.mutants.survivors import Entry, Listed, compare, listed
from tests.mutants.trial import Package
from tests.mutants.verdict import Verdict
from tests.mutants.witnesses import ROOT

HEAD: Final = "from emu.abi import Errno\n"
MADE: Final = [
    ("def f(a):\n    if a < 1:\n        g()\n", ["a < 1 -> True", "a < 1 -> False",
     "a < 1 -> a <= 1", "a < 1 -> a >= 1", "1 -> 2", "g() -> pass"]),
    ("def f(a):\n    return a and not b\n", ["return a and (not b) -> return None",
     "a and (not b) -> a or not b", "a and (not b) -> not b", "a and (not b) -> a", "not b -> b"]),
    ("def f(a):\n    return any(x for x in a if x is None)\n",
     ["return any((x for x in a if x is None)) -> return None", "any -> all", "a -> ()",
      "x is None -> True", "x is None -> False", "x is None -> x is not None"]),
    ("def f(a):\n  match a:\n    case 1:\n      b |= c\n    case _:\n      pass\n",
     ["case 1 -> (left out)", "b |= c -> pass", "b |= c -> b = c", "b |= c -> b &= c"]),
    ("T = {A: 1, B: 2}\n", ["A -> (left out)", "1 -> 2", "1 -> 2", "B -> (left out)",
     "2 -> 1", "2 -> 3"]),
    (HEAD + "T = (Errno.EPERM,)\n", ["Errno.EPERM -> (left out)", "Errno.EPERM -> Errno.ENOENT"]),
    ("T = (R('x', 'y', a), R('z', 'y', b))\n", ["R('x', 'y', a) -> (left out)",
     "R('z', 'y', b) -> (left out)", "a -> b", "b -> a"]),
    # Texts, annotations and names of the language stay as they are.
    ('def f(a: 1 | 2) -> "x":\n    """Text."""\n    b: int\n', []),
    ("class C:\n    __slots__ = ('a',)\n    X = 'x'\n", []),
]  # fmt: skip


@pytest.mark.parametrize(("source", "made"), MADE)
def test_a_source_has_these_mutants(source: str, made: list[str]) -> None:
    places = [mutant.place for mutant in mutants("a.py", source)]
    assert Counter(f"{each.old} -> {each.new or '(left out)'}" for each in places) == Counter(made)


def test_a_mutant_differs_in_one_place_and_can_be_compiled() -> None:
    source = (ROOT / "fuzz" / "oracle" / "race.py").read_text()
    made = mutants("race.py", source)
    assert len({mutant.place for mutant in made}) == len(made)
    package = Package.read()
    for mutant in made:
        assert mutant.source != source
        changed = package.changed(mutant)
        assert changed.get_code("fuzz.oracle.race") != package.get_code("fuzz.oracle.race")
        assert changed.get_code("fuzz.oracle.view") is package.get_code("fuzz.oracle.view")


def test_what_is_not_as_listed_is_told() -> None:
    places = [Place(file="a.py", function="f", old=old, new="") for old in "abcd"]
    entry = {"file": "a.py", "function": "f", "new": "", "reason": "so"}
    entries = [msgspec.convert({**entry, "old": old}, Entry) for old in "bcx"]
    odds = compare(places[:2], places[:3], places, Listed(tuple(entries)))
    assert [place.old for place in odds.unexplained] == ["a"]
    assert [place.old for place in odds.killed] == ["c"]
    assert [place.old for place in odds.unknown] == ["x"]


def test_every_explanation_is_of_a_module_that_judges() -> None:
    for entry in listed().survivor:
        assert part_of(entry.file) in Part
        assert entry.reason


def test_a_table_is_gone_through_without_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not fails("tests.test_contract_page")
    monkeypatch.setattr("tests.test_contract_page.ROWS", {})
    assert fails("tests.test_contract_page")


def test_results_are_kept_but_for_a_line_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.mutants.kept.KEPT", tmp_path / "mutants")
    places = [Place(file="a.py", function="f", old=old, new="") for old in "ab"]
    results = [Result(place, Verdict.SURVIVED) for place in places]
    kept = Kept(Part.EXPECTATION)
    for result in results:
        kept.add(result)
    assert newest(Part.EXPECTATION) == results
    assert newest(Part.CONTRACT) == []
    (path,) = (tmp_path / "mutants").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    assert kept.known() == {places[0]: results[0]}


def test_results_rest_on_what_is_imported_and_on_nothing_else() -> None:
    names = {str(path.relative_to(ROOT)) for path in sources_of(["tests.test_pins"])}
    assert {"tests/test_pins.py", "fuzz/oracle/pins.py", "emu/abi.py"} <= names
    assert not any(name.startswith(("fuzz/expectation", "emu/live", "triage")) for name in names)


def test_a_module_that_is_not_there_is_bad_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mutants", "jugde"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "no module 'jugde': one of contract, clauses," in capsys.readouterr().err
