"""What of a built kernel tells which of its lines were reached, and where those are.

KCOV is a call at the start of each block of code, so the calls in the boot image are all that can
be reached. Where each is in the source is asked of binutils once, when the kernel is built.
"""

import re
import subprocess
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache
from importlib import resources
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

from emu.live.build_source import Tree
from emu.live.build_tools import CROSS
from emu.live.build_variants import KCOV, Variant
from emu.live.source_lines import Function, Place
from emu.live.trouble import MissingPartError

IMAGE: Final = "arch/arm64/boot/Image"  # of a folder of objects, as the two others
_PROGRAM: Final = "vmlinux"
_SYMBOLS: Final = "System.map"

_SHARED: Final = "../../../virt/kvm"  # as arch/arm64/kvm/Makefile has it
# Stems of objects, as make has them in the folder of their makefile. A file of the same name in
# another folder is instrumented with it, but never told.
_INSTRUMENTED: Final = (
    "arm",
    "mmu",
    "mmio",
    "handle_exit",
    "inject_fault",
    "nested",
    "emulate-nested",
    "at",
    "pgtable",  # of hyp/, as KVM at EL1 uses it
    f"{_SHARED}/kvm_main",
    f"{_SHARED}/guest_memfd",
    f"{_SHARED}/coalesced_mmio",
    f"{_SHARED}/eventfd",
)
_SOURCE: Final = re.compile(r"(?:.*/)?((?:arch/arm64|virt)/kvm/(?:hyp/)?[\w-]+\.c)")

# Where a function's name is, in the first column or behind its type; no declaration, no macro.
_ATTRIBUTE: Final = r"__attribute__\(\(\w+\)\) "
_HEAD: Final = re.compile(
    rf"(?:[A-Za-z_][^;={{(]*?(?:{_ATTRIBUTE})?)?\b(?!__attribute__)([a-z_]\w*)\([^;{{]*(?:\{{.*)?"
)

_MADE_BY: Final = ("build_coverage.py", "source_lines.py")

_START, _STOP, _CALLED = "_text", "_etext", "__sanitizer_cov_trace_pc"
_SYMBOL: Final = re.compile(rf"([0-9a-f]+) \w ({_START}|{_STOP}|{_CALLED})")
_BL: Final = 0x25  # in the upper 6 bits; the others are a signed count of words
_WORD: Final = 4
_HALF: Final = (1 << 32) - 1


class Line(NamedTuple):
    """A line of a file, from 1 on."""

    file: str
    number: int


class Frame(NamedTuple):
    """A line that an address is of, and the function with that code."""

    function: str
    line: Line


def settings(variant: Variant) -> tuple[str, ...]:
    """Words for make: which files are instrumented."""
    if variant.config != KCOV:
        return ()
    return tuple(f"KCOV_INSTRUMENT_{stem}.o=y" for stem in _INSTRUMENTED)


def method(variant: Variant) -> tuple[str, ...]:
    """How its lines are found, which is the text of what finds them."""
    if variant.config != KCOV:
        return ()
    return tuple((resources.files("emu.live") / name).read_text() for name in _MADE_BY)


def functions(objects: Path, tree: Tree) -> tuple[Function, ...]:
    """All that is instrumented in a kernel that was built there, by the original's lines."""
    places = symbols((objects / _SYMBOLS).read_text())
    code = (objects / IMAGE).read_bytes()[: places[_STOP] - places[_START]]
    found = list(calls(code, places[_START], places[_CALLED]))
    read = cache(lambda file: Source(tree.original(file), (tree.path / file).read_text()))
    lines = (own(each, read) for each in located(_asked(objects / _PROGRAM, found)))
    return gathered(zip(found, lines, strict=True), read)


