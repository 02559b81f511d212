"""Which modules are compiled: what a worker does for each case, and what that imports of ours.

Left as they are: what talks to Unicorn and Keystone, text, the live machine, records that are read
from files, and all kernels but the newest, whose source ``fuzz.search.together`` walks.
"""

from pathlib import Path
from typing import Final

from fuzz.processes import SOURCE

PACKAGES: Final = ("emu", "fuzz")
_WHOLE: Final = ("emu/kvm", "fuzz/expectation", "fuzz/mutation", "fuzz/oracle")
_SINGLE: Final = (
    "emu/abi.py",
    "emu/access.py",
    "emu/arena.py",
    "emu/case.py",
    "emu/cpu.py",
    "emu/descriptor.py",
    "emu/exits.py",
    "emu/granule.py",
    "emu/guest.py",
    "emu/harness_map.py",
    "emu/injection.py",
    "emu/kernels/releases.py",
    "emu/l1.py",
    "emu/layout.py",
    "emu/model.py",
    "emu/outcome.py",
    "emu/plan.py",
    "emu/races.py",
    "emu/record.py",
    "emu/registers.py",
    "emu/stage2.py",
    "emu/steps.py",
    "emu/syndrome.py",
    "emu/table.py",
    "emu/threads.py",
    "emu/vmm.py",
    "emu/wire.py",
    "emu/words.py",
    "fuzz/guidance/feedback.py",
    "fuzz/search/hand.py",
    "fuzz/search/recheck.py",
    "fuzz/search/search.py",
    "fuzz/search/sighting.py",
    "fuzz/search/target.py",
)
SUBCLASSED: Final = ("emu/kvm/", "emu/kernels/")  # by the other kernels
# Stored as msgspec reads and writes it.
_NOT: Final = frozenset({"fuzz/oracle/contract_coverage.py"})


def compiled(root: Path = SOURCE) -> tuple[str, ...]:
    """The files below ``root`` that are compiled, relative to it."""
    whole = (path for folder in _WHOLE for path in (root / folder).glob("*.py"))
    names = {str(path.relative_to(root)) for path in whole} | set(_SINGLE)
    return tuple(sorted(name for name in names - _NOT if not name.endswith("__init__.py")))


def module_name(file: str) -> str:
    """``emu/kvm/mmu.py`` as it is imported."""
    return file.removesuffix(".py").replace("/", ".")
