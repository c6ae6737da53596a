"""`Wait`: what `wait_until_done` returns, an async generator of progress that can also be awaited."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar, cast, get_args
from weakref import WeakMethod

import attrs

from closebulk_async.errors import (
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    InvalidRequestError,
    WaitClosedError,
    WaitError,
    WaitTimeout,
    WatchLostError,
)
from closebulk_async.models import PHASE_OF_STATUS, BulkAction, JobRef
from closebulk_async.policy import Duration, to_seconds_or_none
from closebulk_async.progress import Meter, Progress

if TYPE_CHECKING:
    from types import TracebackType

    from closebulk_async.clock import Alarm
    from closebulk_async.watching import Watch, Watcher

A_co = TypeVar("A_co", bound=BulkAction, covariant=True)

OnPaused: TypeAlias = Literal["wait", "raise", "return"]
"""What a wait does when the action is paused: go on, raise `BulkActionPaused`, or end with the paused action."""


@attrs.frozen(kw_only=True)
class WaitOptions:
    """How one waiter waits. Durations in seconds."""

    timeout: float | None = None
    stall_timeout: float | None = None
    heartbeat: float | None = None
    on_paused: OnPaused = "wait"

    @classmethod
    def from_keywords(
        cls,
        *,
        timeout: Duration | None = None,
        stall_timeout: Duration | None = None,
        heartbeat: Duration | None = None,
        on_paused: OnPaused = "wait",
    ) -> Self:
        """Take the keywords of `wait_until_done`. Raises InvalidRequestError."""
        return cls(
            timeout=to_seconds_or_none(timeout, name="timeout"),
            stall_timeout=to_seconds_or_none(stall_timeout, name="stall_timeout"),
            heartbeat=to_seconds_or_none(heartbeat, name="heartbeat"),
            on_paused=on_paused,
        )

    def __attrs_post_init__(self) -> None:
        if self.on_paused not in get_args(OnPaused):
            message = f"on_paused must be one of {', '.join(get_args(OnPaused))} and is {self.on_paused!r}"
            raise InvalidRequestError(message)
        if self.heartbeat == 0:
            message = "heartbeat must be longer than 0: it is the time between two steps while nothing moves"
            raise InvalidRequestError(message)
        if self.stall_timeout == 0:
            message = "stall_timeout must be longer than 0: it is the time between two polls that show the same"
            raise InvalidRequestError(message)


class Wait(AsyncGenerator[Progress[A_co], None], Generic[A_co]):
    """A wait for the end of one action. Iterate over it for progress, await it for the action, or do both.

    Polling begins with the first step or await and is shared with every other wait on the same action. Both ways give
    one outcome: `await` returns the action, or raises BulkActionFailed, BulkActionPaused, BulkActionStalled,
    WaitTimeout, WatchLostError, the API's error where the action cannot be read (401, 403, 404), or
    ClientClosedError. Iterating yields the last progress first, and then ends or raises the same.

    A consumer that is slower than the polls gets the newest progress; the final one is never lost. Leaving (`aclose`,
    `async with`, a cancelled task, the last reference) ends the polls and never touches the action itself.
    """

    def __init__(self, watcher: Watcher, ref: JobRef[A_co], options: WaitOptions) -> None:
        """Made by `wait_until_done`. Nothing is polled yet."""
        self.ref = ref
        self._watcher = watcher
        self._options = options
        self._watch: Watch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_used = False
        self._is_attached = False
        self._started_at: float | None = None
        self._polls_before = 0
        self._last: Progress[A_co] | None = None
        self._alarms: dict[str, Alarm] = {}
        self._expired_at: float | None = None
        self._shown: tuple[object, ...] | None = None
        self._is_dirty = False
        self._is_beat_due = False
        self._ended_at: float | None = None
        self._action: A_co | None = None
        self._error: Exception | None = None
        self._has_raised = False
        self._is_iterating = False
        self._consumers: set[asyncio.Future[None]] = set()

    # What a consumer calls ------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, A_co]:
        return self.result().__await__()

    def result(self) -> Coroutine[Any, Any, A_co]:
        """The action once it is done; what else may happen stands at the class. A coroutine, for `create_task`."""
        self._is_used = True  # also where its task is cancelled before it has begun
        return self._wait_for_end()

    async def _wait_for_end(self) -> A_co:
        self._attach()
        while self._ended_at is None:
            await self._wait_for_news()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return cast("A_co", self._action)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Progress[A_co]:
        if self._is_iterating:
            message = "two consumers iterate over this wait: give each its own, they share the polls"
            raise WaitClosedError(message, ref=self.ref)
        self._is_used = self._is_iterating = True
        try:
            self._attach()
            self._set_alarm("heartbeat", self._options.heartbeat, self._on_heartbeat)
            while True:
                if self._is_dirty:
                    return self._take_progress(changed=True)
                if self._ended_at is not None:
                    return self._raise_end()
                if self._is_beat_due:
                    return self._take_progress(changed=False)
                await self._wait_for_news()
        finally:
            self._is_iterating = False
            self._cancel_alarm("heartbeat")

    async def asend(self, value: object) -> Progress[A_co]:
        """The next progress. There is nothing to send: any other value raises InvalidRequestError."""
        if value is not None:
            message = f"a wait takes nothing, and was sent {value!r}"
            raise InvalidRequestError(message)
        return await self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Progress[A_co]:
        """Close the wait and raise what was thrown."""
        await self.aclose()
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        raise error.with_traceback(tb)

    async def aclose(self) -> None:
        """Leave. Whoever awaits the outcome after this gets it if it was known, else WaitClosedError."""
        self._is_used = True
        if self._ended_at is None:
            self._end(error=self._wait_error(WaitClosedError, "the wait was closed before the action had ended"))
            self._has_raised = True  # an iteration just ends
        self._is_dirty = False
        if self._watch is not None:
            await self._watch.wait_ended()
        await self._watcher.alarms.wait_ended()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if not self._is_used:
            warnings.warn(
                f"wait_until_done() of {self.ref} was never awaited nor iterated",
                RuntimeWarning,
                stacklevel=1,
                source=self,
            )
        if self._is_attached and self._loop is not None and self._watch is not None:
            # The collector may run in any thread, and alarms and tasks belong to the loop's.
            with suppress(RuntimeError):  # the loop is closed, and with it all that could be left
                self._loop.call_soon_threadsafe(_clear_up, self._watch, list(self._alarms.values()))

    # What the watch calls -------------------------------------------------------------------------------------------

    def on_poll(self) -> None:
        """Take in what the watch shows: progress, an end, or a reason to end."""
        watch = cast("Watch", self._watch)
        if watch.failure is not None:
            self._end(error=self._explain(watch))
            return
        if watch.is_fresh and (meter := watch.meter) is not None:
            shown = (meter.moved_at, meter.action.status, meter.processed, meter.total)
            if shown != self._shown:
                self._shown, self._is_dirty = shown, True
            self._judge(meter)
        if self._ended_at is None and self._expired_at is not None and watch.polled_at >= self._expired_at:
            self._on_last_look()
        self._wake()

    def stall_due_in(self) -> float | None:
        """Seconds until a stall could be stated: the poll that states it should not come later."""
        watch, limit = cast("Watch", self._watch), self._options.stall_timeout
        if limit is None or watch.meter is None or watch.meter.action.is_paused:
            return None
        return max(0.0, limit - watch.meter.stalled_for)

    def _judge(self, meter: Meter[A_co]) -> None:
        """End the wait where the latest good poll is a reason to: the status first, the clocks after it."""
        action = meter.action
        if action.is_done:
            self._end(action=action)
        elif action.is_failed:
            self._end(error=self._wait_error(BulkActionFailed, "the action failed; the API gives no reason"))
        elif action.is_paused:
            self._judge_pause(meter)
        elif (limit := self._stall_limit(action)) is not None and meter.stalled_for >= limit:
            message = f"neither a counter nor the status moved for {timedelta(seconds=meter.stalled_for)}"
            self._end(error=self._wait_error(BulkActionStalled, message))

    def _judge_pause(self, meter: Meter[A_co]) -> None:
        policy, since = self._watcher.policy, meter.paused_since
        if since is not None and (self._watcher.clock.now() - since).total_seconds() > policy.resumable:
            message = f"paused since {since.isoformat()}: too long ago to be resumed"
            self._end(error=self._wait_error(BulkActionPaused, message))
        elif self._options.on_paused == "raise":
            self._end(error=self._wait_error(BulkActionPaused, "the action is paused"))
        elif self._options.on_paused == "return":
            self._end(action=meter.action)

    def _stall_limit(self, action: BulkAction) -> float | None:
        if self._options.stall_timeout is None and action.status not in PHASE_OF_STATUS:
            return self._watcher.policy.unknown_stall
        return self._options.stall_timeout

    def _explain(self, watch: Watch) -> Exception:
        failure = cast("Exception", watch.failure)
        if not watch.is_lost:
            return failure
        silence = timedelta(seconds=self._watcher.policy.lost_after)
        error = self._wait_error(WatchLostError, f"no poll succeeded for {silence}; the last one: {failure}")
        error.__cause__ = failure
        return error

    # Timers ---------------------------------------------------------------------------------------------------------

    def _on_timeout(self) -> None:
        self._expired_at = self._watcher.clock.monotonic()
        cast("Watch", self._watch).poll_now()
        self._set_alarm("last look", self._watcher.policy.last_look, self._on_last_look)

    def _on_last_look(self) -> None:
        watch, passed = cast("Watch", self._watch), timedelta(seconds=cast("float", self._options.timeout))
        if watch.meter is not None:
            self._end(error=self._wait_error(WaitTimeout, f"still running after {passed}; the job goes on"))
            return
        # Nobody knows whether it runs: say so, and why.
        error = self._wait_error(
            WaitTimeout, f"its status could not be read within {passed}: {watch.last_error or 'no answer yet'}"
        )
        error.__cause__ = watch.last_error
        self._end(error=error)

    def _on_heartbeat(self) -> None:
        self._is_beat_due = cast("Watch", self._watch).meter is not None
        self._wake()

    def _set_alarm(self, name: str, seconds: float | None, callback: Callable[[], None]) -> None:
        """Set an alarm that does not keep this wait alive: a wait that nobody holds has been left."""
        self._cancel_alarm(name)
        if seconds is None or self._ended_at is not None:
            return
        method = WeakMethod(callback)

        def ring() -> None:
            if (callback := method()) is not None:
                callback()

        self._alarms[name] = self._watcher.alarms.set(seconds, ring)

    def _cancel_alarm(self, name: str) -> None:
        alarm = self._alarms.pop(name, None)
        if alarm is not None:
            alarm.cancel()

    # Inside ---------------------------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Join the watch of the action: at the first use, and again after every consumer had left."""
        if self._is_attached or self._ended_at is not None:
            return
        now = self._watcher.clock.monotonic()
        if self._started_at is None:
            self._started_at = now
        polls = self._count_polls()
        self._watch = self._watcher.watch(self.ref, after=self._watch)
        self._polls_before = self._watch.polls - polls
        self._loop = asyncio.get_running_loop()
        self._is_attached = True
        if self._options.timeout is not None:
            self._set_alarm("timeout", self._started_at + self._options.timeout - now, self._on_timeout)
        self._watch.join(self)
        self.on_poll()

    def _detach(self) -> None:
        for name in list(self._alarms):
            self._cancel_alarm(name)
        if self._is_attached:
            self._is_attached = False
            cast("Watch", self._watch).leave(self)

    async def _wait_for_news(self) -> None:
        watch = cast("Watch", self._watch)
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._consumers.add(news)
        watch.keep(self)
        try:
            await news
        except asyncio.CancelledError:
            if self._consumers <= {news}:
                self._detach()
            raise
        finally:
            self._consumers.discard(news)
            if not self._consumers:
                watch.release(self)

    def _wake(self) -> None:
        for news in self._consumers:
            if not news.done():
                news.set_result(None)

    def _end(self, *, action: A_co | None = None, error: Exception | None = None) -> None:
        if self._ended_at is None:
            self._ended_at = self._watcher.clock.monotonic()
            self._action, self._error = action, error
            # Kept as it is: others may go on to poll, and what a slow consumer takes later must fit this end.
            self._last = self._progress(changed=True)
            self._detach()
            self._wake()

    def _raise_end(self) -> Progress[A_co]:
        if self._error is None or self._has_raised:
            raise StopAsyncIteration
        self._has_raised = True
        raise self._error.with_traceback(None)

    def _take_progress(self, *, changed: bool) -> Progress[A_co]:
        self._is_dirty = self._is_beat_due = False
        return self._last or cast("Progress[A_co]", self._progress(changed=changed))

    def _progress(self, *, changed: bool) -> Progress[A_co] | None:
        watch = self._watch
        if watch is None or watch.meter is None or self._started_at is None:
            return None
        meter, now = watch.meter, self._watcher.clock.monotonic()
        is_failed = isinstance(self._error, BulkActionFailed)
        return Progress(
            action=meter.action,
            n_objects_processed=meter.processed,
            n_objects=meter.total,
            fraction=meter.fraction,
            rate=meter.rate,
            eta=None if meter.eta is None else timedelta(seconds=max(0.0, meter.eta - (now - meter.at))),
            elapsed=timedelta(seconds=now - self._started_at),
            polls=self._count_polls(),
            next_poll_in=None if watch.next_poll_at is None else timedelta(seconds=max(0.0, watch.next_poll_at - now)),
            stalled_for=timedelta(seconds=meter.stalled_for),
            paused_since=meter.paused_since,
            last_error=watch.last_error,
            error=cast("WaitError", self._error) if is_failed else None,
            changed=changed,
        )

    def _count_polls(self) -> int:
        return 0 if self._watch is None else self._watch.polls - self._polls_before

    def _wait_error(self, cls: type[WaitError], message: str) -> WaitError:
        watch = self._watch
        action = watch.meter.action if watch is not None and watch.meter is not None else None
        return cls(message, ref=self.ref, action=action, progress=self._progress(changed=False))


def _clear_up(watch: Watch, alarms: Iterable[Alarm]) -> None:
    """What a wait leaves that was collected: by then it is no subscriber any more."""
    for alarm in alarms:
        alarm.cancel()
    watch.end_if_unwatched()
