"""The jobs of a simulated organization and the plans for those to come."""

from __future__ import annotations

import random
from bisect import insort
from functools import partial
from typing import TYPE_CHECKING

from .ids import make_id
from .listing import place
from .refusals import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from .jobs import Job
    from .kinds import Kind
    from .listing import ListOrder
    from .plans import Plan


class JobStore:
    """All jobs, by id and by kind; `listeners` are called with each new one and with each that is paused or resumed."""

    def __init__(self, *, seed: int) -> None:
        self.listeners: list[Callable[[Job], None]] = []
        self._random = random.Random(seed)
        self._by_id: dict[str, Job] = {}
        self._by_kind: dict[str, list[Job]] = {}
        # Orders other than that of time, each kept from when it is first asked for: a list may have 100 000 rows.
        self._sorted: dict[tuple[str, ListOrder], list[Job]] = {}
        self._last_shown: dict[str, datetime] = {}
        self._plans: list[tuple[str | None, Plan]] = []

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs in the order in which they were put here."""
        return tuple(self._by_id.values())

    def listed(self, kind: Kind, order: ListOrder) -> Iterable[Job]:
        """The jobs of one kind in that order, those that are not shown yet among them."""
        jobs = self._by_kind.get(kind.name, [])
        if order == "oldest":
            return jobs
        if order == "newest":
            return reversed(jobs)
        if (kind.name, order) not in self._sorted:
            self._sorted[kind.name, order] = sorted(jobs, key=lambda job: place(job, order))
        return self._sorted[kind.name, order]

    def shows_all(self, kind: Kind, now: datetime) -> bool:
        """Whether no job of the kind is still to be shown."""
        return kind.name not in self._last_shown or self._last_shown[kind.name] <= now

    def find(self, kind: Kind, job_id: str, now: datetime) -> Job:
        """The job of that kind and id; raises `RefusedError` (404) when there is none or it is not shown yet."""
        job = self._by_id.get(job_id)
        if job is None or job.kind != kind or not job.is_shown(now):
            raise refused("Object does not exist.", status=404)
        return job

    def add(self, job: Job) -> None:
        """Keep a job; raises `ValueError` when its id is taken."""
        if job.id in self._by_id:
            raise ValueError(f"there is a job with the id {job.id!r} already")
        self._by_id[job.id] = job
        kind = job.kind.name
        # To the right of its equals: of two jobs of one instant the one that came later counts as younger.
        insort(self._by_kind.setdefault(kind, []), job, key=lambda other: other.created_at)
        for (name, order), jobs in self._sorted.items():
            if name == kind:
                insort(jobs, job, key=partial(place, order=order))
        self._last_shown[kind] = max(self._last_shown.get(kind, job.shown_at), job.shown_at)
        job.listeners = self.listeners
        job.tell_listeners()

    def make_id(self, prefix: str) -> str:
        """A new id: the prefix and 43 characters, the same in every run with the same seed."""
        return make_id(prefix, self._random)

    def queue_plan(self, plan: Plan, kind: str | None) -> None:
        """Keep a plan for the next job of that kind (of any kind when None)."""
        self._plans.append((kind, plan))

    def coming_plan(self) -> Plan | None:
        """The plan that was queued first, for whatever kind; it stays in the queue. None without one."""
        return self._plans[0][1] if self._plans else None

    def next_plan(self, kind: Kind) -> Plan | None:
        """The plan that was queued first of those that fit the kind, taken out of the queue; None without one."""
        for index, (wanted, plan) in enumerate(self._plans):
            if wanted in (None, kind.name):
                del self._plans[index]
                return plan
        return None
