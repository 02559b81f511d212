"""The guest's code: Keystone, GNU as and the committed words say the same."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emu.access import Access
from emu.asm import (
    SNIPPETS,
    TEXTS,
    WORDS,
    AssemblyError,
    Committed,
    Keystone,
    assembler,
    committed_form,
)

GNU_AS = "aarch64-linux-gnu-as"
GNU_OBJCOPY = "aarch64-linux-gnu-objcopy"

needs_gnu_as = pytest.mark.skipif(
    not (shutil.which(GNU_AS) and shutil.which(GNU_OBJCOPY)),
    reason=f"{GNU_AS} is not installed",
)


@pytest.fixture(scope="module")
def keystone() -> Keystone:
    pytest.importorskip("keystone", reason="Keystone is not installed")
    return Keystone()


def instructions(text: str) -> int:
    return text.count(";") + 1


def gnu_words(texts: tuple[str, ...], directory: Path) -> dict[str, bytes]:
    """Each text assembled by GNU as, all in one run."""
    source, linked, binary = (directory / name for name in ("a.s", "a.o", "a.bin"))
    source.write_text("\n".join(texts) + "\n", encoding="ascii")
    subprocess.run([GNU_AS, "-march=armv8.5-a", "-o", linked, source], check=True)
    subprocess.run([GNU_OBJCOPY, "-O", "binary", linked, binary], check=True)
    code = binary.read_bytes()
    words, start = {}, 0
    for text in texts:
        end = start + 4 * instructions(text)
        words[text] = code[start:end]
        start = end
    assert start == len(code)
    return words


def test_every_access_has_a_snippet() -> None:
    assert set(SNIPPETS) == set(Access)


@needs_gnu_as
def test_keystone_assembles_what_gnu_as_assembles(keystone: Keystone, tmp_path: Path) -> None:
    assert {text: keystone.assemble(text) for text in TEXTS} == gnu_words(TEXTS, tmp_path)


@needs_gnu_as
def test_the_words_that_keystone_lacks_are_those_of_gnu_as(tmp_path: Path) -> None:
    expected = gnu_words(tuple(WORDS), tmp_path)
    assert {text: word.to_bytes(4, "little") for text, word in WORDS.items()} == expected


@pytest.mark.usefixtures("keystone")
def test_the_committed_words_are_up_to_date() -> None:
    committed = Path(sys.modules["emu.asm"].__file__ or "").parent / "data" / "snippets.json"
    assert committed.read_text(encoding="utf-8") == committed_form()
    assert list(json.loads(committed_form())) == list(TEXTS)


def test_the_committed_words_are_those_of_keystone(keystone: Keystone) -> None:
    committed = Committed()
    for text in TEXTS:
        assert committed.assemble(text) == keystone.assemble(text)


def test_without_keystone_the_committed_words_take_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keystone", None)  # import fails
    assert isinstance(assembler(), Committed)


def test_the_committed_words_refuse_a_text_of_another_module() -> None:
    with pytest.raises(AssemblyError, match=r"'nop' is not in snippets\.json"):
        Committed().assemble("nop")


@pytest.mark.parametrize(
    "text",
    [
        "",  # nothing
        "ldr x0,[x1]; ",  # an instruction is missing
        "dc cvap,x1",  # Keystone makes nothing of it and reports no error
        "ldr x0,[x1]; dc cvap,x1",  # the same, behind a good one
        "ldr x0,[x99]",  # a syntax error
        "frobnicate x0",
    ],
)
def test_a_text_that_does_not_assemble_is_refused_by_name(keystone: Keystone, text: str) -> None:
    with pytest.raises(AssemblyError) as refused:
        keystone.assemble(text)
    assert str(refused.value).startswith(repr(text))


def test_a_wrong_use_of_the_updater_is_told_and_changes_nothing() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "emu.asm", "--upgrade"], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == "usage: python -m emu.asm --update\n"
