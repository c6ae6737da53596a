"""Events of the jobs: what the event log would say about a job, and when, computed from its plan."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import define, frozen

from .agenda import Entry
from .ids import make_event_id
from .jobs import Job
from .kinds import JsonObject

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from .agenda import Agenda
    from .clock import Clock
    from .knobs import Knobs

JOB_ACTIONS = ("created", "updated", "completed", "paused")
"""All that happens to a job in the eyes of the event log: it knows no failure and no resumption."""

_FINAL = ("done", "error")

# A job that was started now is a little older on the machine's clock when it is told about.
_NEW = timedelta(seconds=1)


def object_type(job: Job) -> str:
    """The name that the event log has for jobs of that kind."""
    return f"bulk_action.{job.kind.name}"


def make_event(action: str, data: JsonObject, *, at: datetime, source: random.Random, **fields: object) -> JsonObject:
    """An event with every field that a payload has, sorted by name; `fields` replace what would be made up."""
    told = spell_naive(at)
    event: JsonObject = {
        "action": action,
        "api_key_id": None,
        "changed_fields": [],
        "data": data,
        "date_created": told,
        "date_updated": told,
        "id": make_event_id("ev_", source),
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


def spell_naive(instant: datetime) -> str:
    """An instant as events spell it: in UTC without saying so, with microseconds."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


@frozen
class _Consolidated:
    """The update that further changes are folded into: since when, what was there before it, its id."""

    since: datetime
    before: JsonObject
    id: str


@define(eq=False)
class _Story:
    """What was told about one job, and when there will be more."""

    job: Job
    told: JsonObject
    is_paused: bool = False
    entry: Entry | None = None
    update: _Consolidated | None = None


class Narrator:
    """Tells the events of jobs while somebody listens; a job's own clockwork does not need it."""

    def __init__(
        self,
        knobs: Knobs,
        agenda: Agenda,
        clock: Clock,
        *,
        source: random.Random,
        tell: Callable[[JsonObject], None],
    ) -> None:
        self._knobs = knobs
        self._agenda = agenda
        self._clock = clock
        self._source = source
        self._tell = tell
        self._stories: dict[str, _Story] = {}
        self._tells_updates = False
        self._listens = False

    def listen(self, jobs: Iterable[Job], *, updates: bool) -> None:
        """Tell what happens from now on, to these jobs and to those to come; `updates` too if anybody wants them."""
        now = self._clock.now()
        self._tells_updates = updates
        if not self._listens:
            self._listens = True
            for job in jobs:
                self._follow(job, now)
        else:
            for story in self._stories.values():
                self._plan(story, now)

    def leave(self) -> None:
        """Tell nothing more."""
        self._listens = False
        for story in self._stories.values():
            self._agenda.strike(story.entry)
        self._stories.clear()

    def hear(self, job: Job) -> None:
        """Take notice of a new job, or of one that was paused or resumed."""
        if not self._listens:
            return
        now = self._clock.now()
        story = self._stories.get(job.id)
        if story is not None:
            if job.snapshot(now, ("status",)).get("status") == "paused":
                self._look(story, now)
            else:
                # Nobody is told of a resumption, but the next pause is another one.
                story.is_paused = False
                self._plan(story, now)
            return
        self._follow(job, now)
        # One that was put there with a past has been created before anybody could be told.
        if now - job.created_at < _NEW:
            path = f"/api/v1/bulk_action/{job.kind.name}/"
            self._say(
                "created",
                job,
                job.snapshot(now),
                at=now,
                meta={"request_method": "POST", "request_path": path},
                request_id=make_event_id("req_", self._source),
            )

    def _follow(self, job: Job, now: datetime) -> None:
        row = job.snapshot(now)
        if row.get("status") not in _FINAL:
            story = self._stories[job.id] = _Story(job, row, is_paused=row.get("status") == "paused")
            self._plan(story, now)

    def _plan(self, story: _Story, now: datetime) -> None:
        """Enter the next instant at which there may be something to tell."""
        self._agenda.strike(story.entry)
        story.entry = None
        job = story.job
        instants = [at for at in job.turns() if at > now]
        if instants and self._tells_updates:
            every = self._knobs.webhook_rules.updated_every
            beats = math.floor((now - job.created_at).total_seconds() / every + 1)
            # Rounding to microseconds may lead back to `now` itself.
            instants.append(max(job.created_at + timedelta(seconds=beats * every), now + timedelta(microseconds=1)))
        if instants:
            story.entry = self._agenda.enter(min(instants), lambda at: self._look(story, at))

    def _look(self, story: _Story, at: datetime) -> None:
        job, before = story.job, story.told
        row = story.told = job.snapshot(at)
        status = row.get("status")
        if status in _FINAL:
            del self._stories[job.id]
        else:
            self._plan(story, at)
        if status == "paused" and not story.is_paused:
            story.is_paused, story.update = True, None
            self._say("paused", job, row, at=at, before=before)
        elif status == "done":
            self._say("completed", job, row, at=at, before=before)
        elif self._knobs.webhook_rules.tells_errors if status == "error" else _differ(before, row):
            self._say_update(story, before, row, at)

    def _say_update(self, story: _Story, before: JsonObject, row: JsonObject, at: datetime) -> None:
        update = story.update
        if update is None or (at - update.since).total_seconds() >= self._knobs.webhook_rules.consolidated_for:
            update = story.update = _Consolidated(at, before, make_event_id("ev_", self._source))
        since = spell_naive(update.since)
        self._say("updated", story.job, row, at=at, before=update.before, id=update.id, date_created=since)

    def _say(
        self,
        action: str,
        job: Job,
        row: JsonObject,
        *,
        at: datetime,
        before: JsonObject | None = None,
        **fields: object,
    ) -> None:
        changed = [name for name in row if before is not None and before.get(name) != row[name]]
        previous = {name: before.get(name) for name in changed} if before is not None else {}
        known: JsonObject = {"changed_fields": changed, "previous_data": previous, "object_type": object_type(job)}
        self._tell(make_event(action, row, at=at, source=self._source, **{**known, **fields}))


def _differ(before: JsonObject, row: JsonObject) -> bool:
    """Whether anything but the date has changed."""
    return any(before.get(name) != value for name, value in row.items() if name != "date_updated")
