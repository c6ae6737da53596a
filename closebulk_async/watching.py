"""One poller for a client: every action that somebody waits for is polled once, however many wait for it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from closebulk_async.clock import Alarm, Alarms, Clock
from closebulk_async.errors import (
    AuthenticationError,
    ClientClosedError,
    CloseBulkError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    asked_wait,
)
from closebulk_async.models import PHASE_OF_STATUS, BulkAction, JobRef
from closebulk_async.policy import NO_RETRY, PollPolicy, after_hint
from closebulk_async.progress import Meter, observe
from closebulk_async.wire import build_get, read_action

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from closebulk_async.transport import Transport

logger = logging.getLogger("closebulk_async")

HOPELESS = (AuthenticationError, PermissionDeniedError, NotFoundError)
"""Answers that the next poll would get again: the wait ends with them at once."""


class Subscriber(Protocol):
    """What a watch tells of itself. Held weakly unless it is `kept`: a waiter that nobody holds any more has left."""

    def on_poll(self) -> None:
        """A poll has ended, well or not, or the watch has failed for good. Must not block nor raise."""

    def stall_due_in(self) -> float | None:
        """Seconds after which the subscriber wants the next poll at the latest; None where it does not care."""


async def poll_once(transport: Transport, ref: JobRef[Any]) -> BulkAction:
    """Read the action, without a repeat: for whoever polls, the next poll is the repeat."""
    request = build_get(ref)
    return read_action(ref.kind, request, await transport.send(request, retry=NO_RETRY))


def _movable(action: BulkAction) -> tuple[object, ...]:
    return action.status, action.n_objects_processed, action.n_objects


class Watch:
    """The polls of one action, and what they showed.

    Lives as long as it has a subscriber and the action has not ended.
    """

    def __init__(self, watcher: Watcher, ref: JobRef[Any], *, after: Watch | None = None) -> None:
        """Poll nothing before `poll_now`. `after` is an earlier watch of the same action, which this one goes on from.

        A waiter that leaves and comes back in short steps (`asyncio.wait_for(anext(wait), 5)`) must see counters that
        never run back, and the stall and the silence that began before it left.
        """
        self.ref = ref
        self.meter: Meter[Any] | None = after.meter if after else None
        self.polls = 0
        self.polled_at = 0.0
        self.next_poll_at: float | None = None
        self.last_error: CloseBulkError | None = after.last_error if after else None
        self.failure: Exception | None = None
        self.is_lost = False
        self.is_fresh = False
        """A poll of this watch, and not only of one before it, has made `meter`."""
        self._silent_since: float | None = after._silent_since if after else None  # noqa: SLF001 - the same class
        self._watcher = watcher
        self._subscribers: WeakSet[Any] = WeakSet()
        self._kept: set[Subscriber] = set()
        self._failures = 0
        self._alarm: Alarm | None = None
        self._lost_alarm: Alarm | None = None
        self._poll: asyncio.Task[None] | None = None
        self._wants_another = False

    def join(self, subscriber: Subscriber) -> None:
        """Tell `subscriber` of polls from now on; the first subscriber's joining polls at once."""
        self._subscribers.add(subscriber)
        if self._poll is None and self._alarm is None:
            self.poll_now()

    def leave(self, subscriber: Subscriber) -> None:
        """Tell it no more; the last one's leaving ends the polls. The action itself is never touched."""
        self._subscribers.discard(subscriber)
        self._kept.discard(subscriber)
        self.end_if_unwatched()

    def end_if_unwatched(self) -> None:
        """End where no subscriber is left."""
        if not self._subscribers:
            self.end()

    def keep(self, subscriber: Subscriber) -> None:
        """Hold it strongly until `release`, because a task waits for what it will tell.

        The loop holds its tasks weakly: one that nobody else holds would be collected in the middle of its wait.
        """
        self._kept.add(subscriber)

    def release(self, subscriber: Subscriber) -> None:
        """Hold it weakly again."""
        self._kept.discard(subscriber)

    def poll_now(self) -> None:
        """Begin a poll, or as soon as the server allows it; where one is under way, another one right after it."""
        self._expect_answer()
        if self._watcher.held_for():
            if self._poll is None and self._alarm is None:
                self._schedule(0.0)
            return
        self._cancel_alarm()
        if self._poll is not None:
            self._wants_another = True
            return
        self._poll = asyncio.get_running_loop().create_task(self._run_poll(), name=f"closebulk_async poll {self.ref}")

    def _expect_answer(self) -> None:
        """From now on silence counts, be it the server's, the queue's before a poll, or that of a rate limit."""
        if self._silent_since is None and self._lost_alarm is None:
            self._lost_alarm = self._watcher.alarms.set(self._watcher.policy.lost_after, self._on_lost)

    def end(self) -> None:
        """Stop polling. Who joins this action later gets a new watch."""
        self._watcher.forget(self)
        self._cancel_alarm()
        self._cancel_lost_alarm()
        if self._poll is not None:
            self._poll.cancel()

    async def wait_ended(self) -> None:
        """After `end`: until the poll that was under way has let go of its connection. Where others watch, at once."""
        if self._poll is not None and self._poll.cancelling():
            await asyncio.wait({self._poll})

    def fail(self, error: Exception) -> None:
        """Tell all subscribers that nothing more will come."""
        self.failure = error
        self.end()
        self._publish()

    def _cancel_alarm(self) -> None:
        self.next_poll_at = None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _cancel_lost_alarm(self) -> None:
        if self._lost_alarm is not None:
            self._lost_alarm.cancel()
            self._lost_alarm = None

    async def _run_poll(self) -> None:
        try:
            await self._poll_in_slot()
        except Exception as exc:
            # A mistake of this package's own must end the waits, not leave them hanging on a dead poller.
            logger.exception("poll of %s", self.ref)
            self._poll = None
            self.fail(exc)

    async def _poll_in_slot(self) -> None:
        watcher = self._watcher
        async with watcher.slots:
            started = watcher.clock.monotonic()
            if watcher.held_for():  # since this poll began to wait for its slot
                self._poll = None
                self._schedule(0.0)
                return
            try:
                read: BulkAction | CloseBulkError = await self._poll_and_note()
            except CloseBulkError as exc:
                read = exc
        self._poll = None
        self.polls += 1
        self.polled_at = started
        if isinstance(read, CloseBulkError):
            self._on_bad_poll(read)
        else:
            self._on_good_poll(read)

    async def _poll_and_note(self) -> BulkAction:
        action = await poll_once(self._watcher.transport, self.ref)
        if self.meter is None or _movable(self.meter.action) != _movable(action):
            await self._watcher.note(action)
        return action

    def _on_good_poll(self, action: BulkAction) -> None:
        watcher = self._watcher
        before = self.meter
        self.is_fresh = True
        self.meter = observe(before, action, at=watcher.clock.monotonic(), now=watcher.clock.now())
        self._silent_since = None
        self._failures = 0
        self._cancel_lost_alarm()
        if action.status not in PHASE_OF_STATUS and (before is None or before.action.status != action.status):
            logger.warning(
                "%s has the status %r, which is not documented: it counts as running", self.ref, action.status
            )
        if action.is_final:
            self.end()
        else:
            self._schedule(watcher.policy.delay(self.meter))
        self._publish()

    def _on_bad_poll(self, error: CloseBulkError) -> None:
        watcher = self._watcher
        self.last_error = error
        is_expected = isinstance(error, NotFoundError) and watcher.is_settling(self.ref)
        if isinstance(error, ClientClosedError) or (isinstance(error, HOPELESS) and not is_expected):
            self.fail(error)
            return
        now = watcher.clock.monotonic()
        # Before the first good poll there is no progress that could show it.
        is_unseen = self.meter is None and self._silent_since is None
        logger.log(logging.WARNING if is_unseen else logging.INFO, "poll of %s failed: %s", self.ref, error)
        if self._silent_since is None:
            self._silent_since = now
        if self._lost_alarm is None:
            lost_in = self._silent_since + watcher.policy.lost_after - now
            self._lost_alarm = watcher.alarms.set(lost_in, self._on_lost)
        self._failures += 1
        delay = watcher.policy.delay_after_failure(self._failures)
        asked = asked_wait(error)
        if isinstance(error, RateLimitedError):
            watcher.hold(delay if asked is None else asked, error)
        elif asked is not None:
            delay = max(delay, after_hint(asked))
        self._schedule(delay)
        self._publish()

    def _on_lost(self) -> None:
        self._lost_alarm = None
        self.is_lost = True
        self.fail(self.last_error or CloseBulkError("no poll was answered"))

    def _schedule(self, delay: float) -> None:
        if self._wants_another:
            self._wants_another = False
            delay = 0.0
        wishes = (subscriber.stall_due_in() for subscriber in self._subscribers)
        delay = min([delay, *(max(self._watcher.policy.floor, wish) for wish in wishes if wish is not None)])
        if held_for := self._watcher.held_for():
            # Each adds its own jitter, or all watches would poll at the one instant at which the silence ends.
            delay = max(delay, after_hint(held_for))
        self.next_poll_at = self._watcher.clock.monotonic() + delay
        self._alarm = self._watcher.alarms.set(delay, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        self.poll_now()

    def _publish(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.on_poll()


class Watcher:
    """All watches of a client. Nothing runs while nobody waits."""

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock,
        policy: PollPolicy,
        note: Callable[[BulkAction], Awaitable[None]],
    ) -> None:
        """Watch nothing yet. `note` is told what a poll has read when something has changed; it must not raise."""
        self.transport = transport
        self.clock = clock
        self.policy = policy
        self.note = note
        self.alarms = Alarms(clock)
        self.slots = asyncio.Semaphore(policy.concurrency)
        self._watches: dict[JobRef[Any], Watch] = {}
        self._started: dict[JobRef[Any], float] = {}
        self._held_until = 0.0
        self._is_closed = False

    def watch(self, ref: JobRef[Any], *, after: Watch | None = None) -> Watch:
        """The watch of an action, for all who wait for it. Raises ClientClosedError once the client is closed.

        `after` is the watch that the caller had before it left, for a new one to go on from.
        """
        if self._is_closed:
            message = f"{ref}: this client is closed"
            raise ClientClosedError(message)
        watch = self._watches.get(ref)
        if watch is None:
            watch = self._watches[ref] = Watch(self, ref, after=after)
        return watch

    def forget(self, watch: Watch) -> None:
        """For a watch that has ended."""
        if self._watches.get(watch.ref) is watch:
            del self._watches[watch.ref]

    def note_start(self, ref: JobRef[Any]) -> None:
        """Remember that this client just started `ref`: for a while the service may not show it yet."""
        now = self.clock.monotonic()
        self._started[ref] = now
        for old, at in list(self._started.items()):
            if now - at <= self.policy.settle:
                break  # they stand in the order of their starts
            del self._started[old]

    def is_settling(self, ref: JobRef[Any]) -> bool:
        """Whether a 404 for `ref` may only mean that the service does not show it yet."""
        started = self._started.get(ref)
        return started is not None and self.clock.monotonic() - started <= self.policy.settle

    def hold(self, seconds: float, error: CloseBulkError) -> None:
        """Begin no poll for so long: the server said so to one of them by `error`, and they all share its limit."""
        self._held_until = max(self._held_until, self.clock.monotonic() + seconds)
        for watch in self._watches.values():
            watch.last_error = error

    def held_for(self) -> float:
        """Seconds for which no poll may begin; 0.0 where they may."""
        return max(0.0, self._held_until - self.clock.monotonic())

    async def aclose(self) -> None:
        """End every watch; open waits raise ClientClosedError. Returns when no poll is under way any more."""
        self._is_closed = True
        watches = list(self._watches.values())
        for watch in watches:
            watch.fail(ClientClosedError(f"{watch.ref}: the client was closed; the job goes on"))
        for watch in watches:
            await watch.wait_ended()
        await self.alarms.wait_ended()
