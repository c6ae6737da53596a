"""The budget of one endpoint group: what its answers have shown, and when the next request may go. Pure arithmetic.

Instants are seconds of a clock that never goes back; the caller passes `now`.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import TYPE_CHECKING

import attrs

from closebulk_async.ratelimit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Mapping


class Priority(IntEnum):
    """Whose request goes first where not all can go: a start's, a call's, a poll's."""

    START = 0
    CALL = 1
    POLL = 2


@attrs.define(kw_only=True)  # not frozen: one is made for each answer, and that would cost four times as much
class Sight:
    """What an answer showed of its group's limit.

    `window` is its `RateLimit` header, None where it had none. `stopped_for` is for a 429: the seconds for which no
    request of the group may be sent. `was_sent` is False where there is no answer because nothing was sent.
    """

    window: RateLimit | None = None
    stopped_for: float | None = None
    was_sent: bool = True


BURST: Mapping[Priority, float] = {Priority.START: 0.375, Priority.CALL: 0.25, Priority.POLL: 0.25}
"""How much of a window's requests may go at once after a time without any. A quarter serves who reads some actions
together, and leaves most of the window to other processes; starts may go ahead of whatever has used that up."""

KEPT = 0.05
"""The share of each window that polls leave to all other requests, so that a start never waits for a reset."""

KEPT_AT_LEAST = 2.0
"""Of a small window: a start reads the list once, and goes on to other pages where that is long."""

FIRST_WIDTH = 4
"""Requests in flight where nothing is known of a limit; each success adds one."""

MOST_WIDTH = 100
"""As many connections as aiohttp opens: more requests would only wait for one of them."""

SHORTEST_WINDOW = 5.0
"""Seconds. The length of a window is seen only at its beginning; until then it is taken for the shortest one that the
vendor documents."""

LONGEST_WINDOW = 3600.0
"""Seconds. Whatever names a later reset is a mistake, such as an instant, and must not hold anybody up."""

FORGOTTEN_AFTER = 2
"""Windows after which a limit that no answer shows any more is none: the key's and the organization's take turns."""

PROBING = 0.99
"""What each success leaves of a pace that was measured: doubled after seventy of them. Limits that do not show are
temporary, and one more 429 in a hundred requests is what it costs to learn that one is still there."""

FASTEST = 1e-3
"""Seconds between requests at which a measured pace holds nobody up, and is none any more."""

SLOWEST = 5.0
"""Seconds between requests, as far as 429s may slow them down: a few of them tell little of a limit."""

ROUNDING = 1e-6
"""Seconds by which the pace may be early: the sum of two instants and their difference need not be equal."""


