"""The guest's code: a short piece of A64 for each access, and its assembled words.

Keystone assembles. Where it has no wheel (arm64), the words committed in ``data/snippets.json``
take its place; ``python -m emu.asm --update`` rewrites them.

Registers: x1 holds the effective address, less the snippet's ``bias``. Data is in x0 and x2 to x5,
or in v0 and v1. It is all zero, so that memory stays zero whatever the guest stores, and a later
fetch from it finds UDF #0. x27 and x28 are the doorbell's value and address.
"""

import json
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

from emu.access import Access


@dataclass(frozen=True, slots=True)
class Snippet:
    """One access; instructions stand between semicolons.

    ``bias`` is what the instruction adds to x1. ``probed``: the instruction never faults under the
    emulator, so a byte load from the same address stands before it and faults in its place.
    """

    text: str
    bias: int = 0
    probed: bool = False


SNIPPETS: Final[dict[Access, Snippet]] = {
    Access.READ8: Snippet("ldrb w0,[x1]"),
    Access.READ16: Snippet("ldrh w0,[x1]"),
    Access.READ32: Snippet("ldr w0,[x1]"),
    Access.READ64: Snippet("ldr x0,[x1]"),
    Access.READ_SIGNED8: Snippet("ldrsb x0,[x1]"),
    Access.READ_SIGNED16: Snippet("ldrsh x0,[x1]"),
    Access.READ_SIGNED32: Snippet("ldrsw x0,[x1]"),
    Access.READ_ACQUIRE: Snippet("ldar x0,[x1]"),
    Access.READ_RCPC: Snippet("ldapr x0,[x1]"),
    Access.READ_PRE_INDEX: Snippet("ldr x0,[x1,#8]!", bias=8),
    Access.READ_POST_INDEX: Snippet("ldr x0,[x1],#8"),
    Access.READ_PAIR: Snippet("ldp x0,x2,[x1]"),
    Access.READ_EXCLUSIVE: Snippet("ldxr x0,[x1]"),
    Access.READ_SIMD: Snippet("ldr q0,[x1]"),
    Access.READ_SIMD_MULTIPLE: Snippet("ld1 {v0.16b,v1.16b},[x1]"),
    Access.WRITE8: Snippet("strb w0,[x1]"),
    Access.WRITE16: Snippet("strh w0,[x1]"),
    Access.WRITE32: Snippet("str w0,[x1]"),
    Access.WRITE64: Snippet("str x0,[x1]"),
    Access.WRITE_RELEASE: Snippet("stlr x0,[x1]"),
    Access.WRITE_PRE_INDEX: Snippet("str x0,[x1,#8]!", bias=8),
    Access.WRITE_POST_INDEX: Snippet("str x0,[x1],#8"),
    Access.WRITE_PAIR: Snippet("stp x0,x2,[x1]"),
    # The load's value goes nowhere, and the status is 0 again whenever either may abort: until the
    # store is done, no register changes. A fault of the store opens the exclusive monitor, as any
    # return from an exception does: hence the loop.
    Access.WRITE_EXCLUSIVE: Snippet(
        "again: mov w2,wzr; ldxr xzr,[x1]; stxr w2,x0,[x1]; cbnz w2,again"
    ),
    Access.WRITE_SIMD: Snippet("str q0,[x1]"),
    Access.WRITE_SIMD_MULTIPLE: Snippet("st1 {v0.16b,v1.16b},[x1]"),
    Access.CAS: Snippet("cas x0,x2,[x1]"),
    Access.CASP: Snippet("casp x2,x3,x4,x5,[x1]"),
    Access.SWP: Snippet("swp x0,x2,[x1]"),
    Access.LDADD: Snippet("ldadd x0,x2,[x1]"),
    Access.STADD: Snippet("stadd x0,[x1]"),
    Access.DC_ZVA: Snippet("dc zva,x1"),
    Access.DC_CVAC: Snippet("ldrb wzr,[x1]; dc cvac,x1", probed=True),
    Access.DC_CIVAC: Snippet("ldrb wzr,[x1]; dc civac,x1", probed=True),
    Access.IC_IVAU: Snippet("ldrb wzr,[x1]; ic ivau,x1", probed=True),
    Access.PREFETCH: Snippet("prfm pldl1keep,[x1]"),
    Access.FETCH: Snippet("br x1"),
    Access.WALK: Snippet("ldr x0,[x1]"),
    Access.AT_WALK: Snippet("at s1e1r,x1"),
    Access.WALK_AF: Snippet("str x0,[x1]"),
    # The CPU has no NV2, which would make a load or a store of these at the host's EL2.
    Access.VNCR_READ: Snippet("ldr x0,[x1]"),
    Access.VNCR_WRITE: Snippet("str x0,[x1]"),
}

