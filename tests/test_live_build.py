"""Kernels built from source: what is asked of the compiler, and that no half of a change is."""

from collections import Counter
from typing import Final

import pytest

from emu.injection import Site
from emu.kernels import KERNELS
from emu.live import build_config, build_patches
from emu.live.build_config import ConfigError, options
from emu.live.build_patches import PatchError, Place, changes, parsed
from emu.live.build_variants import CONFIGS, MODELS, Variant, modelled, variant
from emu.live.trouble import RequestError
from triage import observation

FILE: Final = """\
#include <a.h>

int first(int a)
{
    return a;
}

static void second(struct s *s,
           int b)
{
    if (b)
        s->a = 1;
    s->a = 1;
}
"""
ONCE: Final = "// changes: f.c second 1\n"


# Names


@pytest.mark.parametrize("name", MODELS)
def test_every_kernel_that_can_be_built_is_modelled(name: str) -> None:
    assert name in KERNELS


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("config", ["", *CONFIGS])
def test_a_built_kernel_says_which_modelled_one_it_is(name: str, config: str) -> None:
    made = Variant(name, config)
    assert variant(made.name) == variant(made.image) == made
    assert modelled(f"7.3.4-{made.image}-0123abcd") == name


@pytest.mark.parametrize("release", ["7.3.4+deb13-cloud-arm64", "7.3.4-gff-mine-0123abcd", ""])
def test_another_kernel_says_nothing_of_the_kind(release: str) -> None:
    assert modelled(release) is None


def test_a_release_fits_into_uname() -> None:
    longest = max((Variant(name, config).image for name in MODELS for config in CONFIGS), key=len)
    assert len(f"7.3.14-{longest}-0123abcd") < 65


def test_a_name_that_is_nearly_right_is_guessed() -> None:
    with pytest.raises(RequestError, match="did you mean scribble-on-exit"):
        variant("scribble-on-exi")


@pytest.mark.parametrize(
    ("release", "kernel"),
    [
        ("7.3.4-gff-clean-0123abcd", "clean"),
        ("7.3.4-gff-v7.3-16k-0123abcd", "v7.3"),
        ("7.3.4-gff-mine-0123abcd", "v7.3"),
        ("7.3.4+deb13-cloud-arm64", "v7.3"),
        ("unknown", ""),
    ],
)
def test_a_kernel_is_compared_with_the_model_that_it_names(release: str, kernel: str) -> None:
    assert observation.modelled(release) == kernel


# Configurations


def test_the_last_list_has_the_last_word() -> None:
    first, second = options("CONFIG_A=y\nCONFIG_B=3\n"), options("# CONFIG_A is not set\n")
    assert build_config.merged([first, second]) == {"A": "n", "B": "3"}


def test_a_list_is_written_as_it_was_read() -> None:
    text = 'CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="a b"\n'
    assert build_config.spelled(options(text)) == text


def test_a_comment_is_no_option() -> None:
    assert options("# of the machine\n\nCONFIG_A=y\n") == {"A": "y"}


def test_a_line_that_is_no_option_is_told_with_its_number() -> None:
    with pytest.raises(ConfigError, match="line 2: 'CONFIG_A'"):
        options("# one\nCONFIG_A\n")


def test_an_option_that_the_kernel_does_not_grant_is_named() -> None:
    asked = options("CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n")
    with pytest.raises(ConfigError, match=r"grant B=y, C=n$"):
        build_config.check_granted(asked, "CONFIG_A=y\nCONFIG_C=y\n")


def test_an_option_that_is_absent_is_not_set() -> None:
    build_config.check_granted(options("# CONFIG_A is not set\n"), "# CONFIG_B is not set\n")


@pytest.mark.parametrize("config", CONFIGS)
def test_every_configuration_is_another_one(config: str) -> None:
    plain, other = (build_config.wanted(Variant("clean", each).configs) for each in ("", config))
    assert plain != other
    assert set(plain) <= set(other)


# Patches


