"""The Unicorn engine as this project uses it: raw calls, and CPU states in Unicorn's own format.

What is called for every guest entry has all its arguments made beforehand: Unicorn's Python
interface costs several times as much as the call behind it.
"""

import ctypes
import weakref
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from unicorn import arm64_const, unicorn_const
from unicorn.unicorn_py3.unicorn import uclib

from emu.abi import PAGE_SIZE
from emu.arena import ARENA_SIZE, Arena

OK: Final = unicorn_const.UC_ERR_OK
EXCEPTION: Final = unicorn_const.UC_ERR_EXCEPTION

# More than any snippet needs, and soon over for a guest that branches to itself.
_WATCHDOG: Final = 256

_TRANSLATION_BUFFER: Final = 8 << 20  # Unicorn's own choice grows to more than 1 GiB

_X28: Final = arm64_const.UC_ARM64_REG_X28
X: Final = (
    *range(arm64_const.UC_ARM64_REG_X0, _X28 + 1),
    arm64_const.UC_ARM64_REG_X29,
    arm64_const.UC_ARM64_REG_X30,
)
Q: Final = tuple(range(arm64_const.UC_ARM64_REG_Q0, arm64_const.UC_ARM64_REG_Q31 + 1))
SP: Final = arm64_const.UC_ARM64_REG_SP
NZCV: Final = arm64_const.UC_ARM64_REG_NZCV


class EmulatorError(RuntimeError):
    """The emulator is not what this project was made for: another version or another behaviour."""


class SystemRegister(NamedTuple):
    """A system register's encoding."""

    op0: int
    op1: int
    crn: int
    crm: int
    op2: int


class _SystemWrite(ctypes.Structure):
    """uc_arm64_cp_reg."""

    _fields_ = (
        ("crn", ctypes.c_uint32),
        ("crm", ctypes.c_uint32),
        ("op0", ctypes.c_uint32),
        ("op1", ctypes.c_uint32),
        ("op2", ctypes.c_uint32),
        ("value", ctypes.c_uint64),
    )


# Without the lock's release around each call: the calls are short, and no thread waits for them.
_LIBRARY: Final = ctypes.PyDLL(None, handle=uclib._handle)


class Context:
    """A copy of the CPU's state, in Unicorn's own format.

    ``words`` and ``halves`` are the same memory as u64 and u32.
    """

    __slots__ = ("halves", "pointer", "words")

    def __init__(self, engine: ctypes.c_void_p, size: int) -> None:
        self.pointer = ctypes.c_void_p()
        _check("uc_context_alloc", _LIBRARY.uc_context_alloc(engine, ctypes.byref(self.pointer)))
        memory = (ctypes.c_char * (size & -8)).from_address(self.pointer.value or 0)
        weakref.finalize(memory, _LIBRARY.uc_context_free, self.pointer)  # the views keep it alive
        octets = memoryview(memory).cast("B")
        self.words = octets.cast("Q")
        self.halves = octets.cast("I")


