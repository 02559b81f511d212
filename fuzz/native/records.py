"""Turns dataclasses and msgspec structs into plain classes, which mypyc lays out as C structs.

mypyc cannot see into what a decorator or a base class makes at run time: to it such a record is any
Python object. A plain class with the same constructor, comparison, hash and repr it knows whole.
What is more than that is refused.
"""

import ast
from typing import Final, NamedTuple

_KNOWN_OPTIONS: Final = frozenset({"eq", "frozen", "gc", "slots"})
_DECORATOR: Final = "dataclass"
_BASE: Final = "msgspec.Struct"
_FIELDS: Final = frozenset({"field", "msgspec.field"})
_NO_FIELDS: Final = tuple(
    f"{module}{name}"
    for module in ("", "dataclasses.", "typing.")
    for name in ("ClassVar", "InitVar", "KW_ONLY")
)


class RewriteError(Exception):
    """What this cannot rewrite; the text is one line."""


class _Field(NamedTuple):
    name: str
    annotation: str
    default: str | None
    factory: str | None

    @property
    def parameter(self) -> str:
        if self.factory is not None:
            return f'{self.name}: "{self.annotation} | None" = None'
        default = "" if self.default is None else f" = {self.default}"
        return f'{self.name}: "{self.annotation}"{default}'

    @property
    def assignment(self) -> str:
        value = self.name
        if self.factory is not None:
            value = f"({self.factory})() if {self.name} is None else {self.name}"
        return f'self.{self.name}: "{self.annotation}" = {value}'


def is_record(node: ast.AST) -> bool:
    """Whether this defines a dataclass or a msgspec struct."""
    if not isinstance(node, ast.ClassDef):
        return False
    return _BASE in map(_name, node.bases) or _DECORATOR in map(_name, node.decorator_list)


def spell_out(tree: ast.Module) -> None:
    """Rewrites the records of a module, and what makes one of another. Raises RewriteError."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and is_record(node):
            if node not in tree.body:
                raise RewriteError(f"line {node.lineno}: {node.name} is no class of the module")
            _spell_out(node)
        elif isinstance(node, ast.Call) and _name(node) == "msgspec.structs.replace":
            node.func = ast.copy_location(expression("dataclasses.replace"), node.func)
        elif isinstance(node, ast.ImportFrom) and node.module == "msgspec.structs":
            raise RewriteError(f"line {node.lineno}: {node.module} by other names")


def _spell_out(node: ast.ClassDef) -> None:
    options = _options(node)
    _check(node)
    fields = [_field(each) for each in node.body if isinstance(each, ast.AnnAssign)]
    rest = [each for each in node.body if not isinstance(each, ast.AnnAssign)]
    names = [field.name for field in fields]
    for field in fields:
        if field.factory in names:  # the constructor's parameter would take its place
            raise RewriteError(f"line {node.lineno}: {field.factory} is a field and a factory")
    methods = [_constructor(fields), _repr(node.name, names)]
    if options.get("eq", True):
        methods.append(_equality(node.name, names))
        if options.get("frozen", False):
            methods.append(_hash(names))
    node.bases, node.keywords, node.decorator_list = [], [], []
    head = ast.parse(_attributes(node.name, names)).body
    made = [ast.parse(text).body[0] for text in methods]
    own = [each for each in rest if isinstance(each, ast.FunctionDef)]
    # A default may name a constant of the class, and mypy takes the first assignment for the field.
    before = [each for each in rest if each not in own]
    has_docstring = ast.get_docstring(node, clean=False) is not None
    before[has_docstring:has_docstring] = _placed(head, node)
    node.body = [*before, *_placed(made, node), *own]


def _options(node: ast.ClassDef) -> dict[str, bool]:
    calls = (each for each in node.decorator_list if isinstance(each, ast.Call))
    given = [*node.keywords, *(keyword for call in calls for keyword in call.keywords)]
    options = {str(each.arg): bool(ast.literal_eval(each.value)) for each in given}
    unknown = sorted(set(options) - _KNOWN_OPTIONS)
    if unknown:
        raise RewriteError(f"line {node.lineno}: {node.name}: {unknown[0]} is not known here")
    return options


def _check(node: ast.ClassDef) -> None:
    """Refuses what would be lost."""
    others = [each for each in map(_name, node.decorator_list) if each != _DECORATOR]
    others += [each for each in map(_name, node.bases) if each != _BASE]
    methods = (each.name for each in node.body if isinstance(each, ast.FunctionDef))
    others += [each for each in methods if each == "__post_init__"]
    if others:
        raise RewriteError(f"line {node.lineno}: {node.name}: {others[0]} is not known here")


def _field(node: ast.AnnAssign) -> _Field:
    annotation, name = ast.unparse(node.annotation).strip("'\""), ast.unparse(node.target)
    refusal = RewriteError(f"line {node.lineno}: {name}: {ast.unparse(node)} is not known here")
    if annotation.startswith(_NO_FIELDS):
        raise refusal
    if not isinstance(node.value, ast.Call):
        default = None if node.value is None else ast.unparse(node.value)
        return _Field(name, annotation, default, None)
    match node.value:
        case ast.Call(function, [], [ast.keyword("default_factory", factory)]) if (
            ast.unparse(function) in _FIELDS and "None" not in annotation
        ):
            return _Field(name, annotation, None, ast.unparse(factory))
    raise refusal


def _attributes(record: str, names: list[str]) -> str:
    """What ``dataclasses.replace`` and ``fields``, patterns, and msgspec's encoders look for."""
    return (
        f"__match_args__: 'typing.Final' = {tuple(names)!r}\n"
        f"__dataclass_fields__: 'typing.ClassVar[dict[str, dataclasses.Field[typing.Any]]]'"
        f" = {{each.name: each for each in dataclasses.fields("
        f"dataclasses.make_dataclass({record!r}, {names!r}))}}\n"
    )


def _constructor(fields: list[_Field]) -> str:
    parameters = ", ".join(["self", *(field.parameter for field in fields)])
    body = [f"    {field.assignment}" for field in fields] or ["    pass"]
    return "\n".join([f"def __init__({parameters}) -> None:", *body])


def _equality(record: str, names: list[str]) -> str:
    same = "".join(f" and self.{name} == other.{name}" for name in names)
    return (
        "def __eq__(self, other: object) -> bool:\n"
        f"    return self is other or (type(other) is {record}"
        f" and isinstance(other, {record}){same})"
    )


def _hash(names: list[str]) -> str:
    values = "".join(f"self.{name}, " for name in names)
    return f"def __hash__(self) -> int:\n    return hash(({values}))"


def _repr(record: str, names: list[str]) -> str:
    shown = ", ".join(f"{name}={{self.{name}!r}}" for name in names)
    return f'def __repr__(self) -> str:\n    return f"{record}({shown})"'


def _name(node: ast.expr) -> str:
    """The dotted name that an expression has, or calls."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def expression(text: str) -> ast.expr:
    """The text of an expression, as one."""
    return ast.parse(text, mode="eval").body


def _placed(body: list[ast.stmt], place: ast.stmt) -> list[ast.stmt]:
    """Statements that were made, at the line of the class they belong to."""
    for statement in body:
        for part in ast.walk(statement):
            if isinstance(part, ast.stmt | ast.expr):
                ast.copy_location(part, place)
    return body
