"""A service whose jobs run on paper, asked by one poller: how often it was asked, and what it answered."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Coroutine
from typing import Protocol, TypeAlias

import attrs

from benchmarks.paper import PaperJob

Wait: TypeAlias = Callable[[], Coroutine[object, object, object]]
"""What one awaiter of a job awaits: it returns or raises when its library says that the job has ended."""


class Oddity(enum.Enum):
    """What the second read of a job meets, once."""

    UNAVAILABLE = "503"
    NEW_WORD = "status"


class Stage(Protocol):
    """A poller and its service, on a virtual clock. Jobs run one after the other; requests take no time."""

    @property
    def reads(self) -> int:
        """How often the status of a job was asked for so far."""

    @property
    def writes(self) -> int:
        """How many requests so far were to change something, those that start a job excepted."""

    def now(self) -> float:
        """The virtual instant, in seconds."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many virtual seconds."""

    async def begin(self, job: PaperJob, oddity: Oddity | None = None) -> Wait:
        """Let a job begin at this instant, and hand it to the poller as its library has it."""


class Word(enum.Enum):
    """What a service says of a job; each peer's stub spells it as the library's own service does."""

    RUNNING = "running"
    ENDED = "ended"
    NEW = "one that the library's version does not know"


HandOver: TypeAlias = Callable[["PaperStage"], Coroutine[object, object, Wait]]
"""Gives the job that has just begun to a library."""


@attrs.define(eq=False)
class PaperStage:
    """The stage of a library behind a stub of its transport, on a `VirtualLoop`.

    The stub of the transport calls `read` for each status that the library asks for.
    """

    hand_over: HandOver
    reads: int = 0
    writes: int = 0
    _job: PaperJob | None = None
    _began: float = 0.0
    _oddity: Oddity | None = None
    _asked: int = 0

    def now(self) -> float:
        """The running loop's time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds of the loop."""
        await asyncio.sleep(seconds)

    async def begin(self, job: PaperJob, oddity: Oddity | None = None) -> Wait:
        """Let the job begin now; earlier ones are forgotten."""
        self._job, self._began, self._oddity, self._asked = job, self.now(), oddity, 0
        return await self.hand_over(self)

    def read(self) -> Word | None:
        """What a read at this instant says; None for a 503."""
        if self._job is None:
            raise RuntimeError("no job has begun")
        self.reads += 1
        self._asked += 1
        oddity = self._oddity if self._asked == 2 else None
        if oddity is Oddity.UNAVAILABLE:
            return None
        if oddity is Oddity.NEW_WORD:
            return Word.NEW
        _, is_final = self._job.look(self.now() - self._began)
        return Word.ENDED if is_final else Word.RUNNING
