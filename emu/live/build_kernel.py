"""A kernel built of source: patched, configured, compiled, and put among the images.

It says which it is: uname's release ends with the variant's name and a hash of what it is made of.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from emu.live import (
    build_config,
    build_coverage,
    build_patches,
    build_tools,
    cache,
    images,
    source_lines,
)
from emu.live.arm64_image import inspect
from emu.live.build_config import ConfigError, Options
from emu.live.build_patches import Patch, PatchError
from emu.live.build_source import Tree
from emu.live.build_variants import KCOV, Variant
from emu.live.images import Record, Transport
from emu.live.trouble import MissingPartError

SUITE: Final = "built"  # in a record, where a fetched kernel has Debian's suite

_ARCHITECTURE: Final = "arm64"
_CONFIG: Final = ".config"
_UNFINISHED: Final = ".gff-unfinished"
_SAME: Final = {  # what would make two builds of the same differ
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
    "KBUILD_BUILD_USER": "gff",
    "KBUILD_BUILD_HOST": "gff",
    "KBUILD_BUILD_VERSION": "1",
    "LC_ALL": "C",
}
_STEP: Final = re.compile(r"\s+([A-Z]{2,}\S*)\s+(\S+)$")
_ERROR: Final = re.compile(r"error:|Error \d|undefined reference|No rule to make|\*\*\*")
# Of a make that gff may be run by, and what would make another kernel of the same recipe.
_NOT_OURS: Final = re.compile(
    r"MAKEFLAGS|MFLAGS|MAKELEVEL|LLVM\w*|K(?:C|A|CPP|RUST)FLAGS|K(?:CONFIG|BUILD)_\w+"
)

Say = Callable[[str], None]  # what is being done


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a kernel is made of; the same recipe makes the same kernel."""

    variant: Variant
    config: Options
    patches: tuple[Patch, ...]
    compiler: str

    def digest(self, tree: Tree) -> str:
        """Of all of it, with the source's hash."""
        texts = (each.text for each in self.patches)
        traced = (*build_coverage.settings(self.variant), *build_coverage.method(self.variant))
        made = (*texts, *traced, self.compiler)
        parts = (tree.origin.sha256, build_config.spelled(self.config), *made)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def release(self, tree: Tree) -> str:
        """What uname's release has behind the version."""
        return f"-{self.variant.image}-{self.digest(tree)[:8]}"


def recipe(wanted: Variant) -> Recipe:
    """How to make this kernel here; MissingPartError where a program is missing."""
    build_tools.check()
    return Recipe(
        variant=wanted,
        config=build_config.wanted(wanted.configs),
        patches=tuple(map(build_patches.patch, wanted.patches)),
        compiler=build_tools.compiler(),
    )


def present(wanted: Recipe, tree: Tree) -> Record | None:
    """The kernel's record, if one of this recipe is in the cache."""
    digest = wanted.digest(tree)
    here = (each for each in images.kernels() if each.name == wanted.variant.image)
    return next((each for each in here if each.recipe == digest), None)


def build(wanted: Recipe, tree: Tree, jobs: int, say: Say) -> Record:
    """Build it, and put it in the place of an image of the same name."""
    name = wanted.variant.image
    with _alone(tree) as lock:
        log = tree.folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        try:
            say(f"{name}  patching")
            tree.change(build_patches.patched(wanted.patches, tree.original, _spatch))
            made = _Make(tree, wanted, jobs, log, lock)
            made.configure()
            made.compile(lambda step: say(f"{name}  {step}"))
            return _installed(wanted, tree, made.objects)
        except (PatchError, ConfigError) as error:
            raise MissingPartError(f"{name}: {error}") from None


