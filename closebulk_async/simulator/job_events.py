"""The events of a job itself, computed from its plan: what was told and what the log says are the same ones.

A job is *looked at* when a pause begins, when it ends, and at each beat of `WebhookRules.updated_every` in between.
What happened is a function of these looks, whoever listens and since when.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from .numbered_ids import numbered_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .jobs import Job
    from .kinds import JsonObject
    from .webhook_rules import WebhookRules

JOB_ACTIONS = ("created", "updated", "completed", "paused")
"""All that happens to a job in the eyes of the event log: it knows no failure and no resumption."""

FINAL = ("done", "error")

# What is compared to find out whether anything has changed; the rest of a row never does, its date apart.
_STATE = (
    *("status", "n_leads", "n_leads_processed", "n_objects", "n_objects_processed", "n_docs", "n_docs_processed"),
)
_STEP = timedelta(microseconds=1)

# So many streams may number the events of one job.
STREAMS = 8


class Stream(Protocol):
    """Events of one sort by number, each no earlier than the one before it; not every number has an event."""

    @property
    def types(self) -> Collection[tuple[str, str]]:
        """All object types and actions that occur."""

    def __len__(self) -> int:
        """How many numbers there are."""

    def at(self, number: int) -> datetime:
        """When it happened, or last changed; perhaps in the future."""

    def event(self, number: int) -> JsonObject | None:
        """The event, None where there is none."""

    def number_of(self, serial: int) -> int | None:
        """The number of the event that has this serial number in its id; None without one."""


def object_type(job: Job) -> str:
    """The name that the event log has for jobs of that kind."""
    return f"{job.kind.family}.{job.kind.name}"


def event_id(job: Job, stream: int, serial: int) -> str:
    """The id of an event that a job has caused."""
    return numbered_id("ev_", job.id, serial * STREAMS + stream)


def spell_naive(instant: datetime) -> str:
    """An instant as events spell it: in UTC without saying so, with microseconds."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def fill_event(action: str, data: JsonObject, *, at: datetime, **fields: object) -> JsonObject:
    """An event with every field that a payload has, sorted by name; `fields` replace what would be made up."""
    told = spell_naive(at)
    event: JsonObject = {
        "action": action,
        "api_key_id": None,
        "changed_fields": [],
        "data": data,
        "date_created": told,
        "date_updated": told,
        "lead_id": None,
        "meta": {},
        "object_id": data.get("id"),
        "organization_id": data.get("organization_id"),
        "previous_data": {},
        "request_id": None,
        "user_id": data.get("created_by"),
        **fields,
    }
    return dict(sorted(event.items()))


class Looks:
    """When a job is looked at: its turns as far as they are planned, and beats while it runs."""

    def __init__(self, job: Job, rules: WebhookRules) -> None:
        turns = sorted(set(job.turns()))
        ends = [at for at in turns if job.snapshot(at, ("status",)).get("status") in FINAL]
        self.ends: datetime | None = ends[0] if ends else None
        # A pause that was asked for in time may begin when there is nothing left to pause.
        self.turns: list[datetime] = [at for at in turns if not self.ends or at <= self.ends]
        self._job = job
        self._every = rules.updated_every

    def beat(self, number: int) -> datetime:
        """The instant of a beat; the first is number 1, and 0 is the job's creation."""
        return self._job.created_at + timedelta(seconds=number * self._every)

    def last_beat(self, now: datetime) -> int:
        """The number of the last beat that is not later than that."""
        number = max(0, math.floor((now - self._job.created_at).total_seconds() / self._every) + 1)
        while number and self.beat(number) > now:
            number -= 1
        return number

    def next(self, now: datetime, *, beats: bool) -> datetime | None:
        """The next look after that, at turns alone unless `beats` count as well; None when there is none planned."""
        turns = [at for at in self.turns if at > now]
        if not turns:
            return None
        return min(*turns, self.beat(self.last_beat(now) + 1)) if beats else turns[0]

    def previous(self, at: datetime) -> datetime:
        """The last look before that; the job's creation before the first."""
        return max(
            self.beat(self.last_beat(at - _STEP)), *(turn for turn in self.turns if turn < at), self._job.created_at
        )


