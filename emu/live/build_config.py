"""A built kernel's configuration: lists of options, laid over one another.

A list says what is wanted; the kernel's own Kconfig fills in the rest, and may grant less.
"""

import re
from collections.abc import Iterable
from importlib import resources
from typing import Final, NewType

Options = NewType("Options", dict[str, str])  # an option's name to its value

_UNSET: Final = "n"
_LINE: Final = re.compile(r"CONFIG_(\w+)=(\S.*)|# CONFIG_(\w+) is not set")


class ConfigError(Exception):
    """A list is wrong, or the kernel does not have what it asks for; one line."""


def options(text: str) -> Options:
    """The options of one list, in the form of a .config. Other comments are ours."""
    found = Options({})
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is not None:
            found[match[1] or match[3]] = match[2] or _UNSET
        elif line and not line.startswith("#"):
            raise ConfigError(f"line {number}: {line!r}: expected CONFIG_NAME=VALUE")
    return found


def merged(lists: Iterable[Options]) -> Options:
    """A later list has the last word."""
    result = Options({})
    for each in lists:
        result.update(each)
    return result


def wanted(names: Iterable[str]) -> Options:
    """The lists of these names, which come with this package."""
    folder = resources.files("emu.live") / "data" / "config"
    return merged(options((folder / f"{name}.config").read_text()) for name in names)


def spelled(chosen: Options) -> str:
    """As a .config."""
    return "".join(
        f"# CONFIG_{name} is not set\n" if value == _UNSET else f"CONFIG_{name}={value}\n"
        for name, value in chosen.items()
    )


def check_granted(asked: Options, config: str) -> None:
    """ConfigError where a .config does not have what was asked for."""
    granted = options(config)
    refused = [name for name, value in asked.items() if granted.get(name, _UNSET) != value]
    if refused:
        each = ", ".join(f"{name}={asked[name]}" for name in refused)
        raise ConfigError(f"this kernel does not grant {each}")
