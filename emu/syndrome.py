"""ESR_EL2 as KVM reads it: exception class, fault status, and the fields of an abort's ISS.

Source: Arm ARM, ESR_EL2, ISS encoding for exceptions from a Data Abort and an Instruction Abort.
"""

from typing import Final

EC_SHIFT: Final = 26
EC_IABT_LOW: Final = 0x20
EC_IABT_CUR: Final = 0x21
EC_DABT_LOW: Final = 0x24
EC_DABT_CUR: Final = 0x25
EC_SERROR: Final = 0x2F

IL: Final = 1 << 25
ISV: Final = 1 << 24
SAS_SHIFT: Final = 22
SSE: Final = 1 << 21
SRT_SHIFT: Final = 16
SF: Final = 1 << 15
VNCR: Final = 1 << 13
LST: Final = 3 << 11
FNV: Final = 1 << 10
EA: Final = 1 << 9
CM: Final = 1 << 8
S1PTW: Final = 1 << 7
WNR: Final = 1 << 6
FSC: Final = 0x3F
EC: Final = 0x3F << EC_SHIFT

FSC_ADDRESS_SIZE: Final = 0x00
FSC_TRANSLATION_3: Final = 0x07
FSC_PERMISSION_3: Final = 0x0F
FSC_SEA: Final = 0x10
FSC_SEA_ON_WALK: Final = 0x14  # at level 0; the others follow
FSC_EXCL_ATOMIC: Final = 0x35

# Level -1 (0x2b) exists only with 52-bit addresses; KVM counts it all the same.
TRANSLATION: Final = frozenset({0x04, 0x05, 0x06, 0x07, 0x2B})
ACCESS_FLAG: Final = frozenset({0x08, 0x09, 0x0A, 0x0B})
PERMISSION: Final = frozenset({0x0C, 0x0D, 0x0E, 0x0F})
EXTERNAL_ABORT: Final = frozenset(
    {0x10, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F}
)
EXTERNAL_ABORT_ON_WALK: Final = frozenset({0x13, 0x14, 0x15, 0x16, 0x17})

_HPFAR_FIPA: Final = ~0xF


def exception_class(esr: int) -> int:
    """ESR.EC."""
    return esr >> EC_SHIFT & 0x3F


def is_iabt(esr: int) -> bool:
    """An instruction abort from a lower exception level."""
    return esr >> EC_SHIFT & 0x3F == EC_IABT_LOW


def access_length(esr: int) -> int:
    """Bytes of the access, from SAS; valid only with ISV."""
    return 1 << (esr >> SAS_SHIFT & 3)


def transfer_register(esr: int) -> int:
    """Number of the transfer register, from SRT; valid only with ISV."""
    return esr >> SRT_SHIFT & 0x1F


def fault_ipa(hpfar: int) -> int:
    """The faulting IPA's 4 KiB page: HPFAR_EL2.FIPA holds bits 47:12 from bit 4 up."""
    return (hpfar & _HPFAR_FIPA) << 8
