"""What ESR_EL1, or ESR_EL2 in a guest hypervisor, says of an exception that the guest took."""

from typing import Final

# Arm ARM, ESR_ELx: instruction and data aborts, from a lower and from the same exception level.
_ABORTS: Final = frozenset({0x20, 0x21, 0x24, 0x25})
_EC_SHIFT: Final = 26
_FSC: Final = 0x3F
_SEA: Final = 0x10


def is_abort(esr: int) -> bool:
    """Whether it is an abort: what KVM queues for a fault that it does not serve."""
    return esr >> _EC_SHIFT in _ABORTS


def is_external_abort(esr: int) -> bool:
    """Whether it is an abort from outside, not one of a translation table."""
    return is_abort(esr) and esr & _FSC == _SEA
