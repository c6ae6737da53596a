"""What a test may set about webhooks, each with the value that is documented or the safest guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import field, frozen, validators
from attrs.converters import optional

from .plans import Duration, to_seconds

if TYPE_CHECKING:
    import random

    from .kinds import JsonObject

Chance = float | Callable[["JsonObject"], bool]
"""A share of all deliveries from 0 to 1, or a function of the event that says which."""

Spread = Duration | tuple[Duration, Duration]
"""A duration, or the shortest and the longest between which each one is drawn."""


def _to_spread(spread: Spread) -> tuple[float, float]:
    least, most = spread if isinstance(spread, tuple) else (spread, spread)
    return to_seconds(least), to_seconds(most)


@frozen(kw_only=True)
class WebhookRules:
    """How events come about and how they are delivered; each duration is in seconds or a `timedelta`, kept in seconds.

    Documented: 40 subscriptions (`at_most`); retries at growing intervals up to `retried_at_most` until `dropped_after`
    the first attempt; a subscription that failed for `paused_after`, or with a `backlog` of more deliveries, is paused
    and its queue cleared; deliveries may come twice and in any order.

    Not confirmed by any source, so that a client must stand each value:

    - `updated_every`: a running job is compared so often with what was last told, and told about when it has changed;
    - `consolidated_for`: further changes so soon after the first are the same event with another `date_updated`;
    - `tells_errors`: whether a failed job is told about, as an `updated` event whose data has the status;
    - `delay`: from event to delivery; with a spread, `(0, 30)`, deliveries overtake each other;
    - `repeat`, `repeated_after`: which deliveries are made twice, and how much later; `drop`: which are lost;
    - `retried_after`: until the first retry, each further interval is twice as long; `timeout`: how long a receiver may
      take; anything but a 2xx is a failure, redirects too;
    - `resigns_retries`: whether a retry has a timestamp and signature of its own;
    - `shows_key`: whether a GET of a subscription tells its signature key.
    """

    updated_every: float = field(default=5.0, converter=to_seconds, validator=validators.gt(0))
    consolidated_for: float = field(default=60.0, converter=to_seconds)
    tells_errors: bool = False
    delay: tuple[float, float] = field(default=(1.0, 1.0), converter=_to_spread)
    repeat: Chance = 0.0
    repeated_after: tuple[float, float] = field(default=(5.0, 5.0), converter=_to_spread)
    drop: Chance = 0.0
    retried_after: float = field(default=15.0, converter=to_seconds, validator=validators.gt(0))
    retried_at_most: float = field(default=1200.0, converter=to_seconds, validator=validators.gt(0))
    dropped_after: float = field(default=72 * 3600.0, converter=to_seconds)
    paused_after: float | None = field(default=3 * 86_400.0, converter=optional(to_seconds))
    backlog: int = 100_000
    timeout: float = field(default=30.0, converter=to_seconds)
    resigns_retries: bool = False
    shows_key: bool = False
    at_most: int = 40

    def retry_in(self, failures: int, *, passed: float) -> float | None:
        """Seconds to the next attempt after so many failures, `passed` after the first; None when it is given up.

        The last attempt is the one at which the time is up.
        """
        if passed >= self.dropped_after:
            return None
        # 2 ** 40 times a microsecond is more than any interval; without a bound the power would not fit a float.
        interval = self.retried_after * 2.0 ** min(failures - 1, 40)
        return min(interval, self.retried_at_most, self.dropped_after - passed)


def draw(spread: tuple[float, float], source: random.Random) -> float:
    """Seconds from the spread."""
    least, most = spread
    return least if least == most else source.uniform(least, most)


def happens(chance: Chance, event: JsonObject, source: random.Random) -> bool:
    """Whether this event is one of those."""
    return chance(event) if callable(chance) else source.random() < chance