RING: Final = "str x27,[x28]"  # a doorbell
LEAVE: Final = "hvc #0"  # more accesses follow

TEXTS: Final = tuple(dict.fromkeys([*(s.text for s in SNIPPETS.values()), RING, LEAVE]))

# What Keystone 0.9.2 does not know, as GNU as assembles it.
WORDS: Final = {
    "ldapr x0,[x1]": 0xF8BFC020,
    "cas x0,x2,[x1]": 0xC8A07C22,
    "casp x2,x3,x4,x5,[x1]": 0x48227C24,
    "swp x0,x2,[x1]": 0xF8208022,
    "ldadd x0,x2,[x1]": 0xF8200022,
    "stadd x0,[x1]": 0xF820003F,
}

_COMMITTED: Final = resources.files("emu") / "data" / "snippets.json"


class AssemblyError(RuntimeError):
    """A text that does not assemble; says which, and what the assembler made of it."""


class Assembler(Protocol):
    """Turns a snippet's text into its bytes. Raises ``AssemblyError``."""

    def assemble(self, text: str) -> bytes:
        """The little-endian words of ``text``."""


class Keystone:
    """The Keystone assembler. Raises ImportError where it is not installed."""

    def __init__(self) -> None:
        import keystone  # noqa: PLC0415 - it has no arm64 wheel, and takes 40 ms to load

        self._error: type[Exception] = keystone.KsError
        self._engine = keystone.Ks(keystone.KS_ARCH_ARM64, keystone.KS_MODE_LITTLE_ENDIAN)

    def assemble(self, text: str) -> bytes:
        """The little-endian words of ``text``."""
        lines = [line.strip() for line in text.split(";")]
        known = [f".word {WORDS[line]:#x}" if line in WORDS else line for line in lines]
        try:
            encoding, _ = self._engine.asm("; ".join(known), 0)
        except self._error as error:
            raise AssemblyError(f"{text!r}: Keystone says: {error}") from error
        # For some operands it returns less, or nothing, and reports no error.
        code = bytes(encoding or ())
        if len(code) != 4 * len(lines):
            raise AssemblyError(
                f"{text!r}: Keystone made {len(code)} bytes of {len(lines)} instructions"
            )
        return code


class Committed:
    """The words assembled earlier, for the texts of this module only."""

    def __init__(self) -> None:
        self._words: dict[str, str] = json.loads(_COMMITTED.read_text(encoding="utf-8"))

    def assemble(self, text: str) -> bytes:
        """The little-endian words of ``text``."""
        try:
            return bytes.fromhex(self._words[text])
        except KeyError:
            raise AssemblyError(f"{text!r} is not in {_COMMITTED.name}") from None


def assembler() -> Assembler:
    """Keystone where it is installed, else the committed words."""
    try:
        return Keystone()
    except ImportError:
        return Committed()


def committed_form() -> str:
    """What ``data/snippets.json`` should say."""
    keystone = Keystone()
    return json.dumps({text: keystone.assemble(text).hex() for text in TEXTS}, indent=2) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        print("usage: python -m emu.asm --update", file=sys.stderr)
        sys.exit(2)
    Path(str(_COMMITTED)).write_text(committed_form(), encoding="utf-8")