class _Make:
    """The kernel's own makefiles, with a folder of objects for each configuration."""

    def __init__(self, tree: Tree, wanted: Recipe, jobs: int, log: Path, lock: int) -> None:
        """``lock``: held as long as any program of a build runs, even if we are killed."""
        self._lock = lock
        self.objects: Final = tree.folder / f"objects-{'-'.join(wanted.variant.configs)}"
        self._wanted = wanted
        self._log = log
        self._command = [
            "make",
            *("-C", str(tree.path), f"O={self.objects}", f"-j{jobs}"),
            *(f"ARCH={_ARCHITECTURE}", f"CROSS_COMPILE={build_tools.CROSS}"),
            f"LOCALVERSION={wanted.release(tree)}",
            *build_coverage.settings(wanted.variant),
        ]

    def configure(self) -> None:
        """Every option that is not asked for has its default."""
        if (self.objects / _UNFINISHED).exists():
            shutil.rmtree(self.objects)
        self.objects.mkdir(exist_ok=True)
        asked = self.objects / "gff.config"
        asked.write_text(build_config.spelled(self._wanted.config))
        with self._log.open("w", buffering=1) as log:
            self._run("alldefconfig", log, lambda _: None, {"KCONFIG_ALLCONFIG": str(asked)})
        build_config.check_granted(self._wanted.config, (self.objects / _CONFIG).read_text())

    def compile(self, say: Say) -> None:
        """The boot image."""
        mark = self.objects / _UNFINISHED
        mark.touch()
        try:
            with self._log.open("a", buffering=1) as log:
                self._run("Image", log, say, {})
        finally:
            mark.unlink()  # make has ended, and left nothing that is half written

    def _run(self, target: str, log: IO[str], say: Say, settings: dict[str, str]) -> None:
        environment = {
            key: value for key, value in os.environ.items() if not _NOT_OURS.fullmatch(key)
        }
        with (
            subprocess.Popen(
                [*self._command, target],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env={**environment, **_SAME, **settings},
                pass_fds=(self._lock,),
            ) as make,
            _ended_first(make),
        ):
            for line in make.stdout or ():
                log.write(line)
                step = _STEP.match(line)
                if step is not None:
                    say(f"{step[1]} {step[2]}")
        if make.returncode:
            log.flush()
            image = self._wanted.variant.image
            raise MissingPartError(f"{image}: {_reason(self._log)} (the whole of it: {self._log})")


@contextmanager
def _ended_first(make: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever ends us, make ends before: Popen does not wait for it when it is interrupted."""
    try:
        yield
    except BaseException:
        make.terminate()  # it takes with it what is half written
        make.communicate()
        raise


def _installed(wanted: Recipe, tree: Tree, objects: Path) -> Record:
    """The image among the others, with what it is made of."""
    kernel = objects / build_coverage.IMAGE
    seen = inspect(kernel)
    if not seen.version.endswith(wanted.release(tree)):
        raise MissingPartError(f"{wanted.variant.image}: the kernel says it is {seen.version}")
    record = Record(
        name=wanted.variant.image,
        version=seen.version,
        package=tree.origin.package,
        package_version=tree.origin.package_version,
        sha256=tree.origin.sha256,
        suite=SUITE,
        pinned=tree.origin.pinned,
        page_size=seen.page_size,
        transport=Transport.MMIO,
        recipe=wanted.digest(tree),
        patches=wanted.variant.patches,
        compiler=wanted.compiler,
    )
    with cache.workshop() as work:
        prepared = work / "prepared"
        prepared.mkdir()
        shutil.copyfile(kernel, prepared / images.KERNEL)
        shutil.copyfile(objects / _CONFIG, prepared / "config")
        if wanted.variant.config == KCOV:
            lines = source_lines.encoded(build_coverage.functions(objects, tree))
            (prepared / source_lines.FILE).write_bytes(lines)
        (prepared / images.RECORD).write_bytes(msgspec.json.encode(record))
        cache.install(prepared, cache.images() / record.name)
    return record


def _spatch(patch: str, content: str) -> str:
    """What Coccinelle makes of a file's content."""
    with tempfile.TemporaryDirectory() as folder:
        rules, before, after = (Path(folder, name) for name in ("patch.cocci", "in.c", "out.c"))
        rules.write_text(patch)
        before.write_text(content)
        words = ("--very-quiet", "--no-includes", "--no-show-diff")
        done = subprocess.run(
            ["spatch", *words, "--sp-file", rules, before, "-o", after],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PatchError(f"spatch: {' '.join(done.stderr.split())}")
        return after.read_text() if after.exists() else content  # nothing matched


def _reason(log: Path) -> str:
    """The first line that looks like an error."""
    lines = log.read_text(errors="replace").splitlines()
    return next((line.strip() for line in lines if _ERROR.search(line)), "make failed")


@contextmanager
def _alone(tree: Tree) -> Iterator[int]:
    """One build at a time: they share the tree. The descriptor of the lock."""
    with (tree.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
