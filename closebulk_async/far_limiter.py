"""A limiter whose counts are kept elsewhere: requests wait in lines here, and somebody there is asked for places."""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from closebulk_async.clock import Alarm, Alarms, Clock
from closebulk_async.errors import TransportError
from closebulk_async.limiter import Priority, Sight
from closebulk_async.lines import Line, Waiter, refused
from closebulk_async.tasks import outlast

if TYPE_CHECKING:
    from collections.abc import Iterable

L = TypeVar("L", bound="FarLine")

logger: logging.Logger = logging.getLogger("closebulk_async")

LONGEST_PAUSE = 5.0
"""Seconds between two looks at most: what others learned may have made room."""


@attrs.define(eq=False)
class FarLine(Line):
    """The requests of one group that wait, and when somebody looks after them."""

    news: list[tuple[float, Sight | None]] = attrs.field(factory=list)
    """What became of places, and when, that is not told yet."""
    wait: float = math.inf
    """Seconds until the next may go, as of the last look; infinite where only an answer can make room."""
    stopped_until: float = -math.inf
    work: asyncio.Task[None] | None = None
    is_stirred: bool = False
    alarm: Alarm | None = None
    alarm_at: float = math.inf

    def cancel_alarm(self) -> None:
        """Nothing is to be looked after at that time any more."""
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm, self.alarm_at = None, math.inf


class FarLimiter(ABC, Generic[L]):
    """The lines of one process: a START goes before a CALL and that before a POLL.

    Each line is looked after by one task, which lives as long as there is something to do at once. Where nobody can be
    asked, who waits gets a TransportError of a request that was not sent, and what is to be told is told later.
    """

    def __init__(self, clock: Clock, make_line: type[L]) -> None:
        """Nothing is asked yet."""
        self._now = clock.monotonic
        self._alarms = Alarms(clock)
        self._make_line = make_line
        self._lines: dict[str, L] = {}
        self._is_closed = False

    async def acquire(self, group: str, *, priority: Priority, most: float = math.inf) -> None:
        """As `Limiter.acquire`. Among those of one priority in one process nobody is overtaken."""
        if self._is_closed:
            raise TransportError("its limiter was closed", request=group, sent=False)
        line = self._lines.get(group)
        if line is None:
            line = self._lines[group] = self._make_line(group)
        waiter = Waiter(asyncio.get_running_loop().create_future(), self._now() + most)
        line.join(waiter, priority)
        self._stir(line)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if line.drop(waiter):
                self.learn(group, Sight(was_sent=False))
            raise

    def learn(self, group: str, sight: Sight | None) -> None:
        """As `Limiter.learn`."""
        line, now = self._lines[group], self._now()
        line.news.append((now, sight))
        if sight is not None and sight.stopped_for is not None:
            line.stopped_until = max(line.stopped_until, now + sight.stopped_for)
            self._stir(line)
        elif line.waiting and line.wait == math.inf:
            self._stir(line)  # it may be what made room
        elif line.work is None:
            self._rest(line)

    async def aclose(self) -> None:
        """Tell what is to be told, and give back what is reserved. Nobody gets a place any more."""
        self._is_closed = True
        for line in self._lines.values():
            line.cancel_alarm()
            if line.news:
                self._stir(line)
        if await outlast([line.work for line in self._lines.values() if line.work is not None]):
            raise asyncio.CancelledError

    @abstractmethod
    async def _look_after(self, line: L) -> None:
        """Tell what is new, ask for places, and let go who may go. Whatever it raises, who waits is told."""

    @abstractmethod
    def _rest(self, line: L) -> None:
        """Let the next look be in time, where there is anything to look after."""

    def _stir(self, line: L) -> None:
        """Look after it: now, or again when that ends which is under way."""
        line.is_stirred = True
        if line.work is None:
            line.work = asyncio.get_running_loop().create_task(self._work(line), name="closebulk_async limiter")

    def _stir_in(self, line: L, seconds: float) -> None:
        """Look after it after so many seconds, or earlier."""
        if (at := self._now() + seconds) < line.alarm_at:
            line.cancel_alarm()
            line.alarm, line.alarm_at = self._alarms.set(seconds, partial(self._on_alarm, line)), at

    def _on_alarm(self, line: L) -> None:
        line.cancel_alarm()
        self._stir(line)

    async def _work(self, line: L) -> None:
        is_well = True
        try:
            while line.is_stirred:
                line.is_stirred, is_well = False, True
                line.cancel_alarm()
                try:
                    await self._look_after(line)
                except Exception as exc:  # noqa: BLE001 - whatever it is, nobody may wait for ever
                    is_well = False
                    self._fail(line, exc)
        finally:
            line.work = None
        if is_well:  # else the next one who comes tries again
            self._rest(line)

    def _let_go(self, line: L, priority: Priority) -> None:
        """A place is there for one of this rank or before; it is given back where nobody waits or nobody may go."""
        first = line.first()
        if first is not None and first <= priority and self._now() >= line.stopped_until:
            line.let_go(first)
        else:
            self.learn(line.group, Sight(was_sent=False))

    def _refuse_late(self, line: L, waiters: Iterable[Waiter]) -> None:
        """Refuse those who would wait longer than they may, and let an alarm refuse the others in time."""
        now = self._now()
        for waiter in waiters:
            if waiter.until <= now or waiter.until < line.stopped_until:
                self._refuse(line, waiter)
            else:
                self._refuse_in_time(line, waiter)

    def _refuse_in_time(self, line: L, waiter: Waiter) -> None:
        if waiter.until < math.inf and waiter.refusal is None:
            seconds = waiter.until - self._now()
            waiter.refusal = self._alarms.set(seconds, partial(self._refuse, line, waiter))

    def _refuse(self, line: L, waiter: Waiter) -> None:
        stopped_for = max(0.0, line.stopped_until - self._now())
        line.refuse(waiter, refused(line.group, max(stopped_for, line.wait if line.wait < math.inf else 0.0)))

    def _fail(self, line: L, exc: Exception) -> None:
        reason = f"the shared budget is out of reach: {str(exc) or type(exc).__name__}"
        if not line.waiting:
            logger.warning("%s: %s; what its answers showed is told to other processes later", line.group, reason)
        for _, waiter in list(line.in_order()):
            error = TransportError(reason, request=line.group, sent=False)
            error.__cause__ = exc
            line.refuse(waiter, error)
