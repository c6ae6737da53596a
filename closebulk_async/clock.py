"""Time as a parameter: what the package asks of a clock, the real one, and many alarms on one timer."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class Clock(Protocol):
    """Where the package reads time and waits. `closebulk_async.testing.FakeClock` is one whose time a test controls."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed instant; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds; zero and less let other tasks run once."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound one exchange with the outside, raising TimeoutError as `asyncio.timeout` does.

        A clock of a test takes the open block as «somebody waits for an answer» and does not go on by itself meanwhile.
        """


@attrs.frozen
class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed instant; never goes back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise TimeoutError out of the block after so many seconds."""
        return asyncio.timeout(seconds)


@attrs.define(eq=False)
class Alarm:
    """One moment at which a callback is due. `cancel()` may be called at any time, also after it rang."""

    callback: Callable[[], None] | None
    _alarms: Alarms

    def cancel(self) -> None:
        """Let the moment pass without a call."""
        if self.callback is not None:
            self.callback = None
            self._alarms.forget_one()

    def ring(self) -> None:
        """For `Alarms`: call back, unless it was cancelled since the moment came."""
        callback, self.callback = self.callback, None
        if callback is not None:
            self._alarms.count_rung()
            callback()


class Alarms:
    """Any number of alarms on one heap and one sleeping task, which lives as long as an alarm is set.

    Callbacks are called by the loop: they must not block, and what they raise goes to the loop's exception handler.
    """

    def __init__(self, clock: Clock) -> None:
        """Nothing runs before the first alarm is set."""
        self._clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()  # breaks ties: alarms of one moment ring in the order in which they were set
        self._pending = 0
        self._task: asyncio.Task[None] | None = None
        self._is_asleep = False
        self._ending: set[asyncio.Task[None]] = set()

    def set(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Call back once, so many seconds from now."""
        alarm = Alarm(callback, self)
        heapq.heappush(self._heap, (self._clock.monotonic() + seconds, next(self._numbers), alarm))
        self._pending += 1
        if self._is_asleep and self._heap[0][2] is alarm:
            self._stop()  # it sleeps for too long
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ring(), name="closebulk_async alarms")
        return alarm

    def forget_one(self) -> None:
        """For `Alarm.cancel`: the entry stays in the heap, but when none is left that can ring, the task ends."""
        self._pending -= 1
        if not self._pending:
            self._heap.clear()
            self._stop()
        elif len(self._heap) > 2 * self._pending + _SLACK:
            # A wait that polls for a week cancels and sets its heartbeat at each step: what was cancelled must go.
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)

    def count_rung(self) -> None:
        """For `Alarm.ring`."""
        self._pending -= 1

    async def wait_ended(self) -> None:
        """Until no task is left that has nothing more to ring for. Alarms that are set meanwhile do not prolong it."""
        if self._ending:
            await asyncio.wait(self._ending)

    def _stop(self) -> None:
        """Let go of the task at once: an alarm that is set before it has ended gets another one."""
        task, self._task, self._is_asleep = self._task, None, False
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()

    async def _ring(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        try:
            while self._task is task and self._heap:
                when, _, alarm = self._heap[0]
                if alarm.callback is not None and (delay := when - self._clock.monotonic()) > 0:
                    self._is_asleep = True
                    await self._clock.sleep(delay)
                    self._is_asleep = False
                    continue
                heapq.heappop(self._heap)
                if alarm.callback is not None:
                    loop.call_soon(alarm.ring)
                    # The callback may set the next alarm: without this turn the task could end and begin anew each
                    # time.
                    await asyncio.sleep(0)
        finally:
            if self._task is task:
                self._task, self._is_asleep = None, False


_SLACK = 64
"""Cancelled alarms that a heap may hold beside the live ones before it is rebuilt."""
