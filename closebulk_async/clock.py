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


class Alarms:
    """Any number of alarms on one heap and one sleeping task, which lives as long as an alarm is set.

    Callbacks run in that task: they must not block, and what they raise goes to the loop's exception handler.
    """

    def __init__(self, clock: Clock) -> None:
        """Nothing runs before the first alarm is set."""
        self._clock = clock
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()  # breaks ties: alarms of one moment ring in the order in which they were set
        self._pending = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    def set(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Call back once, so many seconds from now."""
        alarm = Alarm(callback, self)
        heapq.heappush(self._heap, (self._clock.monotonic() + max(0.0, seconds), next(self._numbers), alarm))
        self._pending += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ring(), name="closebulk_async alarms")
        elif self._heap[0][2] is alarm:
            self._changed.set()
        return alarm

    def forget_one(self) -> None:
        """For `Alarm.cancel`: the entry stays in the heap, but when none is left that can ring, the task ends."""
        self._pending -= 1
        if not self._pending:
            self._heap.clear()
            self._changed.set()
        elif len(self._heap) > 2 * self._pending + _SLACK:
            # A wait that polls for a week cancels and sets its heartbeat at each step: what was cancelled must go.
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)

    async def wait_ended(self) -> None:
        """After the last alarm was cancelled: until the task has ended."""
        if self._task is not None and not self._pending:
            await asyncio.wait({self._task})

    async def _ring(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._heap:
                when, _, alarm = self._heap[0]
                if alarm.callback is not None and (delay := when - self._clock.monotonic()) > 0:
                    await self._sleep(delay)
                    continue
                heapq.heappop(self._heap)
                if (callback := alarm.callback) is not None:
                    alarm.callback = None
                    self._pending -= 1
                    loop.call_soon(callback)
                    # The callback may set the next alarm: without this turn the task could end and begin anew each
                    # time.
                    await asyncio.sleep(0)
        finally:
            self._task = None

    async def _sleep(self, delay: float) -> None:
        """Until the delay is over, or an earlier alarm was set, or none is left."""
        self._changed.clear()
        timer = asyncio.ensure_future(self._clock.sleep(delay))
        # Not when it is cancelled below: that would wake the next sleep at once, and so on for ever.
        timer.add_done_callback(lambda timer: None if timer.cancelled() else self._changed.set())
        try:
            await self._changed.wait()
        finally:
            timer.cancel()


_SLACK = 64
"""Cancelled alarms that a heap may hold beside the live ones before it is rebuilt."""
