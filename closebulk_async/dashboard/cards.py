"""What the dashboard knows of one action, and what a poll or a row of a list changes of that."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias

import attrs

from closebulk_async.errors import BulkActionFailed, BulkActionPaused, CloseBulkError
from closebulk_async.models import Job, JobRef, Phase
from closebulk_async.progress import count_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from closebulk_async.progress import Progress

CardPhase: TypeAlias = Literal["running", "paused", "done", "failed", "lost"]
"""`lost`: following it has failed, so that nobody knows whether it still runs."""

CARD_PHASES: tuple[CardPhase, ...] = ("running", "paused", "done", "failed", "lost")

MOST_SAMPLES = 120
"""Points of a chart of throughput: as many as a small one has pixels for."""

MOST_MOMENTS = 50
"""Changes of status that a timeline keeps: an action has about five, unless somebody pauses it again and again."""

_PHASES: dict[Phase, CardPhase] = {
    Phase.RUNNING: "running",
    Phase.AT_REST: "paused",
    Phase.DONE: "done",
    Phase.FAILED: "failed",
}


class Sample(NamedTuple):
    """How many objects were processed at an instant (seconds since 1970), and with which version that came."""

    at: float
    processed: int
    version: int


class Moment(NamedTuple):
    """When a status was first seen."""

    status: str | None
    at: datetime


@attrs.define(kw_only=True, eq=False)
class Card:
    """What is known of one action. Only the board changes it."""

    ref: JobRef[Any]
    job: Job
    phase: CardPhase
    seen_at: datetime
    """The latest good poll."""
    version: int = 0
    processed: int = 0
    total: int | None = None
    fraction: float | None = None
    rate: float | None = None
    eta: float | None = None
    paused_since: datetime | None = None
    ended_at: datetime | None = None
    last_error: str | None = None
    failed_at: datetime | None = None
    """The latest bad poll that was told of; before `seen_at`, it is over."""
    error: str | None = None
    samples: list[Sample] = attrs.field(factory=list)
    spacing: float = 0.0
    """Seconds between two samples at the least: the longer it runs, the more, so that they span all of it evenly."""
    timeline: list[Moment] = attrs.field(factory=list)
    told_at: datetime | None = None
    """The `seen_at` of its version."""
    is_followed: bool = False
    """A watch has told of it."""
    polls: int = 0
    failure: CloseBulkError | None = None
    """The error of `last_error` itself: another one with the same words is another failed poll."""
    kept_by: datetime | None = None
    """By this it stands among those that have ended; None while it goes on."""

    @classmethod
    def of(cls, job: Job, *, now: datetime) -> Self:
        """What an action shows by itself. No card of a board's."""
        card = cls(ref=job.ref, job=job, phase="running", seen_at=now)
        card.show(job, now=now)
        return card

    @property
    def status(self) -> str | None:
        """The service's word; None also where no poll has shown the action."""
        status: str | None = getattr(self.job, "status", None)
        return status

    @property
    def is_live(self) -> bool:
        """Whether somebody follows it."""
        return self.phase in {"running", "paused"} and self.error is None

    def samples_since(self, version: int) -> Sequence[Sample]:
        """Those that came after a version."""
        return self.samples[bisect_right(self.samples, version, key=attrgetter("version")) :]

    def tell_answer(self, progress: Progress[Any], *, is_first: bool) -> bool | None:
        """True where a step tells of a good poll that the card has not seen, False of a bad one, None of neither."""
        if progress.last_error is not self.failure and progress.last_error is not None:
            return False
        if progress.error is not None and not isinstance(progress.error, BulkActionFailed | BulkActionPaused):
            return False
        return True if is_first or progress.changed or progress.polls > self.polls else None

    def fill(self, progress: Progress[Any]) -> None:
        """Show a step of a watch. Counters never run back, also where a watch began anew."""
        if was_read(progress.action):  # else no poll has shown it, and what was known before stays
            self.job = progress.action
            self.processed = max(self.processed, progress.n_objects_processed)
            self.total = self.total if progress.n_objects is None else progress.n_objects
            self.fraction = self._divide()
            self.paused_since = progress.paused_since
        self.rate, self.eta = progress.rate, None if progress.eta is None else progress.eta.total_seconds()
        self.last_error = None if progress.last_error is None else str(progress.last_error)
        self.error = None if progress.error is None else str(progress.error)
        self.phase = _PHASES[self.job.phase] if was_read(self.job) else "running"
        if progress.error is not None and not isinstance(progress.error, BulkActionFailed | BulkActionPaused):
            self.phase = "lost"
        if self.phase not in {"running", "paused"}:
            self.rate = self.eta = None

    def show(self, job: Job, *, now: datetime) -> None:
        """Show what one answer has of an action."""
        processed, total = count_objects(job)
        self.job, self.phase, self.error, self.seen_at = job, _PHASES[job.phase], None, now
        self.processed = max(processed, self.processed)
        self.total = self.total if total is None else total
        self.fraction = self._divide()
        if self.phase != "running":
            self.rate = self.eta = None
        if self.phase != "paused":
            self.paused_since = None
        elif self.paused_since is None:
            self.paused_since = getattr(job, "date_updated", None)

    def _divide(self) -> float | None:
        if self.job.is_done:
            return 1.0
        return min(1.0, self.processed / self.total) if self.total else None

    def add_sample(self, *, now: datetime) -> None:
        """Add a point to its chart, or move the last one; where there are too many, every other one goes."""
        samples, sample = self.samples, Sample(now.timestamp(), self.processed, self.version)
        if len(samples) > 1:
            before, latest = samples[-2:]
            rests = before.processed == latest.processed == sample.processed  # of a rest its two ends are enough
            if rests or latest.at - before.at < self.spacing:
                samples[-1] = sample
                return
        samples.append(sample)
        if len(samples) > MOST_SAMPLES:
            samples[:-1] = samples[:-1:2]
            self.spacing = (sample.at - samples[0].at) / len(samples)

    def add_moment(self, *, now: datetime) -> None:
        """Add its status to the timeline, where that is another one."""
        if not was_read(self.job) or (self.timeline and self.timeline[-1].status == self.status):
            return
        self.timeline.append(Moment(self.status, now))
        if len(self.timeline) > MOST_MOMENTS:
            del self.timeline[1]  # the first one says since when it is known


def was_read(job: Job) -> bool:
    """Whether an answer has shown it: of one that no poll has found there is only the ref."""
    return hasattr(job, "status")


def read_end(job: Job) -> datetime | None:
    """When a job ended that was not seen to: the service says only when it last touched it."""
    return getattr(job, "date_updated", None) or getattr(job, "date_created", None)
