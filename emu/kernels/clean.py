"""A kernel that keeps the contract: what the others are measured against."""

from emu.kernels.thread import RfcAlignErrno


class Clean(RfcAlignErrno):
    """Linux 7.3.4 with ``rfc-align-errno`` and a cure for every other breach that is modelled.

    In what is modelled today the RFC's change is all it takes: an ENOEXEC no longer reaches the
    guest as an abort, so no record is left behind either.
    """
