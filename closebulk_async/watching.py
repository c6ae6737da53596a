"""One poller for a client: every action that somebody waits for is polled once, however many wait for it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from closebulk_async.choosing import WORTH_A_PAGE, Target
from closebulk_async.clock import Alarm, Alarms, Clock
from closebulk_async.errors import (
    AuthenticationError,
    ClientClosedError,
    CloseBulkError,
    NotFoundError,
    PermissionDeniedError,
    asked_wait,
)
from closebulk_async.models import PHASE_OF_STATUS, BulkAction, JobRef, Kind
from closebulk_async.policy import PollPolicy, after_hint
from closebulk_async.polling import Desk
from closebulk_async.progress import Meter, observe
from closebulk_async.telemetry import ActionMoved, Telling, WebhookReceived

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from closebulk_async.transport import Transport

logger = logging.getLogger("closebulk_async")

HOPELESS = (AuthenticationError, PermissionDeniedError, NotFoundError)
"""Answers that the next poll would get again: the wait ends with them at once."""

MOVES_IN_A_BEAT = 4
"""Polls within a `PollPolicy.webhook_beat`, at the most, that webhooks bring which only say that an action moves."""

MOST_FINISHED = 1000
"""Actions that have ended and are remembered, at the most."""

_SLACK = 64
"""Entries of a heap that nobody needs any more, above as many as are needed, before it is rebuilt."""


class Subscriber(Protocol):
    """What a watch tells of itself."""

    def on_poll(self) -> None:
        """A poll has ended, well or not, or the watch has failed for good. Must not block nor raise."""

    def stall_due_in(self) -> float | None:
        """Seconds after which the subscriber wants the next poll at the latest; None where it does not care."""


class Watch(Target):
    """The polls of one action, and what they showed.

    Lives as long as it has a subscriber and the action has not ended.
    """

    __slots__ = (
        "_asked_at",
        "_heard_at",
        "_known",
        "_left_at",
        "_rested_at",
        "_resume_at",
        "_subscribers",
        "_wants_another",
        "_watcher",
        "failure",
        "failures",
        "is_fresh",
        "is_lost",
        "last_error",
        "looked_at",
        "meter",
        "next_poll_at",
        "polled_at",
        "polls",
        "silent_since",
    )

    def __init__(
        self, watcher: Watcher, ref: JobRef[Any], *, known: BulkAction | None = None, after: Watch | None = None
    ) -> None:
        """Poll nothing before `poll_now`. `known` is an older snapshot with all fields, so that no poll needs them all.

        `after` is an earlier watch of the same action, which this one goes on from: a waiter that leaves and comes back
        in short steps (`asyncio.wait_for(anext(wait), 5)`) must see counters that never run back, and the stall and the
        silence that began before it left.
        """
        super().__init__(ref)
        self.meter: Meter[Any] | None = after.meter if after else None
        self.polls = 0
        self.polled_at = 0.0
        """When the request was sent that the latest poll was."""
        self.next_poll_at: float | None = None
        self.looked_at: float | None = None
        """For the watcher: when its heap will bring this watch up."""
        self.last_error: CloseBulkError | None = after.last_error if after else None
        self.failure: Exception | None = None
        self.is_lost = False
        self.is_fresh = False
        """A poll of this watch, and not only of one before it, has made `meter`."""
        self._known = known
        self.failures: int = after.failures if after else 0
        """Bad polls since the latest good one."""
        self.silent_since: float | None = after.silent_since if after else None
        self._asked_at = -math.inf
        self._resume_at = after.resumable_at if after else -math.inf
        """Not before that, where this watch goes on from one that was left: leaving and coming back is no way around
        the floor, nor around what the service has asked for."""
        self._watcher = watcher
        self._subscribers: list[Subscriber] = []
        self._wants_another = False
        self._left_at: float | None = None
        self._heard_at: float | None = None
        self._rested_at: float | None = None

    # Subscribers ----------------------------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber) -> None:
        """Tell `subscriber` of polls from now on. Polls at once, unless that has just been done for others."""
        self._subscribers.append(subscriber)
        if self.is_over or self._is_asking:
            return
        if self.next_poll_at is None:
            self._poll_at(self._resume_at)
        elif not self.failures and self._is_stale:
            self._ask()

    @property
    def _is_stale(self) -> bool:
        """What is known is older than a poll of one's own would be; a pause may be over at any moment."""
        age = self._watcher.clock.monotonic() - self.polled_at
        is_paused = self.meter is not None and self.meter.action.is_paused
        return age >= self._watcher.policy.floor or (is_paused and age > 0)

    def _poll_at(self, at: float) -> None:
        """Poll at that instant, or now where it has passed."""
        if at <= self._watcher.clock.monotonic():
            self._ask()
        else:
            self.next_poll_at = at
            self._watcher.plan(self)

    def leave(self, subscriber: Subscriber) -> None:
        """Tell it no more; the last one's leaving ends the polls. The action itself is never touched."""
        if subscriber in self._subscribers:  # else this watch has ended, and told everybody
            self._subscribers.remove(subscriber)
        if not self._subscribers:
            self.end()

    def _publish(self) -> None:
        for subscriber in tuple(self._subscribers):
            subscriber.on_poll()

    # When to poll ---------------------------------------------------------------------------------------------------

    @property
    def is_left(self) -> bool:
        """Nobody is told anything any more."""
        return not self._subscribers

    @property
    def is_over(self) -> bool:
        """Nothing follows: the action has ended, or the watch has failed."""
        return self.failure is not None or (self.is_fresh and self.meter is not None and self.meter.action.is_final)

    @property
    def _is_asking(self) -> bool:
        return self.due_since is not None

    @property
    def _lost_at(self) -> float | None:
        return None if self.silent_since is None else self.silent_since + self._watcher.policy.lost_after

    def look_at(self) -> float | None:
        """When something is to be done about this watch: its next poll, or giving it up; None for never."""
        times = (None if self._is_asking else self.next_poll_at, self._lost_at)
        return min((at for at in times if at is not None), default=None)

    def on_time(self, now: float) -> None:
        """Do what is due."""
        if (lost_at := self._lost_at) is not None and now >= lost_at:
            self.is_lost = True
            self.fail(self.last_error or CloseBulkError("no poll was answered"))
        elif not self._is_asking and self.next_poll_at is not None and now >= self.next_poll_at:
            self._ask()

    def poll_now(self, *, urgent: bool = False) -> None:
        """Poll as soon as the budget allows it; where a request is under way, another one right after it.

        What is `urgent` does not wait for that, which may never be answered.
        """
        if urgent:
            self._watcher.desk(self.ref.kind).recall(self)
        if self.errand is not None:
            self._wants_another = True
        else:
            self._ask(urgent=urgent)

    def _ask(self, *, urgent: bool = False) -> None:
        self.next_poll_at, self._asked_at = None, self._watcher.clock.monotonic()
        if self.silent_since is None:  # from now on silence counts, be it the server's or that of its limits
            self.silent_since = self._watcher.clock.monotonic()
        self._watcher.desk(self.ref.kind).ask(self, urgent=urgent)
        self._watcher.plan(self)

    def _schedule(self, delay: float) -> None:
        policy, now = self._watcher.policy, self._watcher.clock.monotonic()
        if self._wants_another and self.errand is None:
            self._wants_another = False
            delay = 0.0
        wishes = [wish for one in self._subscribers if (wish := one.stall_due_in()) is not None]
        delay = min([delay, *(max(policy.floor, wish) for wish in wishes)])
        self.next_poll_at = now + delay
        if policy.beat and delay and self.company >= WORTH_A_PAGE:
            # Whoever falls due with it is answered by the same page.
            self.next_poll_at = math.ceil(self.next_poll_at / policy.beat) * policy.beat
        self._watcher.plan(self)

    def hear(self, *, is_rest: bool) -> None:
        """Somebody said that the action has moved, or (`is_rest`) that it has ended or was paused."""
        now, policy = self._watcher.clock.monotonic(), self._watcher.policy
        self._heard_at = now
        is_news = is_rest and self._rested_at is None
        if is_news:
            self._rested_at = now
        if self.meter is None or self._is_asking:
            self._wants_another = self._wants_another or (is_rest and self.errand is not None)
            return
        if self.failures:
            return  # what the service has asked for, or the growing interval, goes first
        # Webhooks come twice, and late: only the first word of an end is worth a poll out of turn. That it has moved is
        # worth one now and then, so that progress does not stand still; the end will be told.
        wait = policy.floor if is_rest else max(policy.delay(self.meter), policy.webhook_beat / MOVES_IN_A_BEAT)
        soonest = now if is_news else max(now, self.meter.at + wait)
        if self.next_poll_at is None or soonest < self.next_poll_at:
            self.next_poll_at = soonest
            self._watcher.plan(self)

    def _pace(self, meter: Meter[Any]) -> float:
        """Seconds until the next poll, with what webhooks have said about the action in mind."""
        policy, now = self._watcher.policy, meter.at
        delay = policy.delay(meter)
        if meter.action.is_paused:
            self._rested_at = None
            return delay
        if self._rested_at is not None and now - self._rested_at < policy.webhook_beat:
            # It has ended, and the service does not show it yet.
            return min(delay, max(policy.floor, now - self._rested_at))
        if self._heard_at is not None and now - self._heard_at < policy.webhook_beat:
            return max(delay, policy.webhook_beat)
        return delay

    # What polls bring -----------------------------------------------------------------------------------------------

    @property
    def whole(self) -> BulkAction | None:
        """The latest snapshot with all fields."""
        return self._known if self.meter is None else self.meter.action

    def chance_of_end(self, at: float) -> float:
        """By what the polls have shown; 1 before the first one."""
        return 1.0 if self.meter is None else self.meter.chance_of_end(at)

    def on_answer(self, action: BulkAction, *, asked_at: float) -> None:
        """Take in a good poll."""
        watcher, before = self._watcher, self.meter
        if asked_at < self.polled_at and not action.is_final:
            return  # older than what is known
        self.polls += 1
        self.polled_at = max(self.polled_at, asked_at)
        self._known = None
        was_fresh, self.is_fresh = self.is_fresh, True
        self.meter = meter = observe(before, action, at=watcher.clock.monotonic(), now=watcher.clock.now())
        self.silent_since, self.failures = None, 0
        if action.status not in PHASE_OF_STATUS and (before is None or before.action.status != action.status):
            logger.warning(
                "%s has the status %r, which is not documented: it counts as running", self.ref, action.status
            )
        if watcher.tell and (meter.has_moved or not was_fresh):
            eta = None if meter.eta is None else timedelta(seconds=meter.eta)
            known = before.action if before is not None and was_fresh else None
            watcher.tell(ActionMoved(before=known, action=action, rate=meter.rate, eta=eta))
        if action.is_final:
            watcher.remember(self)
            self._conclude()
        else:
            self._schedule(self._pace(meter))
            self._publish()

    def on_no_answer(self, error: CloseBulkError, *, asked_at: float) -> None:
        """Take in a bad poll."""
        watcher = self._watcher
        self.polls += 1
        self.polled_at = max(self.polled_at, asked_at)
        self.last_error = error
        is_expected = isinstance(error, NotFoundError) and watcher.is_settling(self.ref)
        if isinstance(error, ClientClosedError) or (isinstance(error, HOPELESS) and not is_expected):
            self.fail(error)
            return
        # Before the first good poll there is no progress that could show it.
        is_unseen = self.meter is None and not self.failures
        logger.log(logging.WARNING if is_unseen else logging.INFO, "poll of %s failed: %s", self.ref, error)
        if self.silent_since is None:
            self.silent_since = watcher.clock.monotonic()
        self.failures += 1
        delay, asked = watcher.policy.delay_after_failure(self.failures), asked_wait(error)
        if asked is not None:
            delay = max(delay, after_hint(asked))
        self._schedule(delay)
        self._publish()

    def blame(self, error: CloseBulkError) -> None:
        """Show why polls do not come, although it was the poll of another action that was refused."""
        self.last_error = error

    def fail(self, error: Exception) -> None:
        """Tell all subscribers that nothing more will come."""
        self.failure = error
        self._conclude()

    def _conclude(self) -> None:
        """Tell everybody for the last time."""
        subscribers, self._subscribers = self._subscribers, []
        self.end()
        for subscriber in subscribers:
            subscriber.on_poll()

    @property
    def resumable_at(self) -> float:
        """When who left may poll again: where polls failed, when the next one was due."""
        planned = self._left_at if self.failures and self._left_at is not None else -math.inf
        return max(self._asked_at + self._watcher.policy.floor, self._resume_at, planned)

    def end(self) -> None:
        """Stop polling. Who joins this action later gets a new watch."""
        self._left_at, self.next_poll_at = self.next_poll_at or self._left_at, None
        self._watcher.forget(self)


