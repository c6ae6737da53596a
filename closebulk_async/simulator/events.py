"""Tells the events of jobs to those who subscribed to them, each at its instant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import define

from .agenda import Entry
from .ids import make_event_id
from .job_events import FINAL, Looks, Turns, Updates, fill_event
from .jobs import Job

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from .agenda import Agenda
    from .clock import Clock
    from .kinds import JsonObject
    from .knobs import Knobs

# A job that was started now is a little older on the machine's clock when it is told about.
_NEW = timedelta(seconds=1)


def make_event(action: str, data: JsonObject, *, at: datetime, source: random.Random, **fields: object) -> JsonObject:
    """An event that is told by hand: one of `fill_event` with an id of chance."""
    return fill_event(action, data, at=at, **{"id": make_event_id("ev_", source), **fields})


@define(eq=False)
class _Story:
    """Until when a job has been told about, and when there will be more."""

    job: Job
    until: datetime
    entry: Entry | None = None


class Narrator:
    """Tells the events of jobs while somebody listens; a job's own clockwork does not need it."""

    def __init__(self, knobs: Knobs, agenda: Agenda, clock: Clock, *, tell: Callable[[JsonObject], None]) -> None:
        self._knobs = knobs
        self._agenda = agenda
        self._clock = clock
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
        if (story := self._stories.get(job.id)) is not None:
            turns = Turns(job, self._knobs.webhook_rules)
            for number in range(len(turns)):
                if story.until < turns.at(number) <= now:
                    self._say(turns.event(number))
            self._plan(story, now)
            return
        self._follow(job, now)
        # One that was put there with a past has been created before anybody could be told.
        if now - job.created_at < _NEW:
            self._say(Turns(job, self._knobs.webhook_rules).event(0))

    def _follow(self, job: Job, now: datetime) -> None:
        if job.snapshot(now, ("status",)).get("status") not in FINAL:
            story = self._stories[job.id] = _Story(job, now)
            self._plan(story, now)

    def _plan(self, story: _Story, now: datetime) -> None:
        """Enter the next instant at which there may be something to tell."""
        self._agenda.strike(story.entry)
        story.until, story.entry = now, None
        following = Looks(story.job, self._knobs.webhook_rules).next(now, beats=self._tells_updates)
        if following is not None:
            story.entry = self._agenda.enter(following, lambda at: self._look(story, at))

    def _look(self, story: _Story, at: datetime) -> None:
        job, rules = story.job, self._knobs.webhook_rules
        looks, turns = Looks(job, rules), Turns(job, rules)
        if looks.ends is not None and looks.ends <= at:
            del self._stories[job.id]
        else:
            self._plan(story, at)
        if at in looks.turns:
            self._say(turns.event(1 + looks.turns.index(at)))
        else:
            self._say(Updates(job, rules, at).event_at(at))

    def _say(self, event: JsonObject | None) -> None:
        if event is not None:
            self._tell(event)
