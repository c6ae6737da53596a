"""One bulk action: what was asked, how it will go, and what a response says about it at an instant."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from .kinds import Json, JsonObject, Kind
from .plans import Plan
from .refusals import NOT_A_CHOICE, refused, refused_fields

if TYPE_CHECKING:
    from .kinds import Field

RESUMABLE_FOR = timedelta(days=7)

# A century in seconds: what is planned for later does not happen, and would not fit a date.
_ENDLESS = 100 * 366 * 86_400.0

# Far below the microseconds that a clock tells apart, far above what sums of seconds are off by.
_FLOAT_ERROR = 1e-7

# The fields that move while a job runs; values that were set by hand for them give way when its status is changed.
_MOVING = ("status", "date_updated", "n_leads_processed", "n_objects_processed")


@frozen(kw_only=True)
class Pause:
    """One pause, in seconds since the job's start: it begins at `begins`, `resumed` asks for its end at `ends`."""

    begins: float
    resumed: float | None = None
    ends: float | None = None

    def lasted(self, elapsed: float) -> float:
        """How much of the time until `elapsed` was spent in this pause."""
        until = elapsed if self.ends is None else min(elapsed, self.ends)
        return max(0.0, until - self.begins)


@define(eq=False, kw_only=True)
class Job:
    """A bulk action of the simulator.

    Everything that a response says is a function of the instant it is asked for; only `pause` and `resume` change
    the object, and they call its `listeners`. `fixed` holds response fields that were set by hand and `without` names
    those that are left out. `lead_ids` are the leads it acts on, where its query was evaluated.
    """

    id: str
    kind: Kind
    request: Mapping[str, Json]
    plan: Plan
    created_at: datetime
    organization_id: str
    user_id: str
    lead_ids: tuple[str, ...] = field(default=(), repr=False)
    fixed: JsonObject = field(factory=dict)
    without: frozenset[str] = frozenset()
    listeners: Sequence[Callable[[Job], None]] = field(default=(), init=False, repr=False)
    _pauses: tuple[Pause, ...] = field(default=(), init=False)
    # What a job that was put there half done had behind it, less what its age would say; seconds of activity.
    _head_start: float = field(default=0.0, init=False)

    def snapshot(self, now: datetime, only: Collection[str] | None = None) -> JsonObject:
        """The response object at that instant: every field of the kind's schema, sorted by name as the vendor does.

        `only` names the fields to give; the others are not even worked out.
        """
        elapsed = self._elapsed(now)
        active = self._active(elapsed)
        plan = self.plan
        made: dict[str, Callable[[], Json]] = {
            "created_by": lambda: self.user_id,
            "date_created": lambda: spell_date(self.created_at),
            "date_updated": lambda: spell_date(self.created_at + timedelta(seconds=self._updated(elapsed))),
            "id": lambda: self.id,
            "n_leads": lambda: plan.leads if plan.is_counted(active) else None,
            "n_leads_processed": lambda: plan.processed(plan.leads, active),
            "n_objects": lambda: plan.n_objects if plan.is_counted(active) else None,
            "n_objects_processed": lambda: plan.processed(plan.n_objects, active),
            "organization_id": lambda: self.organization_id,
            "status": lambda: self._status(elapsed),
            "updated_by": lambda: self.user_id,
        }
        row = {name: make() for name, make in made.items() if only is None or name in only}
        for known in self.kind.fields:
            if known.echoed and (only is None or known.name in only):
                row[known.name] = echo(known, self.request.get(known.name))
        row |= {name: deepcopy(value) for name, value in self.fixed.items() if only is None or name in only}
        return {name: row[name] for name in sorted(row) if name not in self.without}

    @property
    def shown_at(self) -> datetime:
        """From when the service shows the job to those who read; the end of time where that is never."""
        try:
            return self.created_at + timedelta(seconds=self.plan.shown_after)
        except OverflowError:
            return datetime.max.replace(tzinfo=UTC)

    def is_shown(self, now: datetime) -> bool:
        """Whether the service already shows the job to those who read."""
        return now >= self.shown_at

    def echo(self, name: str) -> Json:
        """What a response says for a field of the request."""
        return self.fixed.get(name, self.request.get(name))

    def change(self, body: Mapping[str, Json], now: datetime) -> None:
        """Carry out a PUT; raises `RefusedError` when the service would not. Fields other than `status` are ignored."""
        wanted = body.get("status")
        if wanted is None:
            return
        if wanted == "paused":
            self.pause(now)
        elif wanted == "resuming":
            self.resume(now)
        else:
            raise refused_fields({"status": NOT_A_CHOICE})

    def pause(self, now: datetime) -> None:
        """Pause the job; raises `RefusedError` (400) unless it is in progress."""
        row = self.snapshot(now)
        if row["status"] in ("paused", "done", "error"):
            raise refused(f"Only a bulk action in progress can be paused, this one is {row['status']}.")
        self._release(row, now)
        self._pauses = (*self._pauses, Pause(begins=self._elapsed(now) + self.plan.pausing))
        self.tell_listeners()

    def resume(self, now: datetime) -> None:
        """Resume the job; raises `RefusedError` (400) unless it was paused in the last seven days."""
        row = self.snapshot(now)
        if row["status"] != "paused":
            raise refused(f"Only a paused bulk action can be resumed, this one is {row['status']}.")
        if now - (read_date(row["date_updated"]) or self.created_at) > RESUMABLE_FOR:
            raise refused("A bulk action can only be resumed within 7 days of being paused.")
        self._release(row, now)
        elapsed = self._elapsed(now)
        *earlier, pause = self._pauses or (Pause(begins=elapsed),)
        self._pauses = (*earlier, evolve(pause, resumed=elapsed, ends=elapsed + self.plan.resuming))
        self.tell_listeners()

    def turns(self) -> tuple[datetime, ...]:
        """When pauses would begin and when the job ends, as far as planned; nothing for a row that was set by hand."""
        if "status" in self.fixed:
            return ()
        seconds = (*(pause.begins for pause in self._pauses), self._ended())
        return tuple(self._instant(turn) for turn in seconds if turn < _ENDLESS)

    @property
    def is_set_by_hand(self) -> bool:
        """Whether its progress is what somebody said, and not that of its plan."""
        return any(name in self.fixed for name in _MOVING)

    def active_at(self, now: datetime) -> float:
        """The seconds that it was at work until then."""
        return self._active(self._elapsed(now))

    def instant_of(self, active: float) -> datetime:
        """When it had been at work for so many seconds, as long as it already was or is planned to be."""
        elapsed = active - self._head_start
        for pause in self._pauses:
            # What sums of floats are off by is no reason to wait for the end of a pause.
            if pause.begins < elapsed - _FLOAT_ERROR:
                elapsed += pause.lasted(math.inf)
        return self.created_at + timedelta(seconds=elapsed)

    def _instant(self, elapsed: float) -> datetime:
        """The first instant of a clock of microseconds at which a reader sees what changed so long after the start."""
        at = self.created_at + timedelta(seconds=elapsed)
        # Sums of floats may fall short of the plan by less than that, and `at` is rounded to it.
        step = timedelta(microseconds=1)
        return at if self._status(self._elapsed(at)) == self._status(self._elapsed(at + step)) else at + step

    def tell_listeners(self) -> None:
        """Say that the job is new or goes another way from now on."""
        for listen in self.listeners:
            listen(self)

    def _release(self, row: JsonObject, now: datetime) -> None:
        """Let a job whose progress was set by hand go on by its plan from there."""
        if not self.is_set_by_hand:
            return
        self.fixed = {name: value for name, value in self.fixed.items() if name not in _MOVING}
        total, processed = row["n_objects"], row["n_objects_processed"]
        share = processed / total if isinstance(processed, int) and isinstance(total, int) and total else 0.0
        self._head_start = self.plan.active_at(share) - self._elapsed(now)

    def _elapsed(self, now: datetime) -> float:
        return (now - self.created_at).total_seconds()

    def _active(self, elapsed: float) -> float:
        # Most jobs were never paused, and a page has a hundred of them.
        return self._head_start + elapsed - (self._paused_for(elapsed) if self._pauses else 0.0)

    def _paused_for(self, elapsed: float) -> float:
        return sum(pause.lasted(elapsed) for pause in self._pauses)

    def _ended(self) -> float:
        """Seconds from the start to the end of a job that has ended."""
        end = self.plan.duration - self._head_start
        for pause in self._pauses:
            # The last one may have been asked for in time and begun too late.
            if pause.begins < end:
                end += pause.lasted(math.inf)
        return end

    def _status(self, elapsed: float) -> str:
        natural = self.plan.status(self._active(elapsed))
        pause = self._pauses[-1] if self._pauses else None
        if natural == self.plan.ends or pause is None or elapsed < pause.begins:
            return natural
        if pause.ends is None:
            return "paused"
        return "resuming" if elapsed < pause.ends else natural

    def _updated(self, elapsed: float) -> float:
        """Seconds from the start to the last change that a reader could see."""
        status = self._status(elapsed)
        if status == self.plan.ends:
            return self._ended()
        if status == "paused":
            return self._pauses[-1].begins
        if status == "resuming":
            return self._pauses[-1].resumed or 0.0
        return 0.0 if status == "created" else elapsed


def spell_date(instant: datetime) -> str:
    """An instant in the service's spelling: ISO 8601 in UTC with microseconds and offset."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def read_date(value: Json) -> datetime | None:
    """The instant of a date given as datetime or text; None for anything else, also for a date without an offset."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) and value.tzinfo else None


def echo(known: Field, value: Json) -> Json:
    """What a response says for a field that was sent as `value`: nothing becomes the default, a number its text."""
    if value is None:
        return deepcopy(known.default)
    return value if isinstance(value, str) or known.types[0] is not str else json.dumps(value)
