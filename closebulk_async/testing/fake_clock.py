"""A clock whose time passes by itself, at once, and only when nothing else can happen.

`FakeClock` has the methods of the client's clock (`now`, `monotonic`, `sleep`, `timeout`) and `hold` for a server that
answers late on purpose. Client and simulator share one, so that a job of hours and the wait for it take
a fraction of a second, and every instant in the test is exact.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, insort
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from closebulk_async.testing.standstill import PATIENCE, Guard, StuckClockError, describe_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

# Any fixed instant would do; this one is far from a change of year, month or day.
START = datetime(2025, 6, 11, 12, 0, tzinfo=UTC)

# A callback made ready by I/O shows in the very turn after the bytes were sent (loopback delivers them in the sender's
# call). The rest is for a kernel under load, and still costs only some microseconds a turn.
QUIET_TURNS = 5

# A task that spins on `sleep(0)` until time passes would wait for ever for a clock that waits for the task.
BUSY_TURNS = 1000

_innermost: ContextVar[_Exchange | None] = ContextVar("closebulk_async.innermost_exchange", default=None)


class FakeClock:
    """Virtual time that jumps to the next deadline when the loop is idle and every request in flight is held.

    A *deadline* is the end of a `sleep` or of an open `timeout`. An open `timeout` block is a *request in flight*:
    bytes may be under way on a real socket, so time stands still until the block ends, its own task sleeps on this
    clock, or a server holds the request (`hold`). Blocks may nest: the innermost ones are the requests.

    With `auto=False` time passes only in `advance`. One event loop at a time may use a clock.

    Where a request in flight is neither answered nor held, time would stand still for ever. When nothing has happened
    for `patience` real seconds (None: never), such blocks and whoever waits in `settle` end with a `StuckClockError`,
    which says who held up time.
    """

    def __init__(self, start: datetime = START, *, auto: bool = True, patience: float | None = PATIENCE) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start must be an aware datetime, got {start!r}")
        self._start = start.astimezone(UTC)
        self._timeline = _Timeline(auto=auto, patience=patience)
        self._sleepers = 0

    def now(self) -> datetime:
        """The virtual instant, aware, in UTC, to the microsecond."""
        return self._start + timedelta(seconds=self._timeline.elapsed)

    def monotonic(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._timeline.elapsed

    @property
    def sleepers(self) -> int:
        """How many `sleep` calls wait for time to pass; `timeout` blocks are not counted."""
        return self._sleepers

    async def sleep(self, seconds: float) -> None:
        """Return when so many virtual seconds have passed; zero or less yields to the loop once."""
        if _checked(seconds) <= 0:
            await asyncio.sleep(0)
            return
        self._sleepers += 1
        try:
            with _waiting_for_time():
                await self._timeline.reach(self._timeline.elapsed + seconds)
        finally:
            self._sleepers -= 1

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[asyncio.Timeout]:
        """Bound one exchange with the outside like `asyncio.timeout`, in virtual seconds.

        `math.inf` sets no bound and only says that something is under way.
        """
        return _Exchange(self._timeline, _checked(seconds))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Say that the server keeps the request it works on waiting, so that time may pass meanwhile."""
        hold = self._timeline.begin_hold()
        try:
            yield
        finally:
            self._timeline.end_hold(hold)

    async def advance(self, seconds: float) -> None:
        """Let so many virtual seconds pass: all that falls due runs, in order, each with time to react.

        When this returns the clock stands exactly `seconds` later and everything that could run has run.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"time can only go forward by a finite number of seconds, got {seconds!r}")
        target = self._timeline.elapsed + seconds
        with _waiting_for_time():
            with self._timeline.going_to(target):
                await self._timeline.reach(target)
            await self._timeline.settle()

    async def settle(self) -> None:
        """Return when nothing can run any more without time passing.

        A `timeout` block around this call is no request in flight, as none is around `sleep` and `advance`: its task
        waits for the clock, and for no answer.
        """
        with _waiting_for_time():
            await self._timeline.settle()

    def describe(self) -> str:
        """For whoever wonders why a test hangs: the time, how many sleep, and what holds up time, in some lines."""
        passed = f"it is {self.now().isoformat(sep=' ')}, {self._timeline.elapsed:g} s after the start"
        return f"{passed}\nsleepers: {self._sleepers}, {self._timeline.describe()}"


class _Timeline:
    """The deadlines, what forbids a jump to the next of them, and the chain of loop turns that looks for quiet."""

    def __init__(self, *, auto: bool, patience: float | None) -> None:
        self.elapsed = 0.0
        self._auto = auto
        self._guard = Guard(self._give_up, patience=patience)
        self._serial = count()
        self._deadlines: list[tuple[float, int, Callable[[], None]]] = []
        self._exchanges: set[_Exchange] = set()
        self._holds: set[int] = set()
        self._targets: list[float] = []
        self._settling: list[asyncio.Future[None]] = []
        self._turning_in: asyncio.AbstractEventLoop | None = None
        self._quiet_turns = 0
        self._busy_turns = 0

    def describe(self) -> str:
        upcoming = self._deadlines[0][0] if self._deadlines else math.inf
        when = "nothing is due" if upcoming == math.inf else f"the next is due in {upcoming - self.elapsed:g} s"
        return f"{when}\n{self._describe_requests()}"

    def _describe_requests(self) -> str:
        asking = [exchange.task for exchange in self._exchanges if exchange.is_in_flight]
        lines = "".join(f"\n- {describe_task(task)}" for task in asking if task is not None)
        return f"requests in flight: {len(asking)}, held by a server: {len(self._holds)}{lines}"

    async def reach(self, at: float) -> None:
        reached = asyncio.get_running_loop().create_future()
        serial = self.add_deadline(at, lambda: _resolve(reached))
        try:
            await reached
        finally:
            self.discard_deadline(at, serial)

    async def settle(self) -> None:
        settled = asyncio.get_running_loop().create_future()
        self._settling.append(settled)
        self._changed()
        await settled

    @contextmanager
    def going_to(self, target: float) -> Iterator[None]:
        self._targets.append(target)
        try:
            yield
        finally:
            self._targets.remove(target)

    def add_deadline(self, at: float, wake: Callable[[], None]) -> int:
        serial = next(self._serial)
        # The serial is unique, so two callables are never compared and equal instants wake in order of arrival.
        insort(self._deadlines, (at, serial, wake))
        self._changed()
        return serial

    def discard_deadline(self, at: float, serial: int) -> None:
        index = bisect_left(self._deadlines, (at, serial), key=_instant_and_serial)
        # A deadline that was met is no longer there.
        if self._deadlines[index : index + 1] and self._deadlines[index][1] == serial:
            del self._deadlines[index]
        self._changed()

    def begin_exchange(self, exchange: _Exchange) -> None:
        self._exchanges.add(exchange)
        self._changed()

    def end_exchange(self, exchange: _Exchange) -> None:
        self._exchanges.discard(exchange)
        self._changed()

    def begin_hold(self) -> int:
        hold = next(self._serial)
        self._holds.add(hold)
        self._changed()
        return hold

    def end_hold(self, hold: int) -> None:
        self._holds.discard(hold)
        self._changed()

    def _changed(self) -> None:
        """Count quiet turns afresh. A chain of `call_soon` does it: a task would look like a leak to the tests."""
        self._quiet_turns = self._busy_turns = 0
        self._guard.rest()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # a handler that is finalised after its loop has ended still leaves its `hold`
        if self._turning_in is not loop:
            self._turning_in = loop
            loop.call_soon(self._turn)

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        # asyncio has no public way to ask whether anything else is ready. A loop without this attribute counts every
        # turn as quiet, which is right in all but long chains of callbacks.
        if getattr(loop, "_ready", None) and self._busy_turns < BUSY_TURNS:
            self._busy_turns += 1
            self._quiet_turns = 0
        else:
            self._quiet_turns += 1
        if self._quiet_turns < QUIET_TURNS:
            loop.call_soon(self._turn)
            return
        self._quiet_turns = self._busy_turns = 0
        may_pass = self._time_may_pass()
        if may_pass and self._step():
            loop.call_soon(self._turn)
            return
        self._turning_in = None
        if not may_pass:
            self._guard.watch()

    def _time_may_pass(self) -> bool:
        """Whether each request in flight can be matched with a hold of its own.

        A hold that began before a request was sent cannot be about it: it belongs to a client that has left.
        """
        requests = sorted((exchange.began for exchange in self._exchanges if exchange.is_in_flight), reverse=True)
        if len(self._holds) < len(requests):
            return False
        holds = sorted(self._holds, reverse=True)
        return all(held > sent for held, sent in zip(holds, requests, strict=False))

    def _give_up(self) -> None:
        """End what holds up time, and tell whoever waits until nothing can run any more."""
        message = (
            "time stands still: requests in flight are neither answered nor held. A server that answers late on "
            f"purpose says so with `clock.hold()`.\n{self._describe_requests()}"
        )
        for exchange in [exchange for exchange in self._exchanges if exchange.is_in_flight]:
            exchange.give_up(message)
        settling, self._settling = self._settling, []
        for future in settling:
            if not future.done():
                future.set_exception(StuckClockError(message))

    def _step(self) -> bool:
        """Do the one thing that is due on a quiet loop; False when there is nothing to do."""
        if self._settling:
            settled, self._settling = self._settling, []
            for future in settled:
                _resolve(future)
            return True
        upcoming = self._deadlines[0][0] if self._deadlines else math.inf
        if upcoming == math.inf or not (self._auto or upcoming <= max(self._targets, default=-math.inf)):
            return False
        self.elapsed = max(self.elapsed, upcoming)
        while self._deadlines and self._deadlines[0][0] <= self.elapsed:
            self._deadlines.pop(0)[2]()
        return True


class _Exchange:
    """One `timeout` block: `asyncio.timeout` without a deadline of its own, ended by the timeline."""

    def __init__(self, timeline: _Timeline, seconds: float) -> None:
        self.asleep = False
        self.task: asyncio.Task[object] | None = None
        self.began = -1
        self._timeline = timeline
        self._seconds = seconds
        self._inner = 0
        self._outer: _Exchange | None = None
        self._at = math.inf
        self._serial = -1
        self._stuck: str | None = None
        self._timeout = asyncio.timeout(None)

    @property
    def is_in_flight(self) -> bool:
        return not (self._inner or self.asleep)

    async def __aenter__(self) -> asyncio.Timeout:
        timeout = await self._timeout.__aenter__()
        self.task = asyncio.current_task()
        self._outer = _open_exchange()
        _innermost.set(self)
        self._at = self._timeline.elapsed + max(self._seconds, 0.0)
        self._serial = self._timeline.add_deadline(self._at, self._expire)
        # The outermost block dates the request: an inner one may be opened while the server already holds the answer.
        self.began = self._serial if self._outer is None else self._outer.began
        self._count_in_outer(1)
        self._timeline.begin_exchange(self)
        if self._seconds <= 0:
            self._expire()
        return timeout

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.task = None
        # Not `ContextVar.reset`: a generator may be closed in another context than the one that entered.
        _innermost.set(self._outer)
        self._count_in_outer(-1)
        self._timeline.discard_deadline(self._at, self._serial)
        self._timeline.end_exchange(self)
        try:
            await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError:
            if self._stuck is None:
                raise
            raise StuckClockError(self._stuck) from None

    def give_up(self, why: str) -> None:
        """End the block with a StuckClockError."""
        self._stuck = why
        self._expire()

    def _count_in_outer(self, change: int) -> None:
        if self._outer is not None:
            self._outer._inner += change  # noqa: SLF001 - the same class

    def _expire(self) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time())


@contextmanager
def _waiting_for_time() -> Iterator[None]:
    """While this task waits for the clock it waits for no answer: its own block is no request in flight."""
    exchange = _innermost.get()
    owner = exchange if exchange is not None and exchange.task is asyncio.current_task() else None
    if owner is None:
        yield
        return
    owner.asleep = True
    try:
        yield
    finally:
        owner.asleep = False


def _open_exchange() -> _Exchange | None:
    """The innermost block around this task that is still open; a task started in a block may outlive it."""
    exchange = _innermost.get()
    while exchange is not None and exchange.task is None:
        exchange = exchange._outer  # noqa: SLF001 - the same module
    return exchange


def _instant_and_serial(deadline: tuple[float, int, object]) -> tuple[float, int]:
    return deadline[:2]


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _checked(seconds: float) -> float:
    if math.isnan(seconds):
        raise ValueError("a duration must be a number of seconds, got nan")
    return seconds