class Watcher:
    """All watches of a client: one heap of what is to be done when, and one alarm. Nothing runs while nobody waits."""

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock,
        policy: PollPolicy,
        note: Callable[[BulkAction], Awaitable[None]],
        tell: Telling = Telling(()),  # noqa: B008 - holds nothing
    ) -> None:
        """Watch nothing yet. `note` is told what a poll has read when something has changed; it must not raise.

        The requests of `transport` are those of polls: others go first where the budget is short.
        """
        self.clock = clock
        self.policy = policy
        self.tell = tell
        self.alarms = Alarms(clock)
        slots = asyncio.Semaphore(policy.concurrency)
        self._desks = {
            kind: Desk(kind, transport=transport, clock=clock, slots=slots, note=note, tell=tell) for kind in Kind
        }
        self._watches: dict[JobRef[Any], Watch] = {}
        self._started: dict[JobRef[Any], float] = {}
        self._finished: OrderedDict[JobRef[Any], tuple[float, Watch]] = OrderedDict()
        self._heap: list[tuple[float, int, Watch]] = []
        self._numbers = itertools.count()  # breaks ties: watches of one moment come in the order of their planning
        self._alarm: Alarm | None = None
        self._alarm_at = 0.0
        self._is_closed = False

    def watch(self, ref: JobRef[Any], *, known: BulkAction | None = None, after: Watch | None = None) -> Watch:
        """The watch of an action, for all who wait for it. Raises ClientClosedError once the client is closed.

        An action that ended a moment ago is not polled again. `known` and `after` are for a new watch.
        """
        if self._is_closed:
            message = f"{ref}: this client is closed"
            raise ClientClosedError(message)
        watch = self._watches.get(ref) or self._recall(ref)
        if watch is None:
            watch = self._watches[ref] = Watch(self, ref, known=known, after=after)
            self.desk(ref.kind).watched[ref.id] = watch
        return watch

    def desk(self, kind: Kind) -> Desk:
        """Where the polls of a kind are asked for."""
        return self._desks[kind]

    def forget(self, watch: Watch) -> None:
        """For a watch that has ended."""
        self.desk(watch.ref.kind).withdraw(watch)
        if self._watches.get(watch.ref) is watch:
            del self._watches[watch.ref]
            if not self._watches:
                self._heap.clear()
                self._set_alarm(None)

    # What ended, and what just began --------------------------------------------------------------------------------

    def remember(self, watch: Watch) -> None:
        """Keep what has ended, for those who come a moment later."""
        self._finished[watch.ref] = (self.clock.monotonic(), watch)
        self._forget_old()

    def _recall(self, ref: JobRef[Any]) -> Watch | None:
        self._forget_old()
        _, watch = self._finished.get(ref, (0.0, None))
        return watch

    def _forget_old(self) -> None:
        oldest = self.clock.monotonic() - self.policy.remember
        while self._finished:
            ref, (at, _) = next(iter(self._finished.items()))
            if at > oldest and len(self._finished) <= MOST_FINISHED:
                break
            del self._finished[ref]

    def note_start(self, ref: JobRef[Any]) -> None:
        """Remember that this client just started `ref`: for a while the service may not show it yet."""
        now = self.clock.monotonic()
        self._started.pop(ref, None)
        self._started[ref] = now
        for old, at in list(self._started.items()):
            if now - at <= self.policy.settle:
                break  # they stand in the order of their starts
            del self._started[old]

    def is_settling(self, ref: JobRef[Any]) -> bool:
        """Whether a 404 for `ref` may only mean that the service does not show it yet."""
        started = self._started.get(ref)
        return started is not None and self.clock.monotonic() - started <= self.policy.settle

    def refresh(self, ref: JobRef[Any]) -> None:
        """Poll `ref`, if anybody waits for it: this client has just changed it."""
        watch = self._watches.get(ref)
        if watch is not None:
            watch.poll_now()

    def hear(self, ref: JobRef[Any], *, action: str, is_rest: bool) -> None:
        """Take in what a webhook says: an `action` of `ref` (`updated`, say), by which it rests or goes on."""
        watch = self._watches.get(ref)
        if self.tell:
            self.tell(WebhookReceived(ref=ref, action=action, is_watched=watch is not None))
        if watch is not None:
            watch.hear(is_rest=is_rest)

    # The timer ------------------------------------------------------------------------------------------------------

    def plan(self, watch: Watch) -> None:
        """Bring `watch` up when it asks for that. Where that is later than before, the earlier entry stays."""
        at = watch.look_at()
        if at is None or (watch.looked_at is not None and watch.looked_at <= at):
            return
        if len(self._heap) > 1.25 * len(self._watches) + _SLACK:
            self._heap = [entry for entry in self._heap if entry[2].looked_at == entry[0] and not entry[2].is_left]
            heapq.heapify(self._heap)
        watch.looked_at = at
        heapq.heappush(self._heap, (at, next(self._numbers), watch))
        self._set_alarm(self._heap[0][0])

    def _set_alarm(self, at: float | None) -> None:
        if self._alarm is not None:
            if at is not None and at >= self._alarm_at:
                return
            self._alarm.cancel()
            self._alarm = None
        if at is not None:
            self._alarm_at = at
            self._alarm = self.alarms.set(at - self.clock.monotonic(), self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm = None
        now = self.clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            at, _, watch = heapq.heappop(self._heap)
            if watch.looked_at == at and self._watches.get(watch.ref) is watch:
                watch.looked_at = None
                watch.on_time(now)
                self.plan(watch)
        if self._heap:
            self._set_alarm(self._heap[0][0])

    async def wait_ended(self) -> None:
        """Until nothing is left of what was given up: no request, and no task that has nothing more to ring for."""
        for desk in self._desks.values():
            await desk.wait_ended()
        await self.alarms.wait_ended()

    async def aclose(self) -> None:
        """End every watch; open waits raise ClientClosedError. Returns when no poll is under way any more."""
        self._is_closed = True
        for watch in list(self._watches.values()):
            watch.fail(ClientClosedError(f"{watch.ref}: the client was closed; the job goes on"))
        self._finished.clear()
        await self.wait_ended()
