"""What a fault syndrome says, in words (Arm ARM, ESR_ELx, HPFAR_EL2)."""

from typing import Final

_CLASSES: Final[dict[int, str]] = {
    0x00: "unknown reason",
    0x01: "WFI or WFE",
    0x07: "SIMD or SVE access",
    0x0E: "illegal execution state",
    0x15: "SVC",
    0x16: "HVC",
    0x17: "SMC",
    0x18: "system register access",
    0x20: "instruction abort, lower level",
    0x21: "instruction abort, same level",
    0x22: "PC alignment fault",
    0x24: "data abort, lower level",
    0x25: "data abort, same level",
    0x26: "SP alignment fault",
    0x2F: "SError",
    0x3C: "BRK",
}

_STATUSES: Final[dict[int, str]] = {
    0x10: "synchronous external abort",
    0x11: "tag check fault",
    0x13: "external abort on a walk, level -1",
    0x18: "ECC error",
    0x1B: "ECC error on a walk, level -1",
    0x21: "alignment fault",
    0x29: "address size fault, level -1",
    0x2B: "translation fault, level -1",
    0x30: "TLB conflict",
    0x31: "unsupported hardware update of a descriptor",
    0x35: "unsupported exclusive or atomic access",
}

_LEVELLED: Final[dict[int, str]] = {
    0x00: "address size fault",
    0x04: "translation fault",
    0x08: "access flag fault",
    0x0C: "permission fault",
    0x14: "external abort on a walk",
    0x1C: "ECC error on a walk",
}

_INSTRUCTION_ABORTS: Final = (0x20, 0x21)
_DATA_ABORTS: Final = (0x24, 0x25)
_LOWER_LEVEL: Final = (0x20, 0x24)


def is_for_el2(esr: int) -> bool:
    """Whether a guest's exception is for its EL2: of its own guest, or at its VNCR page."""
    return esr >> 26 & 0x3F in _LOWER_LEVEL or _is_vncr(esr)


def _is_vncr(esr: int) -> bool:
    return esr >> 26 & 0x3F == _DATA_ABORTS[1] and bool(esr >> 13 & 1)


def exception_class(esr: int) -> str:
    """ESR.EC."""
    number = esr >> 26 & 0x3F
    return _CLASSES.get(number, f"exception class {number:#x}")


def fault_status(esr: int) -> str:
    """ESR.ISS.DFSC or IFSC, with the level where it has one."""
    code = esr & 0x3F
    if code in _STATUSES:
        return _STATUSES[code]
    if code & ~3 in _LEVELLED:
        return f"{_LEVELLED[code & ~3]}, level {code & 3}"
    return f"fault status {code:#x}"


def bits(esr: int) -> tuple[str, ...]:
    """The flags of an abort's ISS that say something, by the names of the manual."""
    iss = esr & 0x1FF_FFFF
    named = (("S1PTW", 7), ("EA", 9), ("FnV", 10))
    present = [name for name, bit in named if iss >> bit & 1]
    if esr >> 26 & 0x3F in _INSTRUCTION_ABORTS:
        return tuple(present)
    present += [name for name, bit in (("WnR", 6), ("CM", 8)) if iss >> bit & 1]
    if _is_vncr(esr):
        present.append("VNCR")
    if iss >> 11 & 3 and not iss >> 24 & 1:
        present.append(f"LST={iss >> 11 & 3}")
    return (*present, instruction_syndrome(esr))


def instruction_syndrome(esr: int) -> str:
    """ISV and, where it is set, what the instruction moves: size, register, extension."""
    if not esr >> 24 & 1:
        return "ISV=0"
    register = f"{'x' if esr >> 15 & 1 else 'w'}{esr >> 16 & 0x1F}"
    signed = ", signed" if esr >> 21 & 1 else ""
    ordered = ", acquire or release" if esr >> 14 & 1 else ""
    return f"ISV=1 (SAS {8 << (esr >> 22 & 3)} bits, SRT {register}{signed}{ordered})"


def syndrome(esr: int) -> str:
    """The whole syndrome on one line, most important first."""
    if esr >> 26 & 0x3F not in _INSTRUCTION_ABORTS + _DATA_ABORTS:
        return exception_class(esr)
    words = (exception_class(esr), fault_status(esr), " ".join(bits(esr)))
    return "; ".join(word for word in words if word)
