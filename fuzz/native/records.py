"""Turns dataclasses and msgspec structs into plain classes, which mypyc lays out as C structs.

mypyc cannot see into what a decorator or a base class makes at run time: to it such a record is any
Python object. A plain class with the same constructor, comparison, hash and repr it knows whole.
"""

import ast
from typing import Final, NamedTuple

_KNOWN_OPTIONS: Final = frozenset({"eq", "frozen", "gc", "slots"})


class RewriteError(Exception):
    """A record that is more than this can spell out; the text is one line."""


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
    """Whether the statement defines a dataclass or a msgspec struct."""
    if not isinstance(node, ast.ClassDef):
        return False
    made_by = (_name(decorator) for decorator in node.decorator_list)
    return "dataclass" in made_by or "msgspec.Struct" in map(_name, node.bases)


def spell_out(tree: ast.Module) -> None:
    """Rewrites the records of a module, and what makes one of another. Raises RewriteError."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and is_record(node):
            _spell_out(node)
        elif isinstance(node, ast.Call) and _name(node) == "msgspec.structs.replace":
            node.func = ast.copy_location(_expression("dataclasses.replace"), node.func)


def _spell_out(node: ast.ClassDef) -> None:
    options = _options(node)
    fields = [_field(each) for each in node.body if isinstance(each, ast.AnnAssign)]
    rest = [each for each in node.body if not isinstance(each, ast.AnnAssign)]
    names = [field.name for field in fields]
    methods = [_constructor(fields), _repr(node.name, names)]
    if options.get("eq", True):
        methods.append(_equality(node.name, names))
        if options.get("frozen", False):
            methods.append(_hash(names))
    node.bases, node.keywords, node.decorator_list = [], [], []
    has_docstring = ast.get_docstring(node, clean=False) is not None
    head = [*rest[:has_docstring], *ast.parse(_attributes(node.name, names)).body]
    made = [ast.parse(text).body[0] for text in methods]
    node.body = _placed([*head, *made], node) + rest[has_docstring:]


def _options(node: ast.ClassDef) -> dict[str, bool]:
    calls = (each for each in node.decorator_list if isinstance(each, ast.Call))
    given = [*node.keywords, *(keyword for call in calls for keyword in call.keywords)]
    options = {str(each.arg): bool(ast.literal_eval(each.value)) for each in given}
    unknown = sorted(set(options) - _KNOWN_OPTIONS)
    if unknown:
        raise RewriteError(f"line {node.lineno}: {node.name}: {unknown[0]} is not known here")
    return options


def _field(node: ast.AnnAssign) -> _Field:
    annotation = ast.unparse(node.annotation).strip("'\"")
    name = ast.unparse(node.target)
    if not isinstance(node.value, ast.Call) or _name(node.value) not in ("field", "msgspec.field"):
        default = None if node.value is None else ast.unparse(node.value)
        return _Field(name, annotation, default, None)
    (keyword,) = node.value.keywords
    if keyword.arg != "default_factory":
        raise RewriteError(f"line {node.lineno}: {name}: {keyword.arg} is not known here")
    return _Field(name, annotation, None, ast.unparse(keyword.value))


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


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _placed(body: list[ast.stmt], place: ast.stmt) -> list[ast.stmt]:
    """Statements that were made, at the line of the class they belong to."""
    for statement in body:
        for part in ast.walk(statement):
            if isinstance(part, ast.stmt | ast.expr):
                ast.copy_location(part, place)
    return body