class Source:
    """A file before and after our patches."""

    def __init__(self, before: str, after: str) -> None:
        heads = (_HEAD.fullmatch(line) for line in before.splitlines())
        self._heads = [(number, head[1]) for number, head in enumerate(heads, 1) if head]
        self._before = unchanged(before, after)
        self.names: Final = frozenset(name for _, name in self._heads)

    def original(self, number: int) -> int:
        """Where a line of the patched file is in the original."""
        return self._before[number]

    def function(self, number: int) -> str:
        """The function that a line of the original is in."""
        place = bisect_right(self._heads, number, key=itemgetter(0))
        return self._heads[place - 1][1] if place else ""


Read = Callable[[str], Source]  # a file by its path in the tree


def unchanged(before: str, after: str) -> Sequence[int]:
    """For each line of a changed file, from 0 on, where it is in the original. What was put in
    counts as the line that it was put before.
    """
    old, new = before.splitlines(), after.splitlines()
    lines = [0]
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for kind, start, _, first, last in matcher.get_opcodes():
        lines += [start + 1 + (kind == "equal") * place for place in range(last - first)]
    return lines


def symbols(text: str) -> Mapping[str, int]:
    """Where those are that matter here, of a System.map."""
    found = {
        match[2]: int(match[1], 16) for match in map(_SYMBOL.fullmatch, text.split("\n")) if match
    }
    missing = [name for name in (_START, _STOP, _CALLED) if name not in found]
    if missing:
        raise MissingPartError(f"the kernel has no {missing[0]}")
    return found


def calls(code: bytes, base: int, called: int) -> Iterator[int]:
    """The addresses of the calls of a function."""
    words = memoryview(code[: len(code) // _WORD * _WORD]).cast("I")
    for index, word in enumerate(words):
        if word >> 26 == _BL:
            address = base + index * _WORD
            distance = (word & 0x3FFFFFF ^ 0x2000000) - 0x2000000
            if address + distance * _WORD == called:
                yield address


def located(told: Sequence[str]) -> Iterator[tuple[Frame, ...]]:
    """What addr2line said with -a, -f and -i, for each address; the innermost goes first."""
    found: list[Frame] = []
    lines = iter(told[1:])  # behind the first address
    for line in lines:
        if line.startswith("0x"):
            yield tuple(found)
            found = []
            continue
        file, _, number = next(lines, "").partition(" ")[0].rpartition(":")
        name = line.partition(".")[0]  # behind it: what the compiler made of it
        found.append(Frame(name, Line(file, int(number) if number.isdecimal() else 0)))
    yield tuple(found)


def own(frames: tuple[Frame, ...], read: Read) -> Line | None:
    """The innermost that is of a file of KVM's own: what a header's function does is done by the
    line that calls it.

    Binutils 2.40 takes a tracepoint's header for the file that includes it, which has no function
    of that name.
    """
    for name, line in frames:
        source = _SOURCE.fullmatch(line.file)
        if source is not None and line.number and name in read(source[1]).names:
            return Line(source[1], line.number)
    return None


def gathered(found: Iterable[tuple[int, Line | None]], read: Read) -> tuple[Function, ...]:
    """The functions with their places, in the order of the source."""
    places = defaultdict[tuple[str, str], set[Place]](set)
    for address, line in found:
        if line is not None:
            source = read(line.file)
            number = source.original(line.number)
            # Not the one that binutils names: its code may have lines of others.
            name = source.function(number)
            places[line.file, name].add(Place(address + _WORD & _HALF, number))
    made = (
        Function(file, name, tuple(sorted(each, key=lambda place: (place.line, place.pc))))
        for (file, name), each in places.items()
    )
    return tuple(sorted(made, key=lambda each: (each.file, each.places[0].line)))


def _asked(program: Path, addresses: Sequence[int]) -> list[str]:
    done = subprocess.run(
        [f"{CROSS}addr2line", "-a", "-f", "-i", "-e", str(program)],
        input="".join(f"{each:#x}\n" for each in addresses),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise MissingPartError(f"addr2line: {' '.join(done.stderr.split())}")
    return done.stdout.splitlines()
