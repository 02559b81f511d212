"""The live machine: a real arm64 kernel plays the case, through the executor."""

import socket
from dataclasses import replace
from typing import Final, Protocol

from emu import wire
from emu.access import Access
from emu.case import Case
from emu.live import probes, protocol
from emu.live.channel import receive
from emu.live.console import ConsoleFinding
from emu.live.protocol import Answer, Failed, Kind, ProtocolError
from emu.live.trouble import BoxError
from emu.live.unsupported import Unsupported, objection
from emu.outcome import Outcomes

TIME_LIMIT: Final = 90.0  # seconds for a case; the executor's own is shorter
NESTED_TIME_LIMIT: Final = 270.0


class Port(Protocol):
    """What an executor is reached by: a box, or a process of this host."""

    @property
    def channel(self) -> socket.socket:
        """Bytes in both directions; another one after a restart."""

    @property
    def hello(self) -> bytes:
        """The frame with which the executor began."""

    @property
    def lacking(self) -> frozenset[Access]:
        """What its CPU is known not to do; about the rest it is asked."""

    def restart(self) -> None:
        """Start anew, whatever it is doing."""

    def death(self) -> str:
        """What is known of its end, to be put behind a message."""

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        """What its kernel complained of since this was last asked; nothing of a host's own."""


class LiveMachine:
    """An executor, and what its host can do. One case at a time."""

    def __init__(self, port: Port, kind: Kind = Kind.CASE) -> None:
        """``kind``: of the frames with a case, which says how it is played."""
        self._port = port
        self._kind = kind
        self._number = 0
        host = protocol.greeting(port.hello)
        self.host = replace(host, allocating=kind is Kind.ALLOCATING)
        if self.host.kvm:
            pages = self.host.page_size
            inert = probes.inert(self._play, pages, port.lacking)
            lax = probes.lax(self._play, pages)
            self.host = replace(self.host, inert=inert, lax=lax)

    def run(self, case: Case) -> Outcomes | Unsupported:
        """Play ``case`` on a fresh VM. BoxError where the machine gave it up; it goes on then."""
        answer = objection(case, self.host) or self._ask_or_restart(wire.encode(case))
        if isinstance(answer, Failed):
            raise BoxError(str(answer))
        if isinstance(answer, Unsupported) and answer.step == len(case.steps):
            return Unsupported(answer.reason, None)
        return answer

    def complaints(self) -> tuple[ConsoleFinding, ...]:
        """What the kernel complained of on its console since this was last asked."""
        return self._port.complaints()

    def ask(self, data: bytes) -> Answer:
        """The executor's answer to the bytes of a case, whatever this side makes of them."""
        self._number += 1
        channel = self._port.channel
        try:
            channel.settimeout(NESTED_TIME_LIMIT if self.host.nested else TIME_LIMIT)
            channel.sendall(protocol.frame(self._kind, self._number, data))
        except OSError as error:
            raise BoxError(f"the executor is gone: {error.strerror}") from None
        kind, number, body = protocol.opened(receive(channel))
        if number != self._number:
            raise ProtocolError(f"an answer to {number}, expected one to {self._number}")
        return protocol.answer(kind, body)

    def _ask_or_restart(self, data: bytes) -> Answer:
        try:
            return self.ask(data)
        except BoxError as error:
            death = self._port.death()
            self._port.restart()
            raise BoxError(f"{error}{death}") from None
        except ProtocolError:
            self._port.restart()
            raise

    def _play(self, case: Case) -> Outcomes:
        """What came of a case of ours, which any machine can play."""
        answer = self.ask(wire.encode(case))
        if not isinstance(answer, Outcomes):
            raise BoxError(f"the executor cannot play at all: {answer}")
        return answer
