"""What is compiled means the same as the source: the rewritten packages, run by Python."""

import ast
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec
import pytest

from fuzz.native import build
from fuzz.native.enum_names import enums
from fuzz.native.modules import compiled
from fuzz.native.records import RewriteError
from fuzz.native.rewrite import rewritten
from fuzz.processes import SOURCE
from tests.followed import followed

RECORDS: Final = '''
"""Records of every kind that there is."""

from dataclasses import dataclass, field
from enum import Enum

import msgspec


class Colour(Enum):
    RED = 1
    BLUE = 2


class _Mood(Enum):
    GOOD = 1


class Person:
    def mood(self) -> int:
        return _Mood.GOOD.value


@dataclass(frozen=True, slots=True)
class Point:
    """A place."""

    SEVEN = 7

    x: int
    y: int = SEVEN
    colour: Colour = Colour.RED

    @property
    def total(self) -> int:
        return self.x + self.y


@dataclass(slots=True, eq=False)
class Box:
    name: str
    inside: list[Point] = field(default_factory=list)


class Row(msgspec.Struct, frozen=True, gc=False):
    cells: tuple[int, ...]
    parent: "Row | None" = None


class Bag(msgspec.Struct):
    held: dict[str, int] = msgspec.field(default_factory=lambda: {"one": 1})


def colour_of(point: Point) -> str:
    match point:
        case Point(colour=Colour.BLUE):
            return "blue"
        case Point(x, y) if point.colour is Colour.RED and x > y:
            return "red, and high"
    return "red" if point.colour is Colour.RED else "none"


def moved(row: Row) -> Row:
    return msgspec.structs.replace(row, cells=(*row.cells, 9))
'''


@pytest.fixture(params=["as written", "rewritten"])
def records(request: pytest.FixtureRequest) -> ModuleType:
    tree = ast.parse(RECORDS)
    text = RECORDS
    if request.param == "rewritten":
        text = rewritten(tree, enums([tree]), None, subclassed=False)
        assert "@dataclass" not in text
        assert "Struct" not in text
    module = ModuleType("records")
    exec(compile(text, "records", "exec"), vars(module))  # noqa: S102 - our own text, above
    return module


def test_a_record_is_made_compared_and_shown_as_before(records: ModuleType) -> None:
    point = records.Point(3)
    assert (point.x, point.y, point.colour, point.total) == (3, 7, records.Colour.RED, 10)
    assert point == records.Point(x=3, y=7)
    assert point != records.Point(3, 8)
    assert point != (3, 7, records.Colour.RED)
    assert len({point, records.Point(3), records.Point(4)}) == 2
    assert repr(point) == "Point(x=3, y=7, colour=<Colour.RED: 1>)"


def test_every_record_has_collections_of_its_own(records: ModuleType) -> None:
    one, other = records.Box("a"), records.Box("a")
    one.inside.append(records.Point(1))
    assert other.inside == []
    assert one != other
    assert records.Bag().held == {"one": 1}
    assert records.Bag() == records.Bag({"one": 1})
    assert records.Bag({}).held == {}


def test_records_are_replaced_listed_and_stored(records: ModuleType) -> None:
    assert replace(records.Point(3), y=1) == records.Point(3, 1)
    assert [each.name for each in fields(records.Point)] == ["x", "y", "colour"]
    assert records.moved(records.Row((1,))) == records.Row((1, 9))
    stored = msgspec.json.encode(records.Row((1,), records.Row(())))
    assert stored == b'{"cells":[1],"parent":{"cells":[],"parent":null}}'


def test_patterns_and_members_of_enums_mean_what_they_did(records: ModuleType) -> None:
    point, colour = records.Point, records.Colour
    told = [records.colour_of(each) for each in (point(1, 0, colour.BLUE), point(1, 0), point(0))]
    assert told == ["blue", "red, and high", "red"]
    assert records.Person().mood() == 1


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("@dataclass(order=True)\nclass A:\n    x: int", "line 5: A: order is not known here"),
        ("@dataclass\nclass A:\n    x: int = field(repr=False)", "line 6: x: .* is not known here"),
        ("@dataclass\nclass A:\n    x: int = dataclasses.field(default=1)", "line 6: x: "),
        ("@dataclass\nclass A:\n    x: ClassVar[int] = 1", "line 6: x: "),
        (
            "@dataclass\nclass A:\n    x: list[int] | None = field(default_factory=list)",
            "line 6: x",
        ),
        ("@dataclass\nclass A:\n    list: set[int] = field(default_factory=list)", "a factory"),
        ("@dataclass\nclass A(B):\n    x: int", "line 5: A: B is not known here"),
        ("@final\n@dataclass\nclass A:\n    x: int", "line 6: A: final is not known here"),
        (
            "@dataclass\nclass A:\n    def __post_init__(self): pass",
            "A: __post_init__ is not known",
        ),
        ("def f():\n    @dataclass\n    class A:\n        x: int", "A is no class of the module"),
        ("from msgspec.structs import replace", "line 4: msgspec.structs by other names"),
        ("from __future__ import annotations", "line 4: nothing may stand before __future__"),
        ("class E(Enum):\n    A = 1\ndef f(E):\n    return E.A", "line 6: f: E is no enum there"),
        ("class E(Enum):\n    A = 1\ndef f():\n    E = 1\n    return E", "E is no enum there"),
    ],
)
def test_what_would_mean_something_else_is_refused(lines: str, reason: str) -> None:
    head = '"""A module."""\nfrom dataclasses import dataclass, field\n\n'
    tree = ast.parse(head + lines)
    with pytest.raises(RewriteError, match=reason):
        rewritten(tree, enums([tree]), None, subclassed=False)


# THE WHOLE


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rewritten")
    build.copy(root)
    build.rewrite(root)
    return root


def test_every_module_is_rewritten_and_has_its_place_in_the_counters(tree: Path) -> None:
    for name in compiled():
        assert (tree / name).read_text() != (SOURCE / name).read_text()
    assert "PLACES: Final = (('emu.guest'" in (tree / "fuzz/guidance/counted.py").read_text()


def test_the_rewritten_source_does_what_the_source_does(tree: Path) -> None:
    kernels = ("v7.3", "v6.18", "clean", "gated-prepare-reset", "bad-raw-errno")
    written = followed(SOURCE, 300, kernels)
    ours = followed(tree, 300, kernels)
    assert ours[0].startswith(str(tree))
    assert ours[1:] == written[1:]
    assert len(ours) > 1000 * len(kernels)
