"""What is shipped: both releases, the lock, the licence, and what README promises."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest
import typer.main
from packaging.requirements import Requirement
from typer.core import TyperGroup

from triage.app import app
from triage.cli import main
from triage.corpus_files import case_files, corpus_dir

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGES: Final = ("emu", "fuzz", "triage")
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MAKEFILE: Final = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS: Final = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))

# In two pieces each, so that this file does not name them itself.
MACHINE_PATHS: Final = tuple(f"/{folder}/" for folder in ("home", "root", "Users"))
REGISTRY_HOSTS: Final = tuple(f"{name}.org" for name in ("pypi", "pythonhosted"))


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both releases, built by the installed hatchling: no network, no isolation."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def source(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source release, unpacked."""
    folder = tmp_path_factory.mktemp("source")
    shutil.unpack_archive(next(dist.glob("*.tar.gz")), folder, filter="data")
    return next(folder.iterdir())


def files_below(folder: Path) -> set[Path]:
    """Every file below ``folder`` but bytecode, relative to it."""
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


# The wheel.


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_carries_every_file_of_each_package(installed: Path, package: str) -> None:
    shipped = {path for path in files_below(installed / package) if path.parts[0] != "_corpus"}
    assert shipped == files_below(ROOT / package)


def test_the_wheel_carries_the_whole_corpus(installed: Path) -> None:
    assert files_below(installed / "triage" / "_corpus") == files_below(ROOT / "corpus")


def test_the_wheel_carries_nothing_else(installed: Path) -> None:
    folders = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert folders == set(PACKAGES)


def test_the_wheel_installs_the_command_and_the_licence(installed: Path) -> None:
    about = next(installed.glob("*.dist-info"))
    assert "gff = triage.cli:main" in (about / "entry_points.txt").read_text(encoding="utf-8")
    assert (about / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_an_installed_copy_finds_its_own_corpus(installed: Path, tmp_path: Path) -> None:
    # Without site-packages, where an editable install would answer with the checkout.
    program = "from triage.corpus_files import corpus_dir; print(corpus_dir())"
    found = subprocess.run(
        [sys.executable, "-S", "-P", "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout.strip()) == installed / "triage" / "_corpus"


def test_a_checkout_uses_its_top_level_corpus() -> None:
    assert corpus_dir() == ROOT / "corpus"
    assert case_files(corpus_dir())


def test_a_case_file_that_is_still_being_written_is_not_one(tmp_path: Path) -> None:
    for name in ("whole.case", ".writing-1-whole.case"):
        (tmp_path / name).touch()
    assert case_files(tmp_path) == (tmp_path / "whole.case",)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_modules_is_a_package(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


# What is published.


def test_the_licence_is_gpl_2() -> None:
    words = " ".join((ROOT / "LICENSE").read_text(encoding="utf-8").split())
    assert words.startswith("GNU GENERAL PUBLIC LICENSE Version 2, June 1991")
    assert "END OF TERMS AND CONDITIONS" in words


def test_no_published_file_names_a_machine_path_or_a_registry(source: Path) -> None:
    banned = re.compile("|".join(map(re.escape, (*MACHINE_PATHS, *REGISTRY_HOSTS, f"{ROOT}/"))))
    guilty = {
        (str(path), found.group())
        for path in files_below(source)
        if (found := banned.search((source / path).read_bytes().decode("utf-8", "replace")))
    }
    assert guilty == set()


def test_the_source_release_can_be_tested(source: Path) -> None:
    needed = {"LICENSE", "Makefile", "README.md", "pyproject.toml", "requirements.txt", ".ci/run"}
    assert needed <= {str(path) for path in files_below(source)}
    assert files_below(source / "tests") == files_below(ROOT / "tests")


def test_the_changelog_starts_with_this_version() -> None:
    first = re.search(
        r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert first is not None
    assert first[1] == PROJECT["version"]


# The lock.


def locked() -> list[Requirement]:
    """What ``requirements.txt`` pins."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"\w", line)]


def wanted() -> list[Requirement]:
    """What ``pyproject.toml`` asks for, the tools of ``make`` included."""
    lines = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    return [Requirement(line) for line in lines]


def holds(requirement: Requirement, python: str) -> bool:
    """Whether it is asked for on x86-64 Linux under this Python."""
    here = {"python_version": python, "python_full_version": f"{python}.0"}
    here |= {"sys_platform": "linux", "platform_machine": "x86_64"}
    return requirement.marker is None or requirement.marker.evaluate(here)


def test_the_lock_names_one_exact_version_with_hashes_for_each_requirement() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    entries = re.findall(r"^\w.*(?:\n    .*)*", text, re.MULTILINE)
    assert len(entries) == len(locked())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
    assert [pin for pin in locked() if not re.fullmatch(r"==[\w.]+", str(pin.specifier))] == []
    assert re.findall(r"^-.*", text, re.MULTILINE) == []


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_satisfies_pyproject(python: str) -> None:
    pins = {pin.name: str(pin.specifier)[2:] for pin in locked() if holds(pin, python)}
    asked = [want for want in wanted() if holds(want, python)]
    assert {"atheris", "keystone-engine", "unicorn"} <= {want.name for want in asked}
    assert [want for want in asked if pins.get(want.name, "none") not in want.specifier] == []


# README.


def promised(program: str) -> set[str]:
    """The words that README puts behind ``program`` in its code, up to the first option or path."""
    code = re.findall(r"```.*?```|`[^`\n]+`", README, re.DOTALL)
    call = re.compile(rf"^[`$ ]*{program}((?: [a-z][a-z-]*(?![^\s`]))+)", re.MULTILINE)
    return {found.strip() for part in code for found in call.findall(part)}


def test_readme_promises_no_make_target_that_does_not_exist() -> None:
    assert {"fuzz", "test"} <= promised("make")
    assert promised("make") - TARGETS == set()


@pytest.mark.parametrize("words", sorted(promised("gff")))
def test_readme_promises_no_command_that_does_not_exist(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gff", *words.split(), "--help"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    assert capsys.readouterr().err == ""


def test_readme_names_every_command() -> None:
    commands = set()
    for name, command in typer.main.get_group(app).commands.items():
        below = command.commands if isinstance(command, TyperGroup) else {"": command}
        commands |= {f"{name} {word}".strip() for word in below}
    assert commands - promised("gff") == set()


def test_readme_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_every_make_target_is_phony_and_explained() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(explained) == TARGETS
