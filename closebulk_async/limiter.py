"""Who may send when: requests of an endpoint group wait in line until its budget has room for them."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

import attrs

from closebulk_async.budget import Budget, Priority, Sight
from closebulk_async.clock import Alarm, Alarms, Clock
from closebulk_async.lines import Line, Waiter, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["Limiter", "MemoryLimiter", "Priority", "Sight"]


class Limiter(Protocol):
    """Lets requests through as fast as the service allows. One serves all clients of a key, in one loop.

    An implementation of one's own may keep its counts where several processes share them. It promises three things:
    that a group of which a `Sight` said `stopped_for` gets no place before that has passed, that who waits gets a place
    in the end, and that a START goes before a CALL and that before a POLL. Whatever else it promises is its own. What
    `acquire` raises is a TransportError of a request that was not sent, for a poll one that failed; what `learn` raises
    is logged.
    """

    def acquire(self, group: str, *, priority: Priority, most: float) -> Awaitable[None] | None:
        """Reserve a place for one request: None where there is one at once, else what has to be awaited for it.

        `async def acquire(...) -> None` does as well. Raises RateLimitedError (its `status` None, because nothing was
        sent) where no place comes within `most` seconds, which may be infinite. Who is cancelled has no place.
        """

    def learn(self, group: str, sight: Sight | None) -> None:
        """What came of a request that had a place, once for each. Must not block.

        None where there was no answer: the service may have counted it, or not. A `Sight` that says `was_sent=False`
        gives up a place that was not used.
        """


@attrs.define(eq=False)
class _Line(Line):
    """The requests of one group that wait, and its budget."""

    budget: Budget = attrs.field(factory=Budget)
    alarm: Alarm | None = None
    alarm_at: float = math.inf

    def cancel_alarm(self) -> None:
        """Nobody waits for it any more, or it would ring too late."""
        if self.alarm is not None:
            self.alarm.cancel()
        self.alarm, self.alarm_at = None, math.inf


class MemoryLimiter:
    """The limiter of one process: it learns limits from answers, paces requests over each window, and keeps order.

    What other processes use up shows in the answers. One timer serves all groups; without anybody in line there is
    none.
    """

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet: groups are probed with a few requests until an answer shows their limit."""
        self._now = clock.monotonic
        self._alarms = Alarms(clock)
        self._lines: dict[str, _Line] = {}

    def acquire(self, group: str, *, priority: Priority, most: float = math.inf) -> Awaitable[None] | None:
        """As `Limiter.acquire`. Among those of one priority nobody is overtaken."""
        line = self._lines.get(group)
        if line is None:
            line = self._lines[group] = _Line(group)
        now = self._now()
        if not line.waiting or (first := line.first()) is None or first > priority:
            wait = line.budget.wait(priority, now=now)
            if not wait:
                line.budget.take(priority, now=now)
                return None
        if (stopped_for := line.budget.stopped_for(now=now)) > most:
            raise refused(group, stopped_for)
        return self._wait(line, priority, most)

    def learn(self, group: str, sight: Sight | None) -> None:
        """As `Limiter.learn`."""
        line, now = self._lines[group], self._now()
        line.budget.learn(sight, now=now)
        if not line.waiting:
            return
        if sight is not None and sight.stopped_for is not None:
            self._refuse_hopeless(line, now + line.budget.stopped_for(now=now))
        self._serve(line)

    async def _wait(self, line: _Line, priority: Priority, most: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        waiter = Waiter(turn, self._now() + most)
        line.join(waiter, priority)
        try:
            self._serve(line)
            if most < math.inf and not turn.done():  # after the alarm, which rings first if both are of one instant
                waiter.refusal = self._alarms.set(most, lambda: self._refuse(line, waiter))
            await turn
        except asyncio.CancelledError:
            if line.drop(waiter):
                line.budget.give_back()
            self._serve(line)
            raise

    def _serve(self, line: _Line) -> None:
        """Let go who may go, and set the alarm for the next."""
        now = self._now()
        while (priority := line.first()) is not None:
            wait = line.budget.wait(priority, now=now)
            if wait:
                if now + wait < line.alarm_at and wait < math.inf:
                    line.cancel_alarm()
                    line.alarm = self._alarms.set(wait, lambda: self._on_alarm(line))
                    line.alarm_at = now + wait
                return
            line.budget.take(priority, now=now)
            line.let_go(priority)
        line.cancel_alarm()

    def _on_alarm(self, line: _Line) -> None:
        line.cancel_alarm()
        self._serve(line)

    def _refuse_hopeless(self, line: _Line, stopped_until: float) -> None:
        for _, waiter in list(line.in_order()):
            if waiter.until < stopped_until:
                self._refuse(line, waiter)

    def _refuse(self, line: _Line, waiter: Waiter) -> None:
        if not waiter.turn.done():
            line.refuse(waiter, refused(line.group, self._seconds_left(line)))
            self._serve(line)

    def _seconds_left(self, line: _Line) -> float:
        now = self._now()
        wait = line.budget.wait(Priority.CALL, now=now)
        return wait if wait < math.inf else 0.0
