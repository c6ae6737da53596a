"""One poller for a client: every action that somebody waits for is polled once, however many wait for it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from closebulk_async.clock import Alarm, Alarms, Clock
from closebulk_async.errors import ClientClosedError
from closebulk_async.telemetry import Telling, WebhookReceived
from closebulk_async.watches import HOPELESS, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from closebulk_async.errors import CloseBulkError
    from closebulk_async.models import Job, JobRef, Kind
    from closebulk_async.policy import PollPolicy
    from closebulk_async.polling import AnyDesk

MOST_FINISHED = 1000
"""Actions that have ended and are remembered, at the most."""

_BY_TIME = attrgetter("looked_at")


class Watcher:
    """All watches of a client: one agenda of what is to be done when, and one alarm.

    Nothing runs while nobody waits.
    """

    def __init__(
        self,
        desks: Mapping[Kind, AnyDesk],
        *,
        clock: Clock,
        policy: PollPolicy,
        tell: Telling = Telling(()),  # noqa: B008 - holds nothing
        hopeless: tuple[type[CloseBulkError], ...] = HOPELESS,
    ) -> None:
        """Watch nothing yet. `desks` are where the polls of each kind are asked for; `hopeless` ends a watch."""
        self.clock = clock
        self.policy = policy
        self.tell = tell
        self.hopeless = hopeless
        self.alarms: Alarms = Alarms(clock)
        self._desks = desks
        self._started: dict[JobRef[Any], float] = {}
        self._finished: OrderedDict[JobRef[Any], tuple[float, Watch]] = OrderedDict()
        self._agenda: list[Watch] = []
        """Each watch that has a time to be looked at, once, the next one first."""
        self._alarm: Alarm | None = None
        self._alarm_at = 0.0
        self._is_closed = False

    def watch(self, ref: JobRef[Any], *, known: Job | None = None, after: Watch | None = None) -> Watch:
        """The watch of an action, for all who wait for it. Raises ClientClosedError once the client is closed.

        An action that ended a moment ago is not polled again. `known` and `after` are for a new watch.
        """
        if self._is_closed:
            message = f"{ref}: this client is closed"
            raise ClientClosedError(message)
        watch = self._find(ref) or self._recall(ref)
        if watch is None:
            watch = Watch(self, ref, known=known, after=after)
            self.desk(ref.kind).watched[ref.id] = watch
        return watch

    def _find(self, ref: JobRef[Any]) -> Watch | None:
        """The watch of an action that somebody waits for."""
        return cast("Watch | None", self.desk(ref.kind).watched.get(ref.id))

    def desk(self, kind: Kind) -> AnyDesk:
        """Where the polls of a kind are asked for."""
        return self._desks[kind]

    def forget(self, watch: Watch) -> None:
        """For a watch that has ended."""
        self.desk(watch.ref.kind).withdraw(watch)
        self._strike(watch)
        if not self._agenda:
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
        watch = self._find(ref)
        if watch is not None:
            watch.poll_now()

    def hear(self, ref: JobRef[Any], *, action: str, is_rest: bool) -> None:
        """Take in what a webhook says: an `action` of `ref` (`updated`, say), by which it rests or goes on."""
        watch = self._find(ref)
        if self.tell:
            self.tell(WebhookReceived(ref=ref, action=action, is_watched=watch is not None))
        if watch is not None:
            watch.hear(is_rest=is_rest)

    # The timer ------------------------------------------------------------------------------------------------------

    def plan(self, watch: Watch) -> None:
        """Bring `watch` up when it asks for that. Where that is later than before, it stays at the earlier time."""
        at = watch.look_at()
        if at is None or (watch.looked_at is not None and watch.looked_at <= at):
            return
        self._strike(watch)
        watch.looked_at = at
        # Not a heap: that has no way to bring forward what is in it, as each answered poll does, and would have to keep
        # both entries. To move ten thousand pointers takes microseconds.
        insort(self._agenda, watch, key=_BY_TIME)
        self._set_alarm(self._agenda[0].looked_at)

    def _strike(self, watch: Watch) -> None:
        """Take `watch` out of the agenda, if it is there."""
        if watch.looked_at is not None:
            first = bisect_left(self._agenda, watch.looked_at, key=_BY_TIME)
            del self._agenda[self._agenda.index(watch, first)]
            watch.looked_at = None

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
        while self._agenda and (at := self._agenda[0].looked_at) is not None and at <= now:
            watch = self._agenda.pop(0)
            watch.looked_at = None
            watch.on_time(now)
            self.plan(watch)
        if self._agenda:
            self._set_alarm(self._agenda[0].looked_at)

    async def wait_ended(self) -> None:
        """Until nothing is left of what was given up: no request, and no task that has nothing more to ring for."""
        for desk in self._desks.values():
            await desk.wait_ended()
        await self.alarms.wait_ended()

    async def aclose(self) -> None:
        """End every watch; open waits raise ClientClosedError. Returns when no poll is under way any more."""
        self._is_closed = True
        for desk in self._desks.values():
            for watch in list(desk.watched.values()):
                watch.fail(ClientClosedError(f"{watch.ref}: the client was closed; the job goes on"))
        self._finished.clear()
        await self.wait_ended()