class Engine:
    """One emulated AArch64 CPU at EL1, with ``arena`` as its physical memory.

    ``start()`` runs from the address in ``entry`` to the next exit: EXCEPTION. ``start_watched()``
    gives up after some hundred instructions: OK. It is not for every day: Unicorn counts by a hook,
    remembers each address that the hook was set for, and drops all translated code afterwards.
    ``restore()`` takes a context's ``pointer``. ``flush_tlb()`` and ``flush_code()`` forget cached
    translations, of addresses and of code.
    """

    def __init__(self, arena: Arena) -> None:
        self._arena = arena  # the engine uses its buffer
        self._handle = handle = ctypes.c_void_p()
        _check(
            "uc_open",
            _LIBRARY.uc_open(
                unicorn_const.UC_ARCH_ARM64, unicorn_const.UC_MODE_ARM, ctypes.byref(handle)
            ),
        )
        weakref.finalize(self, _LIBRARY.uc_close, handle)
        self._control(unicorn_const.UC_CTL_CPU_MODEL, arm64_const.UC_CPU_ARM64_MAX)
        self._control(unicorn_const.UC_CTL_UC_PAGE_SIZE, PAGE_SIZE)
        self._control(unicorn_const.UC_CTL_TCG_BUFFER_SIZE, _TRANSLATION_BUFFER)
        # Exit points are on, and there are none: the argument ``until`` of uc_emu_start() would
        # otherwise be one, and the guest could not fetch from that address.
        self._control(unicorn_const.UC_CTL_UC_USE_EXITS, 1)
        self._map(arena)
        _LIBRARY.uc_context_size.restype = ctypes.c_size_t
        self._context_size: int = _LIBRARY.uc_context_size(handle)
        self.entry = ctypes.c_uint64()
        self.start = self._starter(0)
        self.start_watched = self._starter(_WATCHDOG)
        self.restore: Callable[[ctypes.c_void_p], int] = partial(
            _LIBRARY.uc_context_restore, handle
        )
        self.flush_tlb: Callable[[], int] = self._controller(unicorn_const.UC_CTL_TLB_FLUSH)
        self.flush_code: Callable[[], int] = self._controller(unicorn_const.UC_CTL_TB_FLUSH)

    def snapshot(self) -> Context:
        """A new context with the CPU's present state."""
        context = Context(self._handle, self._context_size)
        _check("uc_context_save", _LIBRARY.uc_context_save(self._handle, context.pointer))
        return context

    @property
    def address(self) -> int:
        """Of Unicorn's own record of this engine."""
        return self._handle.value or 0

    def set_register(self, register: int, value: int) -> None:
        """Set one of X, Q, SP, NZCV."""
        data = (ctypes.c_uint64 * 2)(value & (1 << 64) - 1, value >> 64)
        _check("uc_reg_write", _LIBRARY.uc_reg_write(self._handle, register, data))

    def set_system(self, register: SystemRegister, value: int) -> None:
        """Set a system register."""
        op0, op1, crn, crm, op2 = register
        data = ctypes.byref(_SystemWrite(crn, crm, op0, op1, op2, value))
        _check(
            f"uc_reg_write {register}",
            _LIBRARY.uc_reg_write(self._handle, arm64_const.UC_ARM64_REG_CP_REG, data),
        )

    def _map(self, arena: Arena) -> None:
        base = ctypes.addressof(ctypes.c_char.from_buffer(arena.buffer))
        status = _LIBRARY.uc_mem_map_ptr(
            self._handle,
            ctypes.c_uint64(0),
            ctypes.c_size_t(ARENA_SIZE),
            ctypes.c_uint32(unicorn_const.UC_PROT_ALL),
            ctypes.c_void_p(base),
        )
        _check("uc_mem_map_ptr", status)

    def _starter(self, count: int) -> Callable[[], int]:
        # None is passed as a 64-bit 0, with nothing to be converted at each call.
        until = timeout = None
        limit = ctypes.c_size_t(count) if count else None
        return partial(_LIBRARY.uc_emu_start, self._handle, self.entry, until, timeout, limit)

    def _control(self, control: int, value: int) -> None:
        code = control | 1 << 26 | unicorn_const.UC_CTL_IO_WRITE << 30
        status = _LIBRARY.uc_ctl(self._handle, ctypes.c_uint32(code), ctypes.c_size_t(value))
        _check(f"uc_ctl {control}", status)

    def _controller(self, control: int) -> Callable[[], int]:
        code = ctypes.c_uint32(control | unicorn_const.UC_CTL_IO_WRITE << 30)
        return partial(_LIBRARY.uc_ctl, self._handle, code)


def _check(what: str, status: int) -> None:
    if status != OK:
        raise EmulatorError(f"Unicorn: {what} failed with error {status}")
