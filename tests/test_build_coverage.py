"""Where a built kernel's instrumented places are: its calls, and what binutils says of them."""

import struct
from pathlib import Path

import pytest

from emu.live import source_lines
from emu.live.build_coverage import (
    Frame,
    Line,
    Source,
    calls,
    gathered,
    located,
    own,
    settings,
    symbols,
    unchanged,
)
from emu.live.build_variants import variant
from emu.live.source_lines import Function, Place
from emu.live.trouble import MissingPartError

BASE = 0xFFFF_8000_8000_0000
CALLED = BASE + 0x40
MMU = "/a/tree/arch/arm64/kvm/mmu.c"
FILE = "arch/arm64/kvm/mmu.c"
TOLD = f"""\
0xffff800080000000
inlined
/a/tree/include/linux/kvm_host.h:12
gmem_abort.constprop.0
{MMU}:4 (discriminator 3)
0xffff800080000010
??
??:0
0xffff800080000018
user_mem_abort
{MMU}:9
""".splitlines()
BEFORE = """\
static int gmem_abort(int a)
{
	return 1;
}

int user_mem_abort(int a,
	int b)
{
	return 2;
}
"""


def read(file: str) -> Source:
    """Every file is this one."""
    return Source(BEFORE, f"#include <another.h>\n{BEFORE}")


def call(address: int, to: int) -> int:
    """The word of a BL."""
    return 0x25 << 26 | (to - address) // 4 & 0x3FFFFFF


def test_only_the_calls_of_that_function_are_found_whether_before_or_behind_it() -> None:
    words = [0xD503_201F] * 32
    for place in (1, 30):
        words[place] = call(BASE + 4 * place, CALLED)
    words[2] = call(BASE + 8, CALLED + 4)
    words[3] = call(BASE + 12, CALLED) ^ 1 << 31  # a B of the same distance
    code = struct.pack("<32I", *words) + b"odd"
    assert list(calls(code, BASE, CALLED)) == [BASE + 4, BASE + 0x78]


def test_a_kernel_without_kcov_is_told_so() -> None:
    with pytest.raises(MissingPartError, match="the kernel has no __sanitizer_cov_trace_pc"):
        symbols(f"{BASE:x} T _text\n{BASE + 0x80:x} B _etext\n")


def test_symbols_are_found_whatever_else_there_is() -> None:
    text = f"{BASE:x} T _text\n{BASE:x} T _text_end\n{CALLED:x} T __sanitizer_cov_trace_pc\n"
    found = symbols(f"{text}{BASE + 0x80:x} D _etext\n")
    assert found == {
        "_text": BASE,
        "__sanitizer_cov_trace_pc": CALLED,
        "_etext": BASE + 0x80,
    }


def test_each_address_has_its_lines() -> None:
    assert list(located(TOLD)) == [
        (
            Frame("inlined", Line("/a/tree/include/linux/kvm_host.h", 12)),
            Frame("gmem_abort", Line(MMU, 4)),
        ),
        (Frame("??", Line("??", 0)),),
        (Frame("user_mem_abort", Line(MMU, 9)),),
    ]


def test_what_a_header_does_is_done_by_the_line_that_calls_it() -> None:
    assert [own(each, read) for each in located(TOLD)] == [Line(FILE, 4), None, Line(FILE, 9)]


def test_a_function_that_a_file_does_not_have_is_a_headers() -> None:
    assert own((Frame("__traceiter_kvm_entry", Line(MMU, 4)),), read) is None


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("arch/arm64/mm/mmu.c", False),
        ("arch/arm64/kvm/hyp/nvhe/mem_protect.c", False),
        ("virt/lib/eventfd.c", False),
        ("arch/arm64/kvm/hyp/pgtable.c", True),
        ("virt/kvm/kvm_main.c", True),
    ],
)
def test_a_file_of_the_same_name_elsewhere_is_not_kvms(file: str, told: bool) -> None:
    frame = Frame("gmem_abort", Line(f"/a/tree/{file}", 7))
    assert own((frame,), read) == (Line(file, 7) if told else None)


def test_a_place_is_of_the_function_that_its_line_of_the_original_is_in() -> None:
    found = [(BASE, Line(FILE, 4)), (BASE + 8, None), (BASE + 16, Line(FILE, 10))]
    assert gathered(found, read) == (
        Function(FILE, "gmem_abort", (Place(0x8000_0004, 3),)),
        Function(FILE, "user_mem_abort", (Place(0x8000_0014, 9),)),
    )


HEADS = [
    #  a line in the first column                                name
    ("static int gmem_abort(const struct desc *fault)", "gmem_abort"),
    ("irqfd_inject(struct work_struct *work)", "irqfd_inject"),
    ("int __attribute__((weak)) kvm_arch_set_irq(", "kvm_arch_set_irq"),
    ("static inline bool is(int a) { return a; }", "is"),
    ("bool __attribute__((weak))", ""),
    ("int declared(int a);", ""),
    ("EXPORT_SYMBOL_GPL(kvm_get_kvm);", ""),
    ("module_param(halt_poll_ns, uint, 0644);", ""),
    ("static DEFINE_MUTEX(kvm_lock);", ""),
    ("#define to_hvhe(x)", ""),
    ("static const struct row rows[] = { row(1),", ""),
    ("\tcalled(1,", ""),
    ("out:", ""),
]


@pytest.mark.parametrize(("line", "name"), HEADS)
def test_a_function_begins_with_its_head(line: str, name: str) -> None:
    source = Source(f"{line}\n", f"{line}\n")
    assert source.names == ({name} if name else set())
    assert source.function(1) == name


@pytest.mark.parametrize(
    ("after", "lines"),
    [
        ("a\nb\nc\n", [0, 1, 2, 3]),
        ("a\nnew\nb\nc\n", [0, 1, 2, 2, 3]),
        ("a\nc\n", [0, 1, 3]),
        ("a\nother\nc\n", [0, 1, 2, 3]),
    ],
)
def test_a_line_is_told_as_it_is_in_the_original(after: str, lines: list[int]) -> None:
    assert unchanged("a\nb\nc\n", after) == lines


def test_only_a_kernel_for_it_is_instrumented() -> None:
    assert settings(variant("v7.3")) == ()
    assert "KCOV_INSTRUMENT_mmu.o=y" in settings(variant("v7.3-kcov"))


def test_what_was_kept_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = (Function("a.c", "f", (Place(1, 2), Place(5, 2))),)
    folder = tmp_path / "guest-fault-fuzzer" / "images" / "an-image"
    folder.mkdir(parents=True)
    (folder / source_lines.FILE).write_bytes(source_lines.encoded(made))
    assert source_lines.load("an-image") == made
    (folder / source_lines.FILE).write_bytes(b"[")
    with pytest.raises(MissingPartError, match=r"lines\.json: .*; build it again"):
        source_lines.load("an-image")


def test_an_image_without_lines_says_what_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingPartError, match=r"gff live build v7\.3-kcov"):
        source_lines.load("debian-7.3")
