"""Several boxes that answer requests, each kept busy with a few ahead.

Boxes answer in the order of their requests. So when a box dies or does not answer in time, the
oldest of its requests is to blame and lost; the others are asked again.
"""

import selectors
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from emu.live.box import Box
from emu.live.console import ConsoleFinding
from emu.live.frames import FrameError, Unframer, framed
from emu.live.images import Image
from emu.live.needs import Needs
from emu.live.saved import Saved
from emu.live.trouble import BoxError

HASTY_DEATHS: Final = 5  # of one box, in a row, with no answer between: it never will answer
WINDOW: Final = 8  # requests that a box is ahead: more than it answers while we look elsewhere

_TAKEN: Final = 1 << 18


class Request(NamedTuple):
    """A frame's body, and the number that its answer will have."""

    number: int
    body: bytes


class Answer(NamedTuple):
    """What became of a request: a frame's body, or None and the reason why there is none.

    ``complaints`` are what the box's kernel complained of since the last answer that had any: it
    prints in its own time, so one may come some answers late.
    """

    number: int
    body: bytes | None
    lost: str
    complaints: tuple[ConsoleFinding, ...]


class _Lane:
    """One box, and the requests that it has not answered."""

    def __init__(self, box: Box) -> None:
        self.box: Final = box
        self.waiting: Final[deque[Request]] = deque()
        self.since = 0.0  # when the oldest of them came to be the oldest
        self.hasty_deaths = 0
        self._unsent = b""
        self._unframer = Unframer()
        box.channel.setblocking(False)

    @property
    def full(self) -> bool:
        return len(self.waiting) >= WINDOW

    @property
    def unsent(self) -> bool:
        return bool(self._unsent)

    def ask(self, request: Request) -> None:
        if not self.waiting:
            self.since = time.monotonic()
        self.waiting.append(request)
        self._unsent += framed(request.body)
        self.send()

    def send(self) -> None:
        # One that is gone is noticed when it is read from.
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._unsent = self._unsent[self.box.channel.send(self._unsent) :]

    def receive(self) -> list[Answer]:
        """The answers that are there; EOFError if there will be no more."""
        try:
            content = self.box.channel.recv(_TAKEN)
        except ConnectionResetError:
            content = b""
        bodies = self._unframer.feed(content)
        if not content or len(bodies) > len(self.waiting):
            raise EOFError
        if not bodies:
            return []
        complaints = self.box.console.news()
        self.since = time.monotonic()
        self.hasty_deaths = 0
        return [
            Answer(self.waiting.popleft().number, body, "", () if number else complaints)
            for number, body in enumerate(bodies)
        ]

    def revive(self) -> None:
        """The box anew, and asked again what it was asked."""
        again = list(self.waiting)
        self.waiting.clear()
        self.box.restart()
        self.box.channel.setblocking(False)
        self._unsent, self._unframer = b"", Unframer()
        for request in again:
            self.ask(request)


class Pool:
    """Boxes resumed from one saved machine. Not to be used by several threads.

    ``spent`` looks at an answer and says whether the box must start anew after it; it costs about
    a fifth of a second.
    """

    def __init__(
        self,
        image: Image,
        executor: Path,
        needed: Needs,
        *,
        boxes: int,
        limit: float,
        spent: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        """``limit``: seconds that a box may take for one request."""
        self._limit = limit
        self._spent = spent
        with ExitStack() as stack:
            self.saved: Final = Saved(image, executor, needed)
            stack.callback(self.saved.close)
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._lanes = [_Lane(stack.enter_context(Box(self.saved))) for _ in range(boxes)]
            self._stack = stack.pop_all()

    @property
    def restarts(self) -> int:
        """How often a box had to start anew."""
        return sum(lane.box.restarts for lane in self._lanes)

    def run(self, bodies: Iterable[bytes]) -> Generator[Answer, None, None]:
        """An answer for each, as they come; requests are taken from ``bodies`` as there is room.

        Whoever ends it early leaves requests behind, so every box that has any starts anew.
        """
        requests = (Request(number, body) for number, body in enumerate(bodies))
        for lane in self._lanes:
            self._watch(lane)
        try:
            while self._fill(requests):
                yield from self._answers()
        finally:
            # Not by its channel: a box that could not start anew has closed it.
            for key in list(self._selector.get_map().values()):
                self._selector.unregister(key.fileobj)
            for lane in self._lanes:
                if lane.waiting:
                    lane.waiting.clear()
                    lane.revive()

    def close(self) -> None:
        """Kill every box."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _fill(self, requests: Iterator[Request]) -> bool:
        """Keep every box ahead, the least busy first; whether anything is under way."""
        while any(not lane.full for lane in self._lanes):
            request = next(requests, None)
            if request is None:
                break
            min(self._lanes, key=lambda lane: len(lane.waiting)).ask(request)
        return any(lane.waiting for lane in self._lanes)

    def _answers(self) -> list[Answer]:
        """What comes until the next box is late; nothing is an answer too."""
        for lane in self._lanes:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if lane.unsent else 0)
            self._selector.modify(lane.box.channel, events, lane)
        found: list[Answer] = []
        for key, events in self._selector.select(self._patience()):
            ready: _Lane = key.data
            if events & selectors.EVENT_WRITE:
                ready.send()
            if events & selectors.EVENT_READ:
                found += self._received(ready)
        now = time.monotonic()
        for lane in self._lanes:
            if lane.waiting and now - lane.since > self._limit:
                found += self._lost(lane, f"no answer within {self._limit:g} s")
        return found

    def _patience(self) -> float:
        late = min((lane.since for lane in self._lanes if lane.waiting), default=0.0) + self._limit
        return max(late - time.monotonic(), 0.0) + 0.001

    def _received(self, lane: _Lane) -> list[Answer]:
        try:
            found = lane.receive()
        except EOFError:
            return self._lost(lane, f"the machine ended{lane.box.death()}")
        except FrameError as error:
            return self._lost(lane, str(error))
        if any(each.body is not None and self._spent(each.body) for each in found):
            self._revive(lane)
        return found

    def _lost(self, lane: _Lane, reason: str) -> list[Answer]:
        """The oldest request, if there is one, is given up; the box starts anew."""
        lane.hasty_deaths += 1
        if lane.hasty_deaths == HASTY_DEATHS:
            raise BoxError(f"{reason}: {HASTY_DEATHS} times in a row")
        complaints = lane.box.console.news()
        numbers = [lane.waiting.popleft().number] if lane.waiting else []
        self._revive(lane)
        return [Answer(number, None, reason, complaints) for number in numbers]

    def _revive(self, lane: _Lane) -> None:
        self._selector.unregister(lane.box.channel)
        lane.revive()
        self._watch(lane)

    def _watch(self, lane: _Lane) -> None:
        self._selector.register(lane.box.channel, selectors.EVENT_READ, lane)
