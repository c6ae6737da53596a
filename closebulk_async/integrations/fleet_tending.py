"""What keeps a fleet going when workers die: tasks of the dead, starts without a task, kinds that nobody polls."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Status

from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.models import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from procrastinate import App
    from procrastinate.jobs import Job

    from closebulk_async.clock import Clock
    from closebulk_async.integrations.fleet_store import Store

logger: logging.Logger = logging.getLogger("closebulk_async")

PRUNE_EVERY = 600.0
"""Seconds between two clearings of what nobody needs any more."""

FINISHED_HOURS = 1
"""For which the engine's rows of tasks are kept that failed; those that succeeded go at once."""


class Tending:
    """One round of it is a task, which any worker runs every few seconds."""

    def __init__(
        self,
        app: App,
        store: Store,
        *,
        clock: Clock,
        queues: Sequence[str],
        stalled_after: float,
        keep: float,
        defer_start: Callable[[str], Awaitable[None]],
        follow: Callable[[str, Kind], Awaitable[None]],
        repeats: frozenset[str],
    ) -> None:
        """Do nothing yet.

        `stalled_after` is how long a worker is silent (seconds) until it counts as dead, `keep` how long ended actions
        and settled starts are kept. A stalled task of `repeats` is not retried: the next one comes by itself.
        """
        self._app = app
        self._store = store
        self._clock = clock
        self._queues = queues
        self._stalled_after = stalled_after
        self._keep = keep
        self._defer_start = defer_start
        self._follow = follow
        self._repeats = repeats
        self._pruned_at = -math.inf

    async def run(self) -> None:
        """Mend what is broken."""
        for queue in self._queues:
            stalled = await self._app.job_manager.get_stalled_jobs(
                queue=queue, seconds_since_heartbeat=self._stalled_after
            )
            for job in stalled:
                await self._take_over(job)
        for row in await self._store.ask(tables.OPEN_WITHOUT_JOB):
            await self._defer_start(row["id"])
        for row in await self._store.ask(tables.ACTIVE_WITHOUT_JOB):
            await self._follow(row["account"], Kind(row["kind"]))
        if self._clock.monotonic() - self._pruned_at >= PRUNE_EVERY:
            self._pruned_at = self._clock.monotonic()
            await self._prune()

    async def _take_over(self, job: Job) -> None:
        logger.warning("the worker of %s is silent: the task goes to another one", job.call_string)
        try:
            if job.task_name not in self._repeats:
                await self._app.job_manager.retry_job(job)
                return
        except UniqueViolation:
            pass  # the next of its kind waits already
        except ConnectorException as exc:
            logger.info("%s: it has ended meanwhile: %s", job.call_string, exc)
            return
        await self._remove(job)

    async def _remove(self, job: Job) -> None:
        if job.id is not None:
            try:
                await self._app.job_manager.finish_job_by_id_async(job.id, Status.FAILED, delete_job=True)
            except ConnectorException as exc:
                logger.info("%s: it has ended meanwhile: %s", job.call_string, exc)

    async def _prune(self) -> None:
        for queue in self._queues:
            await self._app.job_manager.delete_old_jobs(
                FINISHED_HOURS, queue=queue, include_failed=True, include_cancelled=True, include_aborted=True
            )
        await self._app.job_manager.prune_stalled_workers(FINISHED_HOURS * 3600)
        await self._store.ask(tables.PRUNE_STARTS, keep=self._keep)
        await self._store.ask(tables.PRUNE_ACTIONS, keep=self._keep)