@attrs.define(eq=False, kw_only=True)
class Window:
    """One limit, as of its current window. The key's and the organization's are told apart by their numbers."""

    limit: float
    lowest: float
    """The fewest requests left that an answer has shown, less those of which it cannot have known."""
    ends_at: float
    length: float
    seen_at: float
    is_assumed: bool = False
    """It must have begun by the time that has passed, and no answer has shown it yet."""
    awaited_by: Priority | None = None
    """The first in rank of those who had to wait for its end."""

    @property
    def kept(self) -> float:
        """Requests that polls leave."""
        return min(max(KEPT_AT_LEAST, KEPT * self.limit), self.limit // 2)

    def show(self, *, remaining: float, reset: float, now: float) -> None:
        """Take what an answer says of it. Answers come late, and not in the order in which they were written."""
        ends_at = now + reset
        self.seen_at, self.length = now, max(self.length, reset)
        if self.is_assumed or ends_at > self.ends_at + self.length / 2:
            self.lowest, self.ends_at, self.is_assumed = remaining, ends_at, False
        elif ends_at >= self.ends_at - self.length / 2:
            # Every answer took some time: the earliest of the ends that they name is the closest, and never too early.
            self.lowest, self.ends_at = min(self.lowest, remaining), min(self.ends_at, ends_at)
        # Else it was written in the window before this one, and says nothing of it.

    def begin_anew(self, now: float) -> None:
        """The next window, whole, after this one has ended."""
        self.lowest, self.ends_at, self.is_assumed, self.awaited_by = self.limit, now + self.length, True, None


@attrs.define(eq=False)
class Budget:
    """Of one group. Whoever may go calls `take`, and `learn` or `give_back` once it is known what came of it."""

    in_flight: int = 0
    """Requests that are under way. Any of them may have been counted already, or not: they count as spent."""
    _width: int = FIRST_WIDTH
    _due: float = -math.inf
    """When the next request is due at an even pace; those within a burst come earlier."""
    _stopped_until: float = -math.inf
    _windows: dict[float, Window] = attrs.field(factory=dict)
    _interval: float = 0.0
    """Seconds between requests under a limit that the windows do not tell of, as far as 429s have shown it."""
    _began: float = math.inf
    _successes: int = 0
    """Since the last stop: when the first request went, and how many succeeded."""

    def wait(self, priority: Priority, *, now: float) -> float:
        """Seconds until a request of this priority may go: 0.0 at once, infinity when an answer has to come first."""
        if now < self._stopped_until:
            return self._stopped_until - now
        if not self._windows and self.in_flight >= self._width + (priority is Priority.START):
            return math.inf  # a start has a place beside them: polls that hang would keep it for as long as they may
        wait = self._early(0.0, now=now) if self._interval else 0.0
        for window in self._windows.values():
            if now >= window.ends_at:
                self._begin_anew(window, now)
            kept = window.kept if priority is Priority.POLL else 0.0
            if window.lowest - self.in_flight - kept < 1:
                wait = max(wait, window.ends_at - now)
                window.awaited_by = priority if window.awaited_by is None else min(priority, window.awaited_by)
            else:
                wait = max(wait, self._early(BURST[priority] * window.length, now=now))
        return wait

    def _early(self, burst: float, *, now: float) -> float:
        """Seconds until the next request is due at the pace, or as much before as a burst may be."""
        early = self._due - now - burst
        return early if early > ROUNDING else 0.0

    def stopped_for(self, *, now: float) -> float:
        """Seconds for which a 429 still stops the group."""
        return max(0.0, self._stopped_until - now)

    def take(self, priority: Priority, *, now: float) -> None:
        """Count a request that goes now."""
        interval = self._interval
        for window in self._windows.values():
            left = window.lowest - self.in_flight - (window.kept if priority is Priority.POLL else 0.0)
            interval = max(interval, (window.ends_at - now) / max(1.0, left))
        self._began = min(self._began, now)
        self.in_flight += 1
        self._due = max(self._due, now) + interval

    def resets_within(self, seconds: float, *, now: float) -> bool:
        """Whether a window ends before so many seconds have passed."""
        return any(window.ends_at <= now + seconds for window in self._windows.values())

    def longest_window(self) -> float:
        """The length of the longest one in seconds; the shortest that there are where none is known."""
        return max((window.length for window in self._windows.values()), default=SHORTEST_WINDOW)

    def shift(self, seconds: float) -> None:
        """Move every instant by so much: the clock was set."""
        self._due += seconds
        self._stopped_until += seconds
        self._began += seconds
        for window in self._windows.values():
            window.ends_at += seconds
            window.seen_at += seconds

    def give_back(self) -> None:
        """Count a request that did not go after all."""
        self.in_flight -= 1

    def learn(self, sight: Sight | None, *, now: float) -> None:
        """Count a request that has ended; None where there is no answer."""
        if sight is not None and not sight.was_sent:
            self.give_back()
            return
        self.in_flight -= 1
        shown = None if sight is None or sight.window is None else self._show(sight.window, now=now)
        stopped_for = None if sight is None else sight.stopped_for
        if len(self._windows) > (shown is not None):
            self._count_unshown(shown, now=now, was_counted=stopped_for is None)
        if stopped_for is not None:
            self._stop(stopped_for, now=now)
        elif sight is not None:
            self._width = min(self._width + 1, MOST_WIDTH)
            self._successes += 1
            if self._interval:
                self._interval = self._interval * PROBING if self._interval > FASTEST else 0.0

    def _count_unshown(self, shown: Window | None, *, now: float, was_counted: bool) -> None:
        for window in [window for window in self._windows.values() if window is not shown]:
            if was_counted:  # as far as anybody knows
                window.lowest -= 1
            if now - window.seen_at > FORGOTTEN_AFTER * window.length:
                del self._windows[window.limit]

    def _show(self, shown: RateLimit, *, now: float) -> Window | None:
        limit, remaining, reset = shown.limit, shown.remaining, shown.reset
        if limit is None or remaining is None or reset is None or limit < 1 or reset > LONGEST_WINDOW:
            return None
        window = self._windows.get(limit)
        if window is None:
            window = self._windows[limit] = Window(
                limit=limit, lowest=remaining, ends_at=now + reset, length=max(reset, SHORTEST_WINDOW), seen_at=now
            )
        else:
            window.show(remaining=remaining, reset=reset, now=now)
        return window

    def _stop(self, seconds: float, *, now: float) -> None:
        if now >= self._stopped_until:  # what was under way together is stopped together, and counts once
            self._width = max(1, self._width // 2)
            if self._successes and all(window.lowest >= 1 for window in self._windows.values()):
                self._measure(seconds, now=now)
            self._began, self._successes = now + seconds, 0
        self._stopped_until = max(self._stopped_until, now + seconds)
        # At an even pace from then on: all who waited for it would go at once.
        longest = self.longest_window() if self._windows else 0.0
        burst = 0.0 if self._interval else BURST[Priority.CALL] * longest
        self._due = max(self._due, self._stopped_until + burst)

    def _measure(self, seconds: float, *, now: float) -> None:
        """A limit of which nothing was known allows so many requests in so much time, the stop included.

        And one after each stop: a pace that was slow for other reasons must not make the next one slower still.
        """
        span = now + seconds - self._began
        self._interval = max(self._interval, min(span / self._successes, seconds, SLOWEST))

    def _begin_anew(self, window: Window, now: float) -> None:
        if window.awaited_by is not None:
            # Likewise: all processes that share the key know this instant.
            self._due = max(self._due, window.ends_at + BURST[window.awaited_by] * window.length)
        window.begin_anew(now)
