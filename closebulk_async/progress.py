"""How far an action is: a reducer over the snapshots that polls read, and the value that a wait yields.

Pure: time comes in as numbers. The reducer keeps a fixed amount of state however long an action runs.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import attrs
import orjson

from closebulk_async.convert import format_datetime, parse_datetime
from closebulk_async.errors import CloseBulkError, InvalidRequestError, WaitError
from closebulk_async.models import MODEL_OF_KIND, Export, Job, JobRef, Phase, Status
from closebulk_async.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Mapping

A = TypeVar("A", bound=Job)
A_co = TypeVar("A_co", bound=Job, covariant=True)


_NORMAL = 1.7
"""Makes of the logistic function nearly the distribution of a normal error, whose unit is the spread of the rest."""

_CERTAIN = 30.0
"""What `exp` bears, and more certainty than anybody has."""

_RATE_IS_WRONG = 0.3
"""How often a rate that predicts a later end is wrong about it: some jobs hurry at the end."""

LONGEST_ETA = 100 * 365 * 86_400.0
"""Seconds of a century: what would take longer was not measured but divided by almost nothing."""


@attrs.frozen(kw_only=True)
class Progress(Generic[A_co]):
    """One step of a wait.

    `fraction` (0.0 to 1.0), `rate` (objects per second) and `eta` are None where they are not known: never a made-up
    number. Counters never run backwards, even where a snapshot's do. `elapsed` and `polls` count from the begin of this
    wait. `last_error` is what the most recent failed poll raised, and stays until another one fails.
    """

    action: A_co
    n_objects_processed: int
    n_objects: int | None
    fraction: float | None
    rate: float | None
    eta: timedelta | None
    elapsed: timedelta
    polls: int
    next_poll_in: timedelta | None
    stalled_for: timedelta
    paused_since: datetime | None
    last_error: CloseBulkError | None = None
    error: CloseBulkError | None = None
    changed: bool = True

    @property
    def ref(self) -> JobRef[A_co]:
        """Kind and id of the action."""
        return self.action.ref  # type: ignore[return-value]  # the union of the four kinds' refs

    @property
    def status(self) -> Status | str | None:
        """The status word of the snapshot; None also where there is none, because no poll has shown the action."""
        return getattr(self.action, "status", None)

    @property
    def is_final(self) -> bool:
        """Nothing follows: the action has ended, or following it has failed."""
        return self.error is not None or self.action.is_final

    def to_dict(self) -> dict[str, Any]:
        """JSON values: durations in seconds, dates as text, errors as their messages, the action as its own JSON."""
        plain = attrs.asdict(self, recurse=False)
        for name, value in plain.items():
            if isinstance(value, timedelta):
                plain[name] = value.total_seconds()
            elif isinstance(value, datetime):
                plain[name] = format_datetime(value)
            elif isinstance(value, CloseBulkError):
                plain[name] = str(value)
        status = None if self.status is None else str(self.status)
        return {"ref": str(self.ref), "status": status, **plain, "action": self.action.to_dict()}

    def to_json(self) -> str:
        """`to_dict()` as JSON text."""
        return orjson.dumps(self.to_dict()).decode()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Progress[Job]:
        """The progress that `to_dict` wrote; of its errors the messages remain, in a CloseBulkError or a WaitError.

        Raises InvalidRequestError.
        """
        try:
            ref = JobRef.parse(data["ref"])
            action = MODEL_OF_KIND[ref.kind].from_dict(data["action"])
            plain = {field.name: data[field.name] for field in attrs.fields(cls)}
            for name in ("eta", "elapsed", "next_poll_in", "stalled_for"):
                plain[name] = None if plain[name] is None else timedelta(seconds=plain[name])
            since, last, error = plain["paused_since"], plain["last_error"], plain["error"]
            plain["paused_since"] = None if since is None else parse_datetime(since)
            plain["last_error"] = None if last is None else CloseBulkError(last)
            plain["error"] = (
                None if error is None else WaitError(error.removeprefix(f"{ref}: "), ref=ref, action=action)
            )
            return cast("Progress[Job]", cls(**{**plain, "action": action}))
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            message = f"this is not a {cls.__name__}: {type(exc).__name__}: {exc}"
            raise InvalidRequestError(message) from exc


@attrs.frozen(kw_only=True, weakref_slot=False)  # there is one for each wait
class Meter(Generic[A_co]):
    """What the reducer remembers between two polls. Times are a monotonic clock's seconds.

    `since` is the first good poll, or the first after a pause: nothing is measured across one. An age by the dates of
    the action would know of a pause, of a queue and of another clock's error only that time has passed, and take all of
    it for work.
    """

    action: A_co
    at: float
    processed: int
    total: int | None
    since: float
    moved_at: float
    pace: Pace | None
    paused_since: datetime | None

    @property
    def stalled_for(self) -> float:
        """Seconds between the good poll that first showed this state and the latest good poll."""
        return self.at - self.moved_at

    @property
    def running_for(self) -> float:
        """Seconds between `since` and the latest good poll."""
        return self.at - self.since

    @property
    def has_moved(self) -> bool:
        """The latest good poll showed something new."""
        return self.moved_at == self.at

    @property
    def fraction(self) -> float | None:
        """Between 0.0 and 1.0; None while the service has not counted."""
        if self.action.is_done:
            return 1.0
        return min(1.0, self.processed / self.total) if self.total else None

    @property
    def rate(self) -> float | None:
        """Objects per second, see `Pace`; None until the counter was seen to move."""
        return None if self.pace is None else self.pace.rate

    @property
    def left(self) -> float | None:
        """Seconds between the latest movement of the counter and its last one, by the rate.

        None where nothing was measured or counted.
        """
        if self.pace is None or self.total is None:
            return None
        left = max(0, self.total - self.processed) / self.pace.rate
        return left if left < LONGEST_ETA else None

    @property
    def eta(self) -> float | None:
        """Seconds that the job still takes, as of the latest good poll; None where nothing was measured or it rests."""
        if self.action.is_done:
            return 0.0
        left = self.left
        if left is None or self.pace is None or self.action.phase is not Phase.RUNNING:
            return None
        return max(0.0, self.pace.at + left - self.at)

    def chance_of_end(self, at: float) -> float:
        """How probable it is that the action has ended by `at`, a later instant; between 0 and 1.

        A job ends without notice as well: one of any length has ended, by one chance in two, when it is twice as old.
        """
        if self.action.phase is not Phase.RUNNING:
            return 0.0
        since = at - self.at
        unannounced = since / (since + self.running_for + 1.0)
        if self.pace is None or self.left is None:
            return unannounced
        late = (at - self.pace.at - self.left) / max(1.0, self.left * self.pace.doubt)
        by_rate = 1.0 / (1.0 + math.exp(max(-_CERTAIN, min(_CERTAIN, -_NORMAL * late))))
        return max(by_rate, _RATE_IS_WRONG * unannounced)


def observe(previous: Meter[A] | None, action: A, *, at: float, now: datetime) -> Meter[A]:
    """The state after one more good poll, which read `action`. `at` is a monotonic instant, `now` the time of day."""
    processed, total = count_objects(action)
    if previous is None:
        return Meter(
            action=action,
            at=at,
            processed=processed,
            total=total,
            since=at,
            moved_at=at,
            pace=None,
            paused_since=_find_pause(None, action, at=at, now=now),
        )
    processed = max(processed, previous.processed)
    total = previous.total if total is None else total
    has_moved = processed > previous.processed or total != previous.total or action.status != previous.action.status
    paused_since = _find_pause(previous, action, at=at, now=now)
    has_rested = paused_since is not None or previous.paused_since is not None
    return Meter(
        action=action,
        at=at,
        processed=processed,
        total=total,
        since=at if has_rested else previous.since,
        moved_at=at if has_moved else previous.moved_at,
        pace=None if has_rested else _measure(previous, processed, at),
        paused_since=paused_since,
    )


def _measure(previous: Meter[Any], processed: int, at: float) -> Pace | None:
    gained = processed - previous.processed
    if not gained:
        return previous.pace
    if previous.pace is None:
        return Pace.begin(processed, gained=gained, since=previous.since, before=previous.at, at=at)
    return previous.pace.move(processed, before=previous.at, at=at)


def count_objects(action: Job) -> tuple[int, int | None]:
    """Objects processed and to process. Rows of older servers lack them: then leads stand in, or nothing is known.

    A negative number is as good as none.
    """
    processed, total = _shown_counters(action)
    return max(0, processed), total if total is None or total >= 0 else None


def _shown_counters(action: Job) -> tuple[int, int | None]:
    if isinstance(action, Export):
        return getattr(action, "n_docs_processed", None) or 0, getattr(action, "n_docs", None)
    processed = getattr(action, "n_objects_processed", None)
    if processed is None:
        return getattr(action, "n_leads_processed", 0), getattr(action, "n_leads", None)
    return processed, getattr(action, "n_objects", None)


def _find_pause(previous: Meter[Any] | None, action: Job, *, at: float, now: datetime) -> datetime | None:
    """When the pause began that a poll shows: the service says only when it last touched the action.

    Not before the last poll that showed it running.
    """
    if not action.is_paused:
        return None
    if previous is not None and previous.paused_since is not None:
        return previous.paused_since
    touched: datetime | None = getattr(action, "date_updated", None)
    if touched is None:
        return now
    if previous is not None:
        touched = max(touched, now - timedelta(seconds=at - previous.at))
    return min(touched, now)
