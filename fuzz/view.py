"""One KVM_RUN as a clause of the contract sees it."""

from dataclasses import dataclass
from typing import Final

from emu.abi import Errno
from emu.outcome import RunOutcome
from fuzz.scene import Scene, Target

# The errnos with which api.rst lets MEMORY_FAULT be delivered.
DOCUMENTED: Final = (Errno.EFAULT, Errno.EHWPOISON)


@dataclass(frozen=True, slots=True)
class View:
    """One KVM_RUN and what is known around it.

    ``flags``: what was special about the call. ``target``: the access that the guest was at when
    the call returned, if it was at one. ``scene`` is as it was then, until the next is asked for.
    """

    run: RunOutcome
    flags: int
    scene: Scene
    target: Target | None
