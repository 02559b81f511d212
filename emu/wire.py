"""The spelling of a case for the fuzzer: a header of 4 bytes, then a record for each step.

``decode`` takes any bytes for a case: it pads, cuts and reduces. ``load`` takes only what
``encode`` makes, so that a damaged file is not run as another case.
"""

import struct
from typing import Final

from emu.case import PAGE_SIZES, Case, VcpuState, VmConfig
from emu.record import OPERATIONS, RECORD, pack_step, unpack_step
from emu.steps import Step

__all__ = [
    "HEADER",
    "MAX_STEPS",
    "RECORD",
    "VERSION",
    "WireError",
    "decode",
    "decode_record",
    "encode",
    "encode_step",
    "load",
]

VERSION: Final = 1
HEADER: Final = 4
MAX_STEPS: Final = 256

# Code 0 is the default, so that no bytes at all are a case with nothing special about its VM.
_IPA_SIZES: Final = (40, 32, 36, 42)
_VCPU_STATES: Final = (VcpuState.READY, VcpuState.UNINITIALIZED, VcpuState.UNFINALIZED)
_NISV_TO_USER: Final = 1
_SEA_TO_USER: Final = 2
_COLD: Final = 4
_NESTED: Final = 8
_PROTECTED: Final = 16
_MTE: Final = 32
_COHERENT: Final = 64
_VM_FLAGS: Final = 128  # how many sets of them there are
_PAGE_SHIFT: Final = 2  # of a page size's code, in the byte that starts with the IPA size's
_SIZES: Final = len(_IPA_SIZES) * len(PAGE_SIZES)

# Of headers and VMs that were met; there are a few thousand.
_VMS: Final[dict[bytes, VmConfig]] = {}
_HEADERS: Final[dict[VmConfig, bytes]] = {}

_MEMO: Final[dict[bytes, Step]] = {}  # of decode_record, which campaigns spend their time in
_MEMO_LIMIT: Final = 16_384

_RECORDS: Final = struct.Struct(f"{RECORD}s")


class WireError(ValueError):
    """The bytes are not what ``encode`` makes; ``str()`` is FILE: byte N: reason."""


def encode(case: Case) -> bytes:
    """The bytes of ``case``; ValueError where they have no room for it."""
    if len(case.steps) > MAX_STEPS:
        raise ValueError(f"{len(case.steps)} steps, of at most {MAX_STEPS}")
    header = _HEADERS.get(case.vm) or _header(case.vm)
    return header + b"".join(map(encode_step, case.steps))


def encode_step(step: Step) -> bytes:
    """The record of ``step``; ValueError where it has no room for one of the step's values."""
    try:
        record = pack_step(step)
        made = decode_record(record)
    except (KeyError, struct.error):
        raise _no_room(step) from None
    if made is not step and made != step:
        raise _no_room(step)
    return record


def _no_room(step: Step) -> ValueError:
    return ValueError(f"a record has no room for {step}")


def decode(data: bytes) -> Case:
    """The case that ``data`` stands for, whatever its bytes are."""
    count = min(max(len(data) - HEADER, 0) // RECORD, MAX_STEPS)
    body = data[HEADER : HEADER + count * RECORD]
    records = _RECORDS.iter_unpack(body)
    steps = tuple([_MEMO.get(record) or decode_record(record) for (record,) in records])
    return Case(_VMS.get(data[:HEADER]) or _reduced(data), steps)


def decode_record(record: bytes) -> Step:
    """The step that a record of ``RECORD`` bytes stands for, whatever they are."""
    step = _MEMO.get(record)
    if step is None:
        if len(_MEMO) >= _MEMO_LIMIT:
            _MEMO.clear()
        step = _MEMO[record] = unpack_step(record)
    return step


def _reduced(data: bytes) -> VmConfig:
    """The VM of a header that was not met before: short perhaps, or with codes of no meaning."""
    _, sizes, flags, vcpu = data[:HEADER].ljust(HEADER, b"\0")
    vm = _vm(sizes % _SIZES, flags % _VM_FLAGS, vcpu % len(_VCPU_STATES))
    _VMS[_header(vm)] = vm
    return vm


def _vm(sizes: int, flags: int, vcpu: int) -> VmConfig:
    return VmConfig(
        ipa_bits=_IPA_SIZES[sizes % len(_IPA_SIZES)],
        nisv_to_user=bool(flags & _NISV_TO_USER),
        sea_to_user=bool(flags & _SEA_TO_USER),
        cold=bool(flags & _COLD),
        vcpu=_VCPU_STATES[vcpu],
        page_size=PAGE_SIZES[sizes >> _PAGE_SHIFT],
        nested=bool(flags & _NESTED),
        protected=bool(flags & _PROTECTED),
        mte=bool(flags & _MTE),
        coherent=bool(flags & _COHERENT),
    )


def _header(vm: VmConfig) -> bytes:
    """The header of a VM; ValueError where it has no room for it."""
    flags = (
        vm.nisv_to_user * _NISV_TO_USER
        | vm.sea_to_user * _SEA_TO_USER
        | vm.cold * _COLD
        | vm.nested * _NESTED
        | vm.protected * _PROTECTED
        | vm.mte * _MTE
        | vm.coherent * _COHERENT
    )
    if vm.ipa_bits not in _IPA_SIZES or vm.page_size not in PAGE_SIZES:
        raise ValueError(f"a header has no room for {vm}")
    sizes = PAGE_SIZES.index(vm.page_size) << _PAGE_SHIFT | _IPA_SIZES.index(vm.ipa_bits)
    header = bytes((VERSION, sizes, flags, _VCPU_STATES.index(vm.vcpu)))
    _HEADERS[vm] = header
    return header


def load(data: bytes, name: str) -> Case:
    """The case in a file of that ``name``, which must hold exactly what ``encode`` makes."""
    case = decode(data)
    made = encode(case)
    if made != data:
        same = (index for index, (a, b) in enumerate(zip(data, made, strict=False)) if a != b)
        offset = next(same, min(len(data), len(made)))
        raise WireError(f"{name}: byte {offset}: {_reason(data, offset)}")
    return case


def _reason(data: bytes, offset: int) -> str:
    """Why ``data`` is not what ``encode`` makes, where it first differs at ``offset``."""
    step, field = divmod(offset - HEADER, RECORD)
    left = len(data) - offset
    if offset < HEADER and left == 0:
        return f"truncated header, {len(data)} of {HEADER} bytes"
    if offset == 0:
        return f"wrong version {data[0]:#04x}, expected {VERSION:#04x}"
    if offset < HEADER:
        return f"non-canonical field in the header, {data[offset]:#04x}"
    if step == MAX_STEPS:
        return f"too many records, expected at most {MAX_STEPS}"
    if field == 0 and left < RECORD:
        return f"truncated record, {left} of {RECORD} bytes"
    if field == 0:
        return f"unknown operation {data[offset]:#04x}, expected at most {OPERATIONS - 1:#04x}"
    return f"non-canonical field in record {step + 1}, {data[offset]:#04x}"
