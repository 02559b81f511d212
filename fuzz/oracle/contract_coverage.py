"""What of the contract was put to the test: clause, fill site, errno and backing, and what never.

A clause is put to the test by a KVM_RUN that it is about, whether it was kept or broken. Backing is
that of the access which the guest was at.
"""

import msgspec


class Combination(msgspec.Struct, frozen=True):
    """A way in which a clause was put to the test: how often, and in which file first."""

    clause: str
    site: str
    errno: str
    backing: str
    runs: int
    witness: str


class Gap(msgspec.Struct, frozen=True):
    """A clause was put to the test at this site, and under this errno, but never both at once."""

    clause: str
    site: str
    errno: str


class Coverage(msgspec.Struct, frozen=True):
    """``tested``: the combinations met. ``gaps``: those next to them that were not; some of them
    cannot be. ``unasked``: clauses that no KVM_RUN was about.
    """

    tested: tuple[Combination, ...]
    gaps: tuple[Gap, ...]
    unasked: tuple[str, ...]