class Turns:
    """That a job was created, paused, and completed; that it failed is an update, where it is told at all."""

    def __init__(self, job: Job, rules: WebhookRules) -> None:
        self._job = job
        self._tells_errors = rules.tells_errors
        self._looks = looks = Looks(job, rules)
        self._instants = [job.created_at, *looks.turns]
        self.types: tuple[tuple[str, str], ...] = tuple((object_type(job), action) for action in JOB_ACTIONS)

    def __len__(self) -> int:
        """How many turns are planned, the creation among them."""
        return len(self._instants)

    def at(self, number: int) -> datetime:
        """When the turn is."""
        return self._instants[number]

    def number_of(self, serial: int) -> int | None:
        """The same number, if it is planned."""
        return serial if serial < len(self) else None

    def event(self, number: int) -> JsonObject | None:
        """What the turn is told as."""
        at, id = self.at(number), event_id(self._job, 0, number)  # noqa: A001 - the field's name
        if number == 0:
            return self._create(id)
        status = _status(self._job, at)
        if status in FINAL:
            action = "completed" if status == "done" else "updated" if self._tells_errors else None
        else:
            action = "paused" if status == "paused" != _status(self._job, at - _STEP) else None
        if action is None:
            return None
        return tell_change(action, self._job, before=self._looks.previous(at), since=at, at=at, id=id)

    def _create(self, id: str) -> JsonObject:
        job = self._job
        return fill_event(
            "created",
            job.snapshot(job.created_at),
            at=job.created_at,
            id=id,
            meta={"request_method": "POST", "request_path": f"/api/v1/{job.kind.family}/{job.kind.name}/"},
            object_type=object_type(job),
            request_id=numbered_id("req_", job.id, 0),
        )


class Updates:
    """How a job went on, as of an instant: changes at beats that follow each other soon enough are one event.

    A number stands for the beats from one that begins an event, changed or not, to the next that does.
    """

    def __init__(self, job: Job, rules: WebhookRules, now: datetime) -> None:
        self._job = job
        self._looks = looks = Looks(job, rules)
        self.types: tuple[tuple[str, str]] = ((object_type(job), "updated"),)
        # A row that was set by hand, and one that never ends, are as good as silent.
        self._last = looks.last_beat(min(now, looks.ends or now)) if looks.turns else 0
        self._together = max(1, math.ceil(rules.consolidated_for / rules.updated_every))
        # A pause ends an event as well as the time does.
        self._resumed = [looks.last_beat(turn) + 1 for turn in looks.turns if turn <= now]

    def __len__(self) -> int:
        """How many events there may be."""
        return len(self._firsts)

    def at(self, number: int) -> datetime:
        """When it changed last; of one that never did, its first beat."""
        beats = self._beats(self._firsts[number])
        changed = self._find(reversed(beats)) if self._moved(beats) else None
        return self._looks.beat(beats[0] if changed is None else changed)

    def number_of(self, serial: int) -> int | None:
        """The event that begins with the beat of that number."""
        number = bisect_left(self._firsts, serial)
        return number if number < len(self) and self._firsts[number] == serial else None

    def event(self, number: int) -> JsonObject | None:
        """The event as it was after its latest change."""
        beats = self._beats(self._firsts[number])
        return self._tell(beats) if self._moved(beats) else None

    def event_at(self, at: datetime) -> JsonObject | None:
        """The event as it was told at the last beat, at that very instant; None when nothing had changed then."""
        beat = self._last
        if not beat or self._looks.beat(beat) != at or not self._differs(at):
            return None
        latest = (resumed for resumed in self._resumed if resumed <= beat)
        return self._tell(self._beats(max(beat - (beat - 1) % self._together, *latest, 1)))

    @cached_property
    def _firsts(self) -> list[int]:
        resumed = (beat for beat in self._resumed if beat <= self._last)
        return sorted({*range(1, self._last + 1, self._together), *resumed})

    def _beats(self, first: int) -> range:
        by_time = first + self._together - (first - 1) % self._together
        return range(first, min(by_time, self._last + 1, *(beat for beat in self._resumed if beat > first)))

    def _tell(self, beats: range) -> JsonObject | None:
        first, last = self._find(beats), self._find(reversed(beats))
        if first is None or last is None:
            return None
        since, at = self._looks.beat(first), self._looks.beat(last)
        before = self._looks.previous(since)
        return tell_change("updated", self._job, before=before, since=since, at=at, id=event_id(self._job, 1, beats[0]))

    def _moved(self, beats: range) -> bool:
        # A job of days has thousands of these, and one that is paused does not move in most.
        before, after = self._looks.previous(self._looks.beat(beats[0])), self._looks.beat(beats[-1])
        return self._state(before) != self._state(after)

    def _find(self, beats: Iterable[int]) -> int | None:
        return next((beat for beat in beats if self._differs(self._looks.beat(beat))), None)

    def _differs(self, at: datetime) -> bool:
        """Whether anything but the date changed; what happened at a turn is told as that."""
        return at not in self._looks.turns and self._state(self._looks.previous(at)) != self._state(at)

    def _state(self, at: datetime) -> JsonObject:
        return self._job.snapshot(at, _STATE)


def tell_change(action: str, job: Job, *, before: datetime, since: datetime, at: datetime, id: str) -> JsonObject:
    """An event about a job whose row was another before; `since` is when the first change that it tells of was."""
    row, old = job.snapshot(at), job.snapshot(before)
    changed = [name for name in row if old.get(name) != row[name]]
    return fill_event(
        action,
        row,
        at=at,
        changed_fields=changed,
        date_created=spell_naive(since),
        id=id,
        object_type=object_type(job),
        previous_data={name: old.get(name) for name in changed},
    )


def _status(job: Job, at: datetime) -> object:
    return job.snapshot(at, ("status",)).get("status")
