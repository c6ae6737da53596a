"""How long to wait, how often to try, when to give up: frozen numbers, each with its reason, and pure arithmetic.

The only module that imports backoff. Of that library it uses the wait generators and the jitter; its decorators call
asyncio functions that Python 3.14 deprecates. `python-backoff`, which continues it under the same import name, serves
as well.
"""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import attrs
import backoff

from closebulk_async.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from closebulk_async.progress import Meter

Duration: TypeAlias = timedelta | float
"""What every parameter that is a duration takes: a timedelta, or seconds."""


def to_seconds(duration: Duration, *, name: str = "duration") -> float:
    """A duration as seconds. Raises InvalidRequestError where it is negative or not finite."""
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    if not _is_number(seconds) or seconds < 0:
        message = f"{name} must be seconds, a finite number that is not negative or a timedelta, and is {duration!r}"
        raise InvalidRequestError(message)
    return float(seconds)


def to_seconds_or_none(duration: Duration | None, *, name: str = "duration") -> float | None:
    """As `to_seconds`; None, which stands for «no limit», stays None."""
    return None if duration is None else to_seconds(duration, name=name)


def _is_number(value: object) -> bool:
    """Finite, and small enough for a float, which the integers of Python need not be."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _growing(*, first: float, factor: float, ceiling: float) -> Iterator[float]:
    if first == 0:  # grows never, and so never reaches the ceiling at which backoff stops to raise the power
        return itertools.repeat(0.0)
    waits = backoff.expo(base=factor, factor=first, max_value=ceiling)
    next(waits)  # both libraries begin with a value that only primes the generator
    return waits


def _unwrap(duration: Duration) -> float:
    """What of a duration is no timedelta passes as it is: a validator knows the name of the field, a converter not."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def _check_duration(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    to_seconds(value, name=attribute.name)


def _check_above_zero(_: object, attribute: attrs.Attribute[Any], value: float) -> None:
    if to_seconds(value, name=attribute.name) == 0:
        message = f"{attribute.name} must be longer than 0"
        raise InvalidRequestError(message)


