"""A variant's hunk, walked beside the function that it changes: does it do anything else this time?

Most hunks call ``super()`` and do something of their own only now and then. Of such a one's source
a generator is made that has no effect: it works out the hunk's conditions on the state as it is,
yields where the hunk calls ``super()``, and goes on with what that returned. It ends with OTHERWISE
where the hunk would store what is not there already, or do anything whose effect is not known here.
"""

import ast
import builtins
import inspect
import textwrap
from collections.abc import Generator, Iterable, Sequence, Set
from types import CodeType, FunctionType
from typing import Final, Protocol

from emu.kvm.kvm_main import Kernel
from emu.syndrome import exception_class, fault_ipa, is_iabt, transfer_register

Steps = Generator[bool, object, object]


class Walk(Protocol):
    """A function that makes the generator, given what the hunk is given."""

    def __call__(self, kernel: Kernel, /, *given: object, **named: object) -> Steps:
        """On the kernel whose hunk it is."""


OTHERWISE: Final = object()

# Methods of the kernel that look at something and change nothing.
_LOOKUPS: Final = frozenset({"gfn_to_memslot", "vma_lookup"})
_HARMLESS: Final = frozenset(
    {all, any, isinstance, len, max, min, next, range, set, tuple}
    | {exception_class, fault_ipa, is_iabt, transfer_register}
)
_PLAIN: Final = (
    *(ast.Name, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.Call),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.NamedExpr),
    *(ast.GeneratorExp, ast.comprehension, ast.expr_context),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


def same(one: object, other: object) -> bool:
    """Whether nobody can tell the two apart: the same object, or equal numbers."""
    return one is other or (isinstance(one, int) and one == other)


def walk(hunk: FunctionType, overridden: Set[str]) -> Walk | None:
    """How to walk it; None where it does something else before ``super()`` in any case.

    The generator yields whether the arguments of ``super()`` are those that the hunk itself got.
    ``overridden``: what the same variant changes, too.
    """
    if set(hunk.__code__.co_freevars) - {"__class__"}:
        return None
    try:
        source = ast.parse(textwrap.dedent(inspect.getsource(hunk)))
    except OSError:  # there is no source
        return None
    definition = source.body[0]
    if not isinstance(definition, ast.FunctionDef) or not _is_simple(definition):
        return None
    definition.body = _Rewriter(hunk, definition, _LOOKUPS - overridden).body()
    if not any(isinstance(node, ast.Yield) for node in ast.walk(definition)):
        return None
    module = compile(ast.fix_missing_locations(source), hunk.__code__.co_filename, "exec")
    codes = (each for each in module.co_consts if isinstance(each, CodeType))
    # From Python 3.14 on, annotations are code, too.
    code = next(each for each in codes if each.co_name == definition.name)
    walked = FunctionType(code, {**hunk.__globals__, **_HELPERS}, hunk.__name__)
    walked.__defaults__, walked.__kwdefaults__ = hunk.__defaults__, hunk.__kwdefaults__
    return walked