def test_changes_are_counted_by_function() -> None:
    after = FILE.replace("<a.h>", "<b.h>").replace("return a;", "return 0;\n")
    after = after.replace("s->a = 1", "s->a = 2")
    assert changes("f.c", FILE, after) == Counter(
        {Place("f.c", "-"): 1, Place("f.c", "first"): 1, Place("f.c", "second"): 1}
    )


def test_changes_apart_are_two() -> None:
    after = FILE.replace("    if (b)\n", "    if (!b)\n").replace(
        "    s->a = 1;\n}", "    s->a = 2;\n}"
    )
    assert changes("f.c", FILE, after) == Counter({Place("f.c", "second"): 2})


def test_a_change_of_a_functions_head_is_the_functions() -> None:
    after = FILE.replace("static void second", "void second")
    assert changes("f.c", FILE, after) == Counter({Place("f.c", "second"): 1})


def test_what_is_put_behind_a_function_counts_as_the_functions() -> None:
    after = FILE.replace("return a;\n}\n", "return a;\n}\nMARK(first);\n")
    assert changes("f.c", FILE, after) == Counter({Place("f.c", "first"): 1})


def test_a_patch_that_changes_what_it_says_is_applied() -> None:
    done = build_patches.patched(
        [parsed("p", ONCE)], {"f.c": FILE}.__getitem__, lambda _, text: text.replace("(b)", "(!b)")
    )
    assert done == {"f.c": FILE.replace("(b)", "(!b)")}


def test_the_next_patch_finds_what_the_first_one_made() -> None:
    added = [parsed("p", ONCE), parsed("q", ONCE)]
    done = build_patches.patched(
        added, {"f.c": FILE}.__getitem__, lambda _, text: text.replace("if (b", "if (b + b")
    )
    assert "if (b + b + b)" in done["f.c"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("nothing", "nothing", r"p: 0 changes made, 1 expected, to second\(\) in f.c"),
        ("a = 1", "a = 2", r"p: 0 changes made, 1 expected, to second\(\) in f.c"),
        ("return a", "return 1", r"p: 0 changes made, 1 expected"),
    ],
)
def test_a_patch_that_changes_too_little_is_refused(old: str, new: str, told: str) -> None:
    other = FILE.replace("second", "third")
    with pytest.raises(PatchError, match=told):
        build_patches.patched(
            [parsed("p", ONCE)], {"f.c": other}.__getitem__, lambda _, text: text.replace(old, new)
        )


def test_a_patch_that_changes_more_than_it_says_is_refused() -> None:
    with pytest.raises(PatchError, match=r"p: 1 changes made, 0 expected, to first\(\) in f.c"):
        build_patches.patched(
            [parsed("p", ONCE)],
            {"f.c": FILE}.__getitem__,
            lambda _, text: text.replace("(b)", "(!b)").replace("return a", "return 1"),
        )


def test_a_patch_that_declares_nothing_is_refused() -> None:
    with pytest.raises(PatchError, match="does not say what it changes"):
        parsed("p", "// nothing\n")


@pytest.mark.parametrize(
    "name", sorted({each for name in MODELS for each in variant(name).patches})
)
def test_every_patch_is_for_the_kernels_tree(name: str) -> None:
    asked = build_patches.patch(name)
    assert asked.text.startswith("// SPDX-License-Identifier: GPL-2.0-only\n// ")
    assert all(count > 0 for _, count in asked.changes)


def test_every_site_that_an_unprotected_vm_reaches_can_be_made_to_fail() -> None:
    patch = build_patches.patch("injectable").text
    sites = {site.value for site in Site} - {Site.PIN_USER_PAGES.value, Site.KVM_GMEM_BIND.value}
    assert {name for name in sites if f"ALLOW_ERROR_INJECTION({name}, ERRNO)" in patch} == sites
    # What 7.3 calls it.
    assert "ALLOW_ERROR_INJECTION(kvm_gmem_commit_memory_region, ERRNO)" in patch
