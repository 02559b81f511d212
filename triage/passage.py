"""The kernel functions that a KVM_RUN passed, and the short way through them."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from emu.abi import errno_name
from emu.kvm.kvm_main import Kernel
from emu.trace import Call

ABORTS: Final = ("kvm_handle_guest_abort", "kvm_handle_vncr_abort")
_MAX_ERRNO: Final = 4095


class Passed(msgspec.Struct, frozen=True):
    """A function: how deep it was called, and what it returned, "" for nothing."""

    function: str
    depth: int
    result: str


def of_the_kernel(calls: Sequence[Call]) -> list[Call]:
    """The calls of kernel functions, as if a variant's function and what it overrides were one.

    What is left out: the model's own helpers, and a function that its namesake calls.
    """
    return list(_of_the_kernel(calls, 0, "")) if calls else []


def _of_the_kernel(calls: Sequence[Call], depth: int, caller: str) -> Iterator[Call]:
    name = calls[0].name
    shown = name != caller and (name.startswith("kvm_") or hasattr(Kernel, name))
    if shown:
        yield Call(name, depth, calls[0].result)
    for child in _children(calls):
        yield from _of_the_kernel(child, depth + shown, name)


def passed(calls: Sequence[Call]) -> tuple[Passed, ...]:
    """The calls as people and programs read them."""
    return tuple(Passed(call.name, call.depth, result_word(call.result)) for call in calls)


def result_word(result: int | None) -> str:
    """A return value: errnos by name, page frames and the like in hex."""
    if result is None:
        return ""
    if -_MAX_ERRNO <= result < 0:
        return f"-{errno_name(-result)}"
    return str(result) if result < 10 else f"{result:#x}"


def aborts(calls: Sequence[Call]) -> list[Sequence[Call]]:
    """The calls of each guest abort."""
    starts = [index for index, call in enumerate(calls) if call.name in ABORTS]
    return [subtree(calls, start) for start in starts]


def subtree(calls: Sequence[Call], start: int) -> Sequence[Call]:
    """A call and everything that it called."""
    depth = calls[start].depth
    for index in range(start + 1, len(calls)):
        if calls[index].depth <= depth:
            return calls[start:index]
    return calls[start:]


def short_way(calls: Sequence[Call]) -> list[Call]:
    """Of a subtree: the last call on each level, which decides, and every call that failed."""
    root = calls[0]
    children = _children(calls)
    way = [root]
    for index, child in enumerate(children):
        if index == len(children) - 1 or _failed(child[0]):
            way += short_way(child)
    return way


def _children(calls: Sequence[Call]) -> list[Sequence[Call]]:
    depth = calls[0].depth + 1
    return [subtree(calls, index) for index, call in enumerate(calls) if call.depth == depth]


def _failed(call: Call) -> bool:
    return call.result is not None and call.result < 0


def in_one_line(way: Sequence[Call]) -> str:
    """``f > g = -ENOMEM > h; returns -ENOMEM``: each errno stands where it arose."""
    if not way:
        return ""
    words = [
        f"{call.name} = {result_word(call.result)}" if _arose(way, index) else call.name
        for index, call in enumerate(way)
    ]
    outcome = result_word(way[0].result)
    return " > ".join(words) + (f"; returns {outcome}" if outcome else "")


def _arose(way: Sequence[Call], index: int) -> bool:
    """Whether the call failed and none that it made failed in the same way."""
    call, *inner = subtree(way, index)
    return _failed(call) and all(each.result != call.result for each in inner)