class _Rewriter(ast.NodeTransformer):
    """Rewrites one function; what is not understood becomes OTHERWISE."""

    def __init__(self, hunk: FunctionType, definition: ast.FunctionDef, lookups: Set[str]) -> None:
        self._hunk = hunk
        self._body = definition.body
        self._lookups = lookups
        self._self, *self._given = (each.arg for each in definition.args.args)

    def body(self) -> list[ast.stmt]:
        """The generator's."""
        given = ast.Tuple([_load(each) for each in self._given], ast.Load())
        return [ast.Assign([ast.Name("_given", ast.Store())], given), *self._block(self._body)]

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``super()`` becomes a yield."""
        arguments = self.generic_visit(node)
        if not self._is_super(node):
            return arguments
        if self._are_as_given(node.args):
            return ast.Yield(ast.Constant(value=True))
        return ast.Yield(_call("_all_same", ast.Tuple(node.args, ast.Load()), _load("_given")))

    # STATEMENTS

    def _block(self, body: Sequence[ast.stmt]) -> list[ast.stmt]:
        return [new for statement in body for new in self._statement(statement)]

    def _statement(self, node: ast.stmt) -> list[ast.stmt]:
        match node:
            case ast.If(test, body, orelse) if self._is_plain(test):
                then = [*self._block(body), ast.Pass()]
                return [ast.If(self.visit(test), then, self._block(orelse))]
            case ast.Return(ast.IfExp(test, one, other)):
                return self._statement(ast.If(test, [ast.Return(one)], [ast.Return(other)]))
            case ast.Return(value) if value is None or self._is_plain(value):
                return [self.visit(node)]
            case ast.Expr(value) if self._is_plain(value):
                return [self.visit(node)]
            case ast.Assign(targets, value) if self._are_plain([*targets, value]):
                return self._stores(targets, value)
            case ast.AugAssign(target, operator, value) if self._are_plain([target, value]):
                # Anything but a number may change in place, and be known elsewhere, too.
                number = _unless(_call("_is_number", _loaded(target)))
                there = ast.BinOp(_loaded(target), operator, value)
                return [number, *self._stores([target], there)]
        return [_STOP]

    def _stores(self, targets: Sequence[ast.expr], value: ast.expr) -> list[ast.stmt]:
        """A local variable is the generator's own; anywhere else the value is there already."""
        if all(map(_is_local, targets)):
            return [ast.Assign(list(targets), self.visit(value))]
        if not all(isinstance(target, ast.Attribute | ast.Subscript) for target in targets):
            return [_STOP]
        named = ast.Assign([ast.Name("_value", ast.Store())], self.visit(value))
        there = (_call("_same", _loaded(target), _load("_value")) for target in targets)
        return [named, *map(_unless, there)]

    # EXPRESSIONS

    def _is_plain(self, node: ast.AST) -> bool:
        """Whether to work it out has no effect but that of ``super()``."""
        if self._is_super(node):
            return isinstance(node, ast.Call) and not node.keywords and self._are_plain(node.args)
        match node:
            case ast.Call(function) if not self._is_harmless(function):
                return False
            case ast.GeneratorExp() if any(map(self._is_super, ast.walk(node))):
                return False
        return isinstance(node, _PLAIN) and self._are_plain(ast.iter_child_nodes(node))

    def _are_plain(self, nodes: Iterable[ast.AST]) -> bool:
        return all(map(self._is_plain, nodes))

    def _are_as_given(self, arguments: Sequence[ast.expr]) -> bool:
        """Whether they are the hunk's own, none of which it ever assigns."""
        nodes = (node for statement in self._body for node in ast.walk(statement))
        names = (node for node in nodes if isinstance(node, ast.Name))
        assigned = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        given = [ast.unparse(each) for each in arguments]
        return given == self._given and assigned.isdisjoint(given)

    def _is_super(self, node: ast.AST) -> bool:
        match node:
            case ast.Call(ast.Attribute(ast.Call(ast.Name("super"), []), name)):
                return name == self._hunk.__name__
        return False

    def _is_harmless(self, function: ast.expr) -> bool:
        match function:
            case ast.Name(name):
                called = self._hunk.__globals__.get(name, getattr(builtins, name, None))
                return name not in self._hunk.__code__.co_varnames and called in _HARMLESS
            case ast.Attribute(ast.Name(name), lookup):
                return name == self._self and lookup in self._lookups
        return False


def _is_simple(definition: ast.FunctionDef) -> bool:
    """Whether it has no decorators and only plain parameters."""
    given = definition.args
    others = given.posonlyargs or given.kwonlyargs or given.vararg or given.kwarg
    return not definition.decorator_list and not others


def _all_same(ones: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(ones) == len(others) and all(map(same, ones, others))


def _is_number(value: object) -> bool:
    return isinstance(value, int)


_HELPERS: Final = {
    "_same": same,
    "_all_same": _all_same,
    "_is_number": _is_number,
    "_otherwise": OTHERWISE,
}


def _is_local(target: ast.expr) -> bool:
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    return all(isinstance(name, ast.Name) for name in names)


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _loaded(target: ast.expr) -> ast.expr:
    """What a store's target holds before it."""
    return ast.parse(ast.unparse(target), mode="eval").body


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(_load(name), list(arguments), [])


_STOP: Final = ast.Return(_load("_otherwise"))


def _unless(test: ast.expr) -> ast.stmt:
    """Stop unless it holds."""
    return ast.If(ast.UnaryOp(ast.Not(), test), [_STOP], [])
