"""What one waiter is told of an action: progress, an end, or a reason to end. Tasks and generators stand elsewhere."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar, cast, get_args

import attrs

from closebulk_async.errors import (
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    CloseBulkError,
    InvalidRequestError,
    WaitClosedError,
    WaitError,
    WaitTimeout,
    WatchLostError,
)
from closebulk_async.models import PHASE_OF_STATUS, Job, JobRef
from closebulk_async.policy import Duration, to_seconds_or_none
from closebulk_async.progress import Meter, Progress
from closebulk_async.telemetry import WaitBegan, WaitEnded
from closebulk_async.wire import bare_action

if TYPE_CHECKING:
    from collections.abc import Callable

    from closebulk_async.clock import Alarm
    from closebulk_async.watches import Watch
    from closebulk_async.watching import Watcher

A_co = TypeVar("A_co", bound=Job, covariant=True)

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


_numbers = itertools.count(1)


@attrs.frozen(eq=False)
class End(Generic[A_co]):
    """How a waiter's wait has ended: with the action, or with what it raises. `last` is the progress that fits it.

    Kept as it was at that moment: others may go on to poll, and what a slow consumer takes later must fit.
    """

    action: A_co | None
    error: Exception | None
    last: Progress[A_co] | None


class Waiter(Generic[A_co]):
    """One who waits for an action: joins its watch, and knows what is new and when to end.

    What is new folds: who is slower than the polls takes the newest progress, and never misses the final one.
    """

    __slots__ = (
        "_alarms",
        "_expired_at",
        "_is_beat_due",
        "_is_dirty",
        "_joined_at",
        "_known",
        "_news",
        "_number",
        "_options",
        "_polls_before",
        "_shown",
        "_started_at",
        "_watch",
        "_watcher",
        "end",
        "is_attached",
        "ref",
    )

    def __init__(self, watcher: Watcher, ref: JobRef[A_co], options: WaitOptions, *, known: A_co | None = None) -> None:
        """Poll nothing yet. `known` is an older snapshot with all fields."""
        self.ref: JobRef[A_co] = ref
        self._watcher = watcher
        self._options = options
        self._known = known
        self._number: int | None = None
        self._watch: Watch | None = None
        self.is_attached: bool = False
        """It has joined a watch, and is told of polls."""
        self._started_at: float | None = None
        self._joined_at = 0.0
        self._polls_before = 0
        self._alarms: dict[str, Alarm] | None = None
        self._expired_at: float | None = None
        self._shown: Meter[A_co] | None = None
        self._is_dirty = False
        self._is_beat_due = False
        self._news: tuple[asyncio.Future[None], ...] = ()
        """One for each task that waits for something new."""
        self.end: End[A_co] | None = None

    # What the watch calls -------------------------------------------------------------------------------------------

    def on_poll(self) -> None:
        """Take in what the watch shows: progress, an end, or a reason to end."""
        watch = cast("Watch", self._watch)
        if watch.failure is not None:
            self._finish(error=self._explain(watch))
            return
        if watch.is_fresh and (meter := watch.meter) is not None:
            self._is_dirty = self._is_dirty or self._shown is None or _has_moved(self._shown, meter)
            self._shown = meter
            self._judge(meter)
        if self.end is None and self._expired_at is not None and watch.polled_at >= self._expired_at:
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
            self._finish(action=action)
        elif action.is_failed:
            self._finish(error=self._wait_error(BulkActionFailed, "the action failed; the API gives no reason"))
        elif action.is_paused:
            if cast("Watch", self._watch).polled_at >= self._joined_at:  # else it may have been resumed since
                self._judge_pause(meter)
        elif (limit := self._stall_limit(action)) is not None and meter.stalled_for >= limit:
            message = f"neither a counter nor the status moved for {timedelta(seconds=meter.stalled_for)}"
            self._finish(error=self._wait_error(BulkActionStalled, message))

    def _judge_pause(self, meter: Meter[A_co]) -> None:
        policy, since = self._watcher.policy, meter.paused_since
        if since is not None and (self._watcher.clock.now() - since).total_seconds() > policy.resumable:
            message = f"paused since {since.isoformat()}: too long ago to be resumed"
            self._finish(error=self._wait_error(BulkActionPaused, message))
        elif self._options.on_paused == "raise":
            self._finish(error=self._wait_error(BulkActionPaused, "the action is paused"))
        elif self._options.on_paused == "return":
            self._finish(action=meter.action)

    def _stall_limit(self, action: Job) -> float | None:
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
        cast("Watch", self._watch).poll_now(urgent=True)
        self._set_alarm("last look", self._watcher.policy.last_look, self._on_last_look)

    def _on_last_look(self) -> None:
        watch, passed = cast("Watch", self._watch), timedelta(seconds=cast("float", self._options.timeout))
        if watch.meter is not None:
            self._finish(error=self._wait_error(WaitTimeout, f"still running after {passed}; the job goes on"))
            return
        # Nobody knows whether it runs: say so, and why.
        error = self._wait_error(
            WaitTimeout, f"its status could not be read within {passed}: {watch.last_error or 'no answer yet'}"
        )
        error.__cause__ = watch.last_error
        self._finish(error=error)

    def _on_heartbeat(self) -> None:
        self._is_beat_due = cast("Watch", self._watch).meter is not None
        self._wake()

    def _set_alarm(self, name: str, seconds: float | None, callback: Callable[[], None]) -> None:
        self._cancel_alarm(name)
        if seconds is not None and self.end is None:
            self._alarms = {**(self._alarms or {}), name: self._watcher.alarms.set(seconds, callback)}

    def _cancel_alarm(self, name: str) -> None:
        if self._alarms is not None and name in self._alarms:
            self._alarms.pop(name).cancel()

    # What a consumer calls ------------------------------------------------------------------------------------------

    def attach(self) -> None:
        """Join the watch of the action: at the first use, and again after every consumer had left."""
        if self.is_attached or self.end is not None:
            return
        now = self._watcher.clock.monotonic()
        watch = self._watcher.watch(self.ref, known=self._known, after=self._watch)
        if self._started_at is None:
            self._started_at = now
        self._polls_before = watch.polls - self._count_polls()
        self._watch, self._known, self.is_attached, self._joined_at = watch, None, True, now
        if self._watcher.tell:
            self._number = self._number or next(_numbers)
            self._watcher.tell(WaitBegan(number=self._number, ref=self.ref))
        if self._options.timeout is not None:
            self._set_alarm("timeout", self._started_at + self._options.timeout - now, self._on_timeout)
        watch.join(self)
        self.on_poll()
        timeout, last_look = self._options.timeout, self._watcher.policy.last_look
        if timeout is not None and now > self._started_at + timeout + last_look and self.end is None:
            self._on_last_look()  # who leaves and comes back in short steps would never see the end of the last look

    def detach(self) -> None:
        """Leave the watch: nothing is polled for this waiter, and no alarm of it rings."""
        for alarm in (self._alarms or {}).values():
            alarm.cancel()
        self._alarms = None
        if self.is_attached:
            self.is_attached = False
            cast("Watch", self._watch).leave(self)
            if self._number is not None:
                self._watcher.tell(self._describe_end(self._number))

    def _describe_end(self, number: int) -> WaitEnded:
        error = asyncio.CancelledError("the waiter left") if self.end is None else self.end.error
        elapsed = self._watcher.clock.monotonic() - (self._started_at or 0.0)
        return WaitEnded(
            number=number,
            ref=self.ref,
            elapsed=timedelta(seconds=elapsed),
            polls=self._count_polls(),
            error=error,
        )

    def leave(self) -> None:
        """End the wait: what was not taken is lost, because nobody wants to know any more."""
        if self.end is None:
            self._finish(error=self._wait_error(WaitClosedError, "the wait was closed before the action had ended"))
        self._is_dirty = False

    def _finish(self, *, action: A_co | None = None, error: Exception | None = None) -> None:
        if self.end is None:
            self.end = End(action, error, None)  # from now on nothing else ends it
            self.end = End(action, error, self._progress(changed=True))
            self.detach()
            self._wake()

    def begin_beat(self) -> None:
        """Let a heartbeat be due when nothing new has come for so long."""
        self._set_alarm("heartbeat", self._options.heartbeat, self._on_heartbeat)

    def end_beat(self) -> None:
        """Nobody waits for a heartbeat any more."""
        self._cancel_alarm("heartbeat")

    def take(self) -> Progress[A_co] | None:
        """The newest progress that was not taken yet, or a heartbeat that is due; None where there is neither."""
        is_dirty, is_beat = self._is_dirty, self._is_beat_due and self.end is None
        if not is_dirty and not is_beat:
            return None
        self._is_dirty = self._is_beat_due = False
        return self._progress(changed=is_dirty) if self.end is None else self.end.last

    def listen(self) -> asyncio.Future[None]:
        """What a task may wait for: it is done when `take` or `end` may have something."""
        news = asyncio.get_running_loop().create_future()
        self._news = (*self._news, news)
        return news

    def unlisten(self, news: asyncio.Future[None], *, leaves: bool = False) -> None:
        """For each `listen`. `leaves`: the task waits no more; when no other does, nothing is polled for it."""
        self._news = tuple(other for other in self._news if other is not news)
        if leaves and not self._news:
            self.detach()

    async def wait_ended(self) -> None:
        """After `detach`: until nothing of the polls is left that were for this waiter alone."""
        await self._watcher.wait_ended()

    def _wake(self) -> None:
        for news in self._news:
            if not news.done():
                news.set_result(None)

    def _progress(self, *, changed: bool) -> Progress[A_co] | None:
        watch = self._watch
        if watch is None or watch.meter is None or self._started_at is None:
            return None
        meter, now = watch.meter, self._watcher.clock.monotonic()
        error = None if self.end is None else self.end.error
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
            error=error if isinstance(error, BulkActionFailed) else None,
            changed=changed,
        )

    def describe_unseen(self, error: CloseBulkError | None) -> Progress[Any]:
        """The progress of an action of which no poll has shown anything: nothing is known but what went wrong."""
        watch, now, nothing = self._watch, self._watcher.clock.monotonic(), timedelta(0)
        return Progress(
            action=bare_action(self.ref),
            n_objects_processed=0,
            n_objects=None,
            fraction=None,
            rate=None,
            eta=None,
            elapsed=nothing if self._started_at is None else timedelta(seconds=now - self._started_at),
            polls=self._count_polls(),
            next_poll_in=None,
            stalled_for=nothing,
            paused_since=None,
            last_error=error if watch is None else watch.last_error,
            error=error,
        )

    def _count_polls(self) -> int:
        return 0 if self._watch is None else self._watch.polls - self._polls_before

    def _wait_error(self, cls: type[WaitError], message: str) -> WaitError:
        watch = self._watch
        action = watch.meter.action if watch is not None and watch.meter is not None else None
        return cls(message, ref=self.ref, action=action, progress=self._progress(changed=False))


def _has_moved(before: Meter[Any], after: Meter[Any]) -> bool:
    return (before.moved_at, before.action.status, before.processed, before.total) != (
        after.moved_at,
        after.action.status,
        after.processed,
        after.total,
    )
