"""Kernels built from source: the tree, what a kernel's key is made of, and making it."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from emu.live import build_config, build_coverage, build_kernel, build_patches, build_tools, images
from emu.live.build_kernel import Recipe
from emu.live.build_source import Origin, Tree
from emu.live.build_variants import variant
from emu.live.images import Record, Transport
from emu.live.trouble import MissingPartError
from tests.command import Gff
from tests.live_repository import boot_image

FILE: Final = "int a;\n"
ORIGIN: Final = Origin("9.8.7", "linux-source-9.8", "9.8.7-1", "aa", "a-suite", pinned=True)
MAKE: Final = """\
#!/bin/sh
cd ${3#O=}
BOOT=arch/arm64/boot/Image
for target; do :; done
case $target in
alldefconfig) cp "$KCONFIG_ALLCONFIG" .config ;;
Image) IMAGE ;;
esac
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A source of one file."""
    made = Tree(tmp_path, ORIGIN)
    made.path.mkdir()
    (made.path / "f.c").write_text(FILE)
    return made


def recipe(name: str = "clean", compiler: str = "a compiler 1") -> Recipe:
    asked = variant(name)
    return Recipe(
        variant=asked,
        config=build_config.wanted(asked.configs),
        patches=tuple(map(build_patches.patch, asked.patches)),
        compiler=compiler,
    )


# The tree


def test_a_file_that_is_not_patched_any_more_is_the_original_again(tree: Tree) -> None:
    tree.change({"f.c": "patched"})
    tree.change({})
    assert (tree.path / "f.c").read_text() == tree.original("f.c") == FILE


def test_a_patch_is_always_for_the_original(tree: Tree) -> None:
    tree.change({"f.c": "patched"})
    assert tree.original("f.c") == FILE


def test_a_file_that_stays_the_same_is_not_written(tree: Tree) -> None:
    tree.change({"f.c": "patched"})
    before = (tree.path / "f.c").stat()
    tree.change({"f.c": "patched"})
    assert (tree.path / "f.c").stat() == before


# The key


def test_the_same_recipe_has_the_same_key(tree: Tree) -> None:
    assert recipe().digest(tree) == recipe().digest(tree)


def test_whatever_a_kernel_is_made_of_is_in_its_key(tree: Tree) -> None:
    made = recipe()
    newer = Tree(tree.folder, msgspec.structs.replace(ORIGIN, sha256="bb"))
    patch = made.patches[0]._replace(text="// another")
    keys = {
        made.digest(tree),
        made.digest(newer),
        recipe("clean-16k").digest(tree),
        recipe("v7.3").digest(tree),
        recipe(compiler="a compiler 2").digest(tree),
        dataclasses.replace(made, patches=(patch, *made.patches[1:])).digest(tree),
    }
    assert len(keys) == 6


def test_another_way_to_find_lines_makes_another_kernel_where_lines_are_found(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced, plain = recipe("v7.3-kcov"), recipe("v7.3")
    keys = traced.digest(tree), plain.digest(tree)
    monkeypatch.setattr(build_coverage, "_MADE_BY", ("build_tools.py",))
    assert traced.digest(tree) != keys[0]
    assert plain.digest(tree) == keys[1]


def test_a_kernel_of_another_recipe_is_not_the_one(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe()
    kept = Record(
        *("gff-clean", "1", "p", "1", "", "built", False, 0x1000, Transport.MMIO),
        recipe=made.digest(tree),
    )
    monkeypatch.setattr(images, "kernels", lambda: [kept])
    assert build_kernel.present(made, tree) == kept
    assert build_kernel.present(recipe(compiler="another"), tree) is None
    assert build_kernel.present(recipe("v7.3"), tree) is None


# Building, by a make that is a script


def make(folder: Path, monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    """Put a make on the path that configures, and does this for an Image."""
    program = folder / "bin" / "make"
    program.parent.mkdir(exist_ok=True)
    program.write_text(MAKE.replace("IMAGE", image))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


PLAIN: Final = dataclasses.replace(recipe("v7.3"), patches=())  # asks for no spatch


def built(tree: Tree) -> Record:
    return build_kernel.build(PLAIN, tree, 2, lambda _: None)


def test_a_kernel_that_was_built_is_an_image_that_says_what_it_is(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = f"9.8.7-gff-v7.3-{PLAIN.digest(tree)[:8]}"
    (tmp_path / "boot").write_bytes(boot_image(release))
    make(tmp_path, monkeypatch, f"mkdir -p arch/arm64/boot; cp {tmp_path}/boot $BOOT")
    record = built(tree)
    image = images.image("gff-v7.3")
    assert images.kernels() == [record]
    assert (record.suite, record.version) == ("built", release)
    assert (image.version, image.transport) == (record.version, Transport.MMIO)


def test_a_kernel_that_says_it_is_another_is_not_kept(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot").write_bytes(boot_image("9.8.7-gff-v7.3-0123abcd"))
    make(tmp_path, monkeypatch, f"mkdir -p arch/arm64/boot; cp {tmp_path}/boot $BOOT")
    with pytest.raises(MissingPartError, match="the kernel says it is 9"):
        built(tree)
    assert images.kernels() == []


def test_a_kernel_that_does_not_compile_is_told_with_the_reason_and_the_log(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, monkeypatch, 'echo "  CC f.o"; echo "f.c:1: error: no"; exit 2')
    with pytest.raises(MissingPartError, match=r"gff-v7\.3: f\.c:1: error: no \(.*/gff-v7\.3\.log"):
        built(tree)
    assert (tree.folder / "logs" / "gff-v7.3.log").read_text().endswith("f.c:1: error: no\n")


def test_the_callers_settings_do_not_get_into_a_kernel(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LLVM", "KCFLAGS", "KBUILD_OUTPUT", "MAKEFLAGS"):
        monkeypatch.setenv(name, name)
    told = "error: [$LLVM$KCFLAGS$KBUILD_OUTPUT$MAKEFLAGS] $KBUILD_BUILD_USER"
    make(tmp_path, monkeypatch, f'echo "{told}"; exit 2')
    with pytest.raises(MissingPartError, match=r"error: \[\] gff "):
        built(tree)


def test_an_option_that_is_not_granted_ends_a_build(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, monkeypatch, "exit 0")
    (tmp_path / "bin" / "make").write_text("#!/bin/sh\ntouch ${3#O=}/.config\n")
    with pytest.raises(MissingPartError, match=r"gff-v7\.3: this kernel does not grant .*\bKVM=y"):
        built(tree)


def test_the_objects_of_a_build_that_was_killed_are_not_used(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = tree.folder / "objects-base" / "half.o"
    make(tmp_path, monkeypatch, f"touch {half}; kill -9 $PPID; exit 1")
    program = "from tests.test_live_build_kernel import killed; import sys; killed(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", program, str(tree.folder)], check=False)
    assert half.exists()
    make(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(MissingPartError):
        built(tree)
    assert not half.exists()
    half.touch()
    with pytest.raises(MissingPartError):
        built(tree)
    assert half.exists()


def killed(folder: str) -> None:
    """For a process of its own, which its make kills."""
    built(Tree(Path(folder), ORIGIN))


def test_an_interrupted_build_ends_its_make_first_and_its_objects_are_used(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = tree.folder / "objects-base" / "done.o"
    interrupt = "sleep 0.3; kill -INT $PPID; for i in $(seq 100); do sleep 0.1; done"
    image = f"trap 'sleep 0.5; touch {done}; exit 1' TERM; {interrupt}"
    make(tmp_path, monkeypatch, image)
    with pytest.raises(KeyboardInterrupt):
        built(tree)
    assert done.exists()
    make(tmp_path, monkeypatch, "exit 1")
    with pytest.raises(MissingPartError):
        built(tree)
    assert done.exists()


# Refusals


def test_every_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingPartError) as caught:
        build_tools.check()
    lines = str(caught.value).splitlines()
    assert "spatch: not found; Debian has it in coccinelle" in lines
    assert "flex: not found; Debian has it in flex" in lines


def test_what_is_missing_is_told_a_line_each(call: Gff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = call("live", "build", "clean")
    lines = done.err.splitlines()
    assert (done.status, done.out) == (3, "")
    assert "gff: bison: not found; Debian has it in bison" in lines
    assert all(line.startswith("gff: ") for line in lines)


def test_a_kernel_that_cannot_be_built_is_a_users_error(call: Gff) -> None:
    done = call("live", "build", "clear")
    assert (done.status, done.err) == (
        2,
        "gff: no kernel 'clear' can be built, did you mean clean? (see gff live list)\n",
    )


def test_a_built_kernel_that_is_not_here_is_one_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingPartError, match="gff live build gff-clean"):
        images.image("gff-clean")
