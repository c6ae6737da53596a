"""The polls of one action: what they showed, when the next one is due, and who is told."""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from closebulk_async.choosing import WORTH_A_PAGE, Target
from closebulk_async.errors import (
    AuthenticationError,
    ClientClosedError,
    CloseBulkError,
    NotFoundError,
    PermissionDeniedError,
    asked_wait,
)
from closebulk_async.models import PHASE_OF_STATUS, Job, JobRef
from closebulk_async.policy import after_hint
from closebulk_async.progress import Meter, observe
from closebulk_async.telemetry import ActionMoved

if TYPE_CHECKING:
    from closebulk_async.watching import Watcher

logger: logging.Logger = logging.getLogger("closebulk_async")

HOPELESS = (AuthenticationError, PermissionDeniedError, NotFoundError)
"""Answers that the next poll would get again: the wait ends with them at once."""

LONG_AGO = -math.inf
"""An instant before all others; one object, since Python makes a new one of each `-math.inf`."""

MOVES_IN_A_BEAT = 4
"""Polls within a `PollPolicy.webhook_beat`, at the most, that webhooks bring which only say that an action moves."""


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
        self, watcher: Watcher, ref: JobRef[Any], *, known: Job | None = None, after: Watch | None = None
    ) -> None:
        """Poll nothing before `poll_now`. `known` is an older snapshot with all fields, so that no poll needs them all.

        `after` is an earlier watch of the same action, which this one goes on from: a waiter that leaves and comes back
        in short steps (`asyncio.wait_for(anext(wait), 5)`) must see counters that never run back, and the stall and the
        silence that began before it left.
        """
        super().__init__(ref)
        self.meter: Meter[Any] | None = after.meter if after else None
        self.polls: int = 0
        self.polled_at: float = 0.0
        """When the request was sent that the latest poll was."""
        self.next_poll_at: float | None = None
        self.looked_at: float | None = None
        """For the watcher, which sorts by it: when its agenda brings this watch up."""
        self.last_error: CloseBulkError | None = after.last_error if after else None
        self.failure: Exception | None = None
        self.is_lost: bool = False
        self.is_fresh: bool = False
        """A poll of this watch, and not only of one before it, has made `meter`."""
        self._known = known
        self.failures: int = after.failures if after else 0
        """Bad polls since the latest good one."""
        self.silent_since: float | None = after.silent_since if after else None
        self._asked_at = LONG_AGO
        self._resume_at = after.resumable_at if after else LONG_AGO
        """Not before that, where this watch goes on from one that was left: leaving and coming back is no way around
        the floor, nor around what the service has asked for."""
        self._watcher = watcher
        self._subscribers: tuple[Subscriber, ...] = ()
        self._wants_another = False
        self._heard_at: float | None = None
        self._rested_at: float | None = None

    # Subscribers ----------------------------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber) -> None:
        """Tell `subscriber` of polls from now on. Polls at once, unless that has just been done for others."""
        self._subscribers = (*self._subscribers, subscriber)
        if self.is_over or self._is_asking:
            return
        now = self._watcher.clock.monotonic()
        if self.next_poll_at is None:
            self._poll_at(self._resume_at, now)
        elif not self.failures and self._is_stale(now):
            self._ask(now)

    def resume(self, subscriber: Subscriber, *, at: float) -> None:
        """Go on with what others have polled, as the attributes say: the next poll is due `at`."""
        self._subscribers = (*self._subscribers, subscriber)
        self.is_fresh = self.meter is not None
        self._poll_at(at, self._watcher.clock.monotonic())

    def _is_stale(self, now: float) -> bool:
        """What is known is older than a poll of one's own would be; a pause may be over at any moment."""
        age = now - self.polled_at
        is_paused = self.meter is not None and self.meter.action.is_paused
        return age >= self._watcher.policy.floor or (is_paused and age > 0)

    def _poll_at(self, at: float, now: float) -> None:
        """Poll at that instant, or now where it has passed."""
        if at <= now:
            self._ask(now)
        else:
            self.next_poll_at = at
            self._watcher.plan(self)

    def leave(self, subscriber: Subscriber) -> None:
        """Tell it no more; the last one's leaving ends the polls. The action itself is never touched."""
        self._subscribers = tuple(other for other in self._subscribers if other is not subscriber)
        if not self._subscribers:
            self.end()

    def _publish(self) -> None:
        for subscriber in self._subscribers:
            subscriber.on_poll()

    # When to poll ---------------------------------------------------------------------------------------------------

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
        if not self._subscribers:
            return None
        times = (None if self._is_asking else self.next_poll_at, self._lost_at)
        return min((at for at in times if at is not None), default=None)

    def on_time(self, now: float) -> None:
        """Do what is due."""
        if (lost_at := self._lost_at) is not None and now >= lost_at:
            self.is_lost = True
            self.fail(self.last_error or CloseBulkError("no poll was answered"))
        elif not self._is_asking and self.next_poll_at is not None and now >= self.next_poll_at:
            self._ask(now)

    def poll_now(self, *, urgent: bool = False) -> None:
        """Poll as soon as the budget allows it; where a request is under way, another one right after it.

        What is `urgent` does not wait for that, which may never be answered.
        """
        if urgent:
            self._watcher.desk(self.ref.kind).recall(self)
        if self.errand is not None:
            self._wants_another = True
        else:
            self._ask(self._watcher.clock.monotonic(), urgent=urgent)

    def poll_by(self, at: float) -> None:
        """Poll at that instant at the latest, unless a poll is due already."""
        if not self._is_asking and (self.next_poll_at is None or at < self.next_poll_at):
            self._poll_at(at, self._watcher.clock.monotonic())

    def _ask(self, now: float, *, urgent: bool = False) -> None:
        self.next_poll_at, self._asked_at = None, now
        if self.silent_since is None:  # from now on silence counts, be it the server's or that of its limits
            self.silent_since = now
        self._watcher.desk(self.ref.kind).ask(self, urgent=urgent)
        self._watcher.plan(self)

    def is_wanted(self, now: float) -> bool:
        """Whether a subscriber wants the next poll by now, whatever the cadence says."""
        since = None if self.meter is None else now - self.meter.at
        wishes = (one.stall_due_in() for one in self._subscribers)
        return since is not None and any(wish is not None and since >= wish for wish in wishes)

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
    def whole(self) -> Job | None:
        """The latest snapshot with all fields."""
        return self._known if self.meter is None else self.meter.action

    def chance_of_end(self, at: float) -> float:
        """By what the polls have shown; 1 before the first one."""
        return 1.0 if self.meter is None else self.meter.chance_of_end(at)

    def on_answer(self, action: Job, *, asked_at: float) -> None:
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
        if isinstance(error, ClientClosedError) or (isinstance(error, watcher.hopeless) and not is_expected):
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
        subscribers, self._subscribers = self._subscribers, ()
        self.end()
        for subscriber in subscribers:
            subscriber.on_poll()

    @property
    def resumable_at(self) -> float:
        """When who left may poll again."""
        return max(self._asked_at + self._watcher.policy.floor, self._resume_at)

    def end(self) -> None:
        """Stop polling. Who joins this action later gets a new watch."""
        if self.failures and self.next_poll_at is not None:
            self._resume_at = max(self._resume_at, self.next_poll_at)  # where polls fail, leaving brings none forward
        self.next_poll_at = None
        self._watcher.forget(self)
