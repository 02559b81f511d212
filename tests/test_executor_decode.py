"""The executor's reading of frames and cases, in the build that plays nothing."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from emu import wire
from emu.abi import Errno
from emu.access import Access
from emu.case import VCPUS, Case, VmConfig
from emu.injection import Site
from emu.live.protocol import Kind, Why, frame
from emu.live.unsupported import PLAYED
from emu.record import OPERATIONS, Op
from emu.steps import Age, Guest, Run, RunFlag, Skip, Step
from fuzz.mutation.mutate import Mutator
from tests.executor import answers, decoder, needs_compiler

pytestmark = needs_compiler

GOOD = wire.encode(Case(VmConfig(), (Guest(Access.READ64, None, 0x1000), Run(0))))
HEADER = wire.encode(Case(VmConfig(), ()))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder(tmp_path_factory.mktemp("decoder"))


def objections(program: Path, cases: list[bytes]) -> Iterator[tuple[int, int, int] | None]:
    """Why, step and value for each case that is not played."""
    asked = [frame(Kind.CASE, number, data) for number, data in enumerate(cases)]
    for expected, (kind, number, body) in enumerate(answers(program, asked)):
        assert number == expected
        assert kind in (Kind.OUTCOMES, Kind.UNSUPPORTED)
        yield struct.unpack("<III", body) if kind == Kind.UNSUPPORTED else None


BAD_FRAMES = [
    #  bytes                                        what is said
    (struct.pack("<I", 0), b"truncated frame"),
    (struct.pack("<I", 7) + b"1234567", b"truncated frame"),
    (struct.pack("<I", 0x20000) + bytes(0x20000), b"oversized frame"),
    (frame(0x7F, 5, b"x"), b"unknown kind of frame"),
    (frame(Kind.CASE, 5, b""), b"not a header and whole records"),
    (frame(Kind.CASE, 5, GOOD[:-1]), b"not a header and whole records"),
    (frame(Kind.CASE, 5, HEADER + 257 * bytes(wire.RECORD)), b"not a header and whole records"),
]


@pytest.mark.parametrize(("bad", "said"), BAD_FRAMES)
def test_a_bad_frame_is_answered_and_the_next_one_is_served(
    program: Path, bad: bytes, said: bytes
) -> None:
    error, served = answers(program, [bad, frame(Kind.CASE, 9, GOOD)])
    assert error[0] == Kind.ERROR
    assert error[2] == said
    assert served[:2] == (Kind.OUTCOMES, 9)


def test_a_traced_case_is_answered_as_one(program: Path) -> None:
    asked = [frame(Kind.TRACED, 3, GOOD), frame(Kind.CASE, 4, GOOD)]
    reached, plain = answers(program, asked)
    assert reached == (Kind.REACHED, 3, bytes(4))
    assert plain == (Kind.OUTCOMES, 4, b"")


def test_a_frame_that_the_end_of_input_cuts_short_ends_the_executor(program: Path) -> None:
    assert answers(program, [frame(Kind.CASE, 1, GOOD), frame(Kind.CASE, 2, GOOD)[:-3]]) == [
        (Kind.OUTCOMES, 1, b"")
    ]


NEW = [
    #  a record that a newer language may have                      why
    (bytes((OPERATIONS,)) + bytes(31), Why.NEW_OP),
    (bytes((255,)) + bytes(31), Why.NEW_OP),
    (wire.encode_step(Age(0)), Why.NEW_OP),
    (wire.encode_step(Skip())[:1] + bytes(30) + b"\1", Why.NEW_FIELD),
    (bytes((1, len(Access))) + bytes(30), Why.NEW_ACCESS),
    (bytes((Op.GUEST_L2, len(Access))) + bytes(30), Why.NEW_ACCESS),
    (bytes((Op.VCPU, VCPUS)) + bytes(30), Why.NEW_FIELD),
    (bytes((Op.FAIL, len(Site))) + bytes(30), Why.NEW_FIELD),
    (bytes((Op.FAIL, 0, len(Errno))) + bytes(29), Why.NEW_FIELD),
    (bytes((Op.FAIL, 0, 0, 255)) + bytes(28), Why.NEW_FIELD),
    (bytes((Op.L1_TABLE, 3)) + bytes(30), Why.NEW_FIELD),
    (bytes((Op.L1_MAP, 32)) + bytes(30), Why.NEW_FIELD),
    (bytes((Op.L1_VTCR, 4)) + bytes(30), Why.NEW_FIELD),
    (bytes((Op.MEMLOCK_LIMIT, 2)) + bytes(30), Why.NEW_FIELD),
    (wire.encode_step(Run(RunFlag.KILLED)), Why.NEW_RUN_FLAG),
    (wire.encode_step(Run(0))[:4] + struct.pack("<I", 1 << 20) + bytes(24), Why.NEW_RUN_FLAG),
]


@pytest.mark.parametrize(("record", "why"), NEW)
def test_what_the_executor_does_not_know_is_refused_with_its_step(
    program: Path, record: bytes, why: Why
) -> None:
    (found,) = objections(program, [GOOD + record])
    assert found is not None
    assert found[:2] == (why, 2)


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_vm_of_a_newer_language_is_refused(program: Path, place: int) -> None:
    header = bytearray(GOOD)
    header[place] = 0xFF
    (found,) = objections(program, [bytes(header)])
    assert found is not None
    assert found[0] == Why.NEW_VM


def test_another_version_of_the_bytes_is_refused(program: Path) -> None:
    assert list(objections(program, [b"\2" + GOOD[1:]])) == [(Why.BAD_VERSION, 2, 2)]


def test_every_access_is_played_or_refused_as_the_tables_say(program: Path) -> None:
    steps: list[Step] = [Guest(access, None, 0x1000) for access in Access]
    found = objections(program, [wire.encode(Case(VmConfig(), (step,))) for step in steps])
    refused = [each is not None for each in found]
    assert refused == [access not in PLAYED for access in Access]


def test_mutated_cases_and_noise_never_upset_the_executor(program: Path) -> None:
    rng = random.Random(20)  # noqa: S311 - a seed, so that a failure can be repeated
    mutator = Mutator(rng)
    data = HEADER
    asked = []
    for number in range(2000):
        data = mutator.mutate(data)
        noise = bytearray(data)
        for _ in range(rng.randrange(3)):
            noise[rng.randrange(len(noise))] = rng.randrange(256)
        asked.append(frame(Kind.CASE, number, bytes(noise[: rng.randrange(1, len(noise) + 1)])))
        asked.append(frame(rng.randrange(256), number, rng.randbytes(rng.randrange(64))))
    assert len(answers(program, asked)) == len(asked)