def _check_truth(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not bool:
        message = f"{attribute.name} must be True or False, and is {value!r}"
        raise InvalidRequestError(message)


def _number_field(default: float, *, least: float = -math.inf, above: float = -math.inf, whole: bool = False) -> Any:
    """A field that holds a number; one of the two bounds is given."""
    bound = f"above {above:g}" if math.isfinite(above) else f"at least {least:g}"

    def check(_: object, attribute: attrs.Attribute[float], value: object) -> None:
        fits = _is_number(value) and value >= least and value > above  # type: ignore[operator]  # it is one
        if not fits or (whole and type(value) is not int):
            kind = "an integer" if whole else "a finite number"
            message = f"{attribute.name} must be {kind}, {bound}, and is {value!r}"
            raise InvalidRequestError(message)

    return attrs.field(default=default, validator=check)


@attrs.frozen(kw_only=True)
class Timeouts:
    """Bounds of one request, in seconds. No request goes without them."""

    # A TCP and TLS handshake across the world takes under a second; three lost packets add about seven.
    connect: float = attrs.field(default=10.0, converter=_unwrap, validator=_check_duration)
    # The whole exchange, connecting and reading the body included. The vendor names no bound; its load balancer, as
    # most, gives up after about a minute, and an answer later than that never comes.
    total: float = attrs.field(default=60.0, converter=_unwrap, validator=_check_duration)


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How one request is repeated. Which may be repeated at all is no policy: see `Request.is_safe_to_repeat`."""

    # Four repeats over 4 seconds on average (7.5 at the most) ride out a restarting server; an outage is for the
    # caller to judge.
    attempts: int = _number_field(5, least=1, whole=True)
    first: float = attrs.field(default=0.5, converter=_unwrap, validator=_check_duration)
    factor: float = _number_field(2.0, least=1)
    ceiling: float = attrs.field(default=20.0, converter=_unwrap, validator=_check_duration)
    # Documented windows of the rate limit are 5 to 8 seconds. Somebody asked to wait for minutes wants to know instead.
    max_wait: float = attrs.field(default=120.0, converter=_unwrap, validator=_check_duration)

    def waits(self) -> Iterator[float]:
        """The seconds before each repeat where the server named none: exponential, with full jitter.

        Full jitter (anything between zero and the step) spreads clients that failed at one instant best.
        """
        return map(backoff.full_jitter, _growing(first=self.first, factor=self.factor, ceiling=self.ceiling))


def after_hint(seconds: float) -> float:
    """The wait for a hint of the server's: never shorter, and up to a second longer, so that clients spread."""
    return backoff.random_jitter(seconds)


NO_RETRY = RetryPolicy(attempts=1, max_wait=0.0)
"""For the watcher's polls: the next poll is the repeat."""


@attrs.frozen(kw_only=True)
class StartPolicy:
    """What a start does so that a lost answer can be made good. Durations in seconds.

    How long a new action may be missing from the service's list is `PollPolicy.settle`.
    """

    # One request is enough where the list is in order. Where it is not, this is two thousand actions; reading more
    # before each start would eat the rate limit.
    fence_requests: int = _number_field(20, least=1, whole=True)
    # Looking for the action of a lost answer: a service that is a little late is seen soon, and fifteen seconds cost
    # six requests.
    first: float = attrs.field(default=0.5, converter=_unwrap, validator=_check_above_zero)
    factor: float = _number_field(2.0, least=1)
    ceiling: float = attrs.field(default=4.0, converter=_unwrap, validator=_check_above_zero)
    # After so long without a sign of life, another process may ask what became of a start. Longer would only delay
    # it: a start that is merely slow is never sent by anybody else.
    lease: float = attrs.field(default=20.0, converter=_unwrap, validator=_check_above_zero)

    def waits(self) -> Iterator[float]:
        """The seconds between looks."""
        return _growing(first=self.first, factor=self.factor, ceiling=max(self.first, self.ceiling))


# The numbers of the adaptive cadence. Those in floors scale with it: a floor is how late an end is typically known.

_NEAR: Final = 1.9
"""Floors between polls where the end is near: then one is known within a floor on average, and at most two later."""

_BLIND: Final = 5.0
"""Floors that may pass where nothing tells when the end comes. A person who looks now and then sees no difference."""

_LATE: Final = 0.1
"""Of the age, the same for long jobs: whoever has waited for an hour bears six minutes."""

_AFRESH: Final = 0.05
"""Of the age, after a status or a total that changed: they announce a counter, which is worth an early look.

But not at once after an hour, and not for ever where the total grows with each poll.
"""

_SURE: Final = 0.5
"""Of the predicted rest, where nothing was ever off: twice as fast is as much faster as a job becomes by itself."""

_WARY: Final = 3.0
"""How much a doubt shortens that. The rest may err by three times what the rate was last seen to.

Jobs drift, so each step is off in the direction of the one before.
"""

_OF_SPREAD: Final = 0.1
"""Of the seconds by which the end may be off: where each of them is as likely, ten polls are enough for all."""

_OVERDUE: Final = 0.2
"""Of the time for which the end is overdue: what is a little late comes soon, what is very late stalls."""

_LONG_OVERDUE: Final = 0.02
"""The same where a fifth would be longer than one bears: a stall of an hour is asked for every minute."""

_UNAWARE: Final = 0.22
"""Of the age, whatever was predicted: the counter cannot tell of what lies ahead.

A job seen at nine tenths of its life is so seen again within a tenth after its end, though it became ten times faster.
"""


@attrs.frozen(kw_only=True)
class PollPolicy:
    """How a wait polls, and how much silence it bears. Durations in seconds.

    The next poll comes after a share of the predicted rest: half of it where the rate of the counter was steady, less
    the more it changed. Where nothing can be predicted, the steps grow to five floors or a tenth of the time that the
    action was watched. `floor` is about how late an end is known, `ceiling` the longest step but those of `paused` and
    `webhook_beat`; equal, they are a fixed beat.
    """

    # Close's counters move in steps and its jobs take seconds at least: asking more often than each second learns
    # nothing. Never 0: that would be a loop without a pause.
    floor: float = attrs.field(default=1.0, converter=_unwrap, validator=_check_above_zero)
    # From a second to half a minute in ten polls: few enough, and no step much longer than all before it.
    factor: float = _number_field(1.5, above=1)
    # The longest sleep, and so the worst lateness where a prediction fails: somebody who waits for hours bears minutes.
    ceiling: float = attrs.field(default=120.0, converter=_unwrap, validator=_check_duration)
    # False: the interval grows by the factor whatever the counters say.
    is_adaptive: bool = attrs.field(default=True, validator=_check_truth)
    # Only a person ends a pause.
    paused: float = attrs.field(default=60.0, converter=_unwrap, validator=_check_duration)
    # While webhooks arrive, which tell of every end but that of a failure: a service that loses one is found out.
    webhook_beat: float = attrs.field(default=120.0, converter=_unwrap, validator=_check_above_zero)
    # Polls of actions that stand on one page of their list fall due at multiples of this, so that one request answers
    # those of half a second; an end is known a quarter of a second later on average. 0: each exactly when it is due.
    beat: float = attrs.field(default=0.5, converter=_unwrap, validator=_check_duration)
    # How often to look for new actions where nobody says that there is one. A dashboard bears half a minute.
    discover: float = attrs.field(default=30.0, converter=_unwrap, validator=_check_above_zero)
    # Who starts several jobs and then waits for one after the other comes late to those that were short.
    remember: float = attrs.field(default=60.0, converter=_unwrap, validator=_check_duration)
    # A deployment or an incident at the vendor's is over in a quarter of an hour, or somebody should know.
    lost_after: float = attrs.field(default=15 * 60.0, converter=_unwrap, validator=_check_duration)
    # How long a new job may be missing from answers of the service [unconfirmed].
    settle: float = attrs.field(default=15.0, converter=_unwrap, validator=_check_duration)
    # A status word that nobody knows may be final: after a day without movement it is treated as a stall.
    unknown_stall: float = attrs.field(default=24 * 3600.0, converter=_unwrap, validator=_check_duration)
    # The vendor: an action can be resumed until seven days after it was paused.
    resumable: float = attrs.field(default=7 * 86_400.0, converter=_unwrap, validator=_check_duration)
    # One read after the timeout of a wait, so that a job that just ended is not reported as still running.
    last_look: float = attrs.field(default=1.0, converter=_unwrap, validator=_check_duration)
    # As many polls at the same time as leave most of a connection pool of 100 to other requests.
    concurrency: int = _number_field(16, least=1, whole=True)

    @classmethod
    def fixed(cls, seconds: Duration, **more: Any) -> Self:
        """A poll every so many seconds, whatever is known of the action. `more` are other fields."""
        return cls(**{"floor": seconds, "ceiling": seconds, "paused": seconds, "beat": 0, **more})

    @classmethod
    def exponential(cls, first: Duration = 1.0, factor: float = 1.5, ceiling: Duration = 30.0, **more: Any) -> Self:
        """Intervals that grow by the factor from poll to poll, whatever the counters say. `more` are other fields."""
        return cls(**{"floor": first, "factor": factor, "ceiling": ceiling, "is_adaptive": False, "beat": 0, **more})

    def delay(self, meter: Meter[Any]) -> float:
        """Seconds between the latest good poll, `meter.at`, and the next one."""
        if meter.action.is_paused:
            return max(self.paused, self.floor)
        wish = self._predict(meter) if self.is_adaptive else self._grow(meter.running_for)
        return max(self.floor, min(wish, self.ceiling))

    def delay_after_failure(self, failures: int) -> float:
        """Seconds between a bad poll and the next one; `failures` is how many there were without a good one between.

        Grows by the factor, but no silence is left before at least thirty polls were spread over it.
        """
        top = max(self.floor, min(self.ceiling, self.lost_after / 30))
        steps = min(failures - 1, math.log(top / self.floor, self.factor))  # beyond, a power would overflow
        # Where polls are rare, one bad poll must not lose the watch before it is followed by another.
        return min(top, self.floor * math.pow(self.factor, steps), self.lost_after / 2)

    def _grow(self, since: float) -> float:
        """The step that follows after `since` seconds: a sum of steps that grow by the factor is the step itself.

        So the polls need no counting, and one that came early changes nothing.
        """
        return self.floor + (self.factor - 1) * since

    def _predict(self, meter: Meter[Any]) -> float:
        if meter.pace is None or meter.left is None:
            blind = max(_BLIND * self.floor, meter.running_for * _LATE)
            return min(blind, max(self._grow(meter.stalled_for), meter.running_for * _AFRESH))
        spread = meter.left * meter.pace.doubt
        rest = meter.pace.at + meter.left - meter.at
        wish = self._approach(rest, spread) if rest > 0 else self._pass_by(-rest, spread)
        return max(_NEAR * self.floor, min(wish, meter.running_for * _UNAWARE))

    def _approach(self, rest: float, spread: float) -> float:
        """The step when the end should come in `rest` seconds, and may come so many earlier or later."""
        return max(rest * _SURE / (1 + _WARY * spread / rest), spread * _OF_SPREAD)

    def _pass_by(self, overdue: float, spread: float) -> float:
        """The step when the end should have come before so many seconds."""
        return min(overdue * _OVERDUE, max(_BLIND * self.floor, overdue * _LONG_OVERDUE, spread * _OF_SPREAD))
