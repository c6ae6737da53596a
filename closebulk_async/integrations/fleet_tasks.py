"""The tasks of a fleet, as its engine runs them, and the workers that do."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from procrastinate import Blueprint
from procrastinate.exceptions import AlreadyEnqueued
from procrastinate.retry import BaseRetryStrategy, RetryDecision
from procrastinate.worker import Worker
from psycopg.types.json import Json

from closebulk_async.errors import InvalidRequestError, JournalError
from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.fleet_errors import error_to_json
from closebulk_async.integrations.fleet_starts import DoubtfulStartError, Starts
from closebulk_async.integrations.fleet_sweeps import Sweep
from closebulk_async.integrations.fleet_tending import Tending
from closebulk_async.models import Kind
from closebulk_async.tasks import outlast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate import App
    from procrastinate.jobs import Job as Task
    from procrastinate.types import TimeDeltaParams
    from psycopg import AsyncConnection
    from psycopg.rows import DictRow

    from closebulk_async.clock import Clock
    from closebulk_async.integrations.fleet_accounts import Accounts
    from closebulk_async.integrations.fleet_news import Newsroom
    from closebulk_async.integrations.fleet_store import Store

logger: logging.Logger = logging.getLogger("closebulk_async")

HEARTBEAT = 2.0
"""Seconds between two signs of life of a worker."""

STALLED_AFTER = 6.0
"""Seconds of silence after which its tasks go to others: three signs missed. A worker that was merely slow does no harm
by that: a start is single by its intent, and a shift of polls that is taken over writes nothing any more."""

HEARD_WITHIN = 10.0
"""Seconds since its last sign of life for which a worker is shown: those that were killed stay in the engine's table
for as long as nobody else works."""

ENTER_EVERY = 0.05
"""Seconds between two looks whether the engine has given a worker its number."""

TEND = "* * * * * */2"
"""Every two seconds somebody looks after what is broken. With all others: at most 12 seconds from a kill to the next
poll."""

FETCH_EVERY = 1.0
"""Seconds between two looks for tasks of which nobody is told: those that were given back."""

SWEEPS_AT_ONCE = 256
"""Kinds and organizations that one worker polls at the same time. Almost all of the time they sleep."""

GIVE_UP_AFTER = 30.0
"""Seconds for which a worker that ends waits for its tasks. A start whose POST may have left is waited for in any
case."""

RESTART_AFTER = 0.5
"""Seconds before a worker that failed, because PostgreSQL was restarted, begins anew."""

STOP_EVERY = 0.1
"""Seconds between two times that the engine is told to stop, until it has."""

NO_CLIENT = 15.0
"""Seconds between two tries to make a client that cannot be made."""

REFUSED = 3
"""Seconds until a shift of polls that ended because the key was refused is anybody's: who has the same key asks no
oftener."""

LONGEST_DOUBT = 60
"""Seconds between two looks for a start in doubt, at most."""


class _LaterAndLater(BaseRetryStrategy):
    """For starts in doubt: the one who sent it may be stopped, and says what became of it when it goes on."""

    def get_retry_decision(self, *, exception: BaseException, job: Task) -> RetryDecision | None:
        if not isinstance(exception, DoubtfulStartError):
            return None
        return RetryDecision(retry_in={"seconds": min(LONGEST_DOUBT, 2 ** min(job.attempts, 6))})


class Tasks:
    """Registers the tasks on an app, asks for them, and runs them once it is open."""

    def __init__(self, app: App, queue: str, *, clock: Clock) -> None:
        """Register them. `queue` is that of starts; polls have one of their own: neither waits for the others."""
        self._app = app
        self._queue = queue
        self._polls = f"{queue} polls"
        self._clock = clock
        self._stopping = asyncio.Event()
        self._is_working = False
        self._register()

    def open(self, store: Store, newsroom: Newsroom, accounts: Accounts, *, keep: float) -> Starts:
        """Let them use these; says where to ask for starts."""
        self._store, self._newsroom, self._accounts = store, newsroom, accounts
        self._starts = Starts(store, newsroom, accounts, defer=self._defer_start, follow=self.follow)
        self._tending = Tending(
            self._app,
            store,
            clock=self._clock,
            queues=[self._queue, self._polls],
            stalled_after=STALLED_AFTER,
            keep=keep,
            defer_start=self._defer_start,
            follow=self.follow,
            repeats=frozenset({"closebulk:tend"}),
        )
        return self._starts

    async def follow(self, account: str, kind: Kind) -> None:
        """See that somebody polls the kind. Raises JournalError."""

        async def see() -> None:
            asked = await self._app.job_manager.list_jobs_async(lock=_sweep_lock(account, kind))
            if not any(task.status in {"todo", "doing"} for task in asked):
                await self._defer_sweep(account, kind)

        await self._store.repeat(see)

    # Workers --------------------------------------------------------------------------------------------------------

    async def work(self, *, concurrency: int) -> None:
        """Be a worker until `stop`, or a cancellation. What runs is finished first, however often it is cancelled.

        Raises InvalidRequestError where it is one already.
        """
        if self._is_working:
            message = "this fleet works already: it has one worker at a time, with as much `concurrency` as it is given"
            raise InvalidRequestError(message)
        self._is_working = True
        loop = asyncio.get_running_loop()
        crews = [
            loop.create_task(self._work(self._queue, concurrency), name="closebulk_async worker"),
            loop.create_task(self._work(self._polls, SWEEPS_AT_ONCE), name="closebulk_async worker"),
        ]
        try:
            await self._stopping.wait()
        finally:
            self._stopping.set()
            was_cancelled = await outlast(crews)
            self._stopping.clear()  # not where it begins: it may be stopped before it has come to that
            self._is_working = False
        if was_cancelled:
            raise asyncio.CancelledError

    def stop(self) -> None:
        """Let `work` end; one that has not begun ends when it does."""
        self._stopping.set()

    async def _work(self, queue: str, concurrency: int) -> None:
        while not self._stopping.is_set():
            try:
                await self._run_worker(queue, concurrency)
            except Exception as exc:  # noqa: BLE001 - whatever it is, a worker that is down helps nobody
                # The engine's own errors say nothing: what they come from does.
                what_next = "ends with that" if self._stopping.is_set() else "begins anew"
                logger.warning("a worker of the fleet failed, and %s: %s", what_next, exc.__cause__ or exc)
            await self._wait_to_stop(RESTART_AFTER)

    async def _run_worker(self, queue: str, concurrency: int) -> None:
        worker = Worker(  # as `App.run_worker_async`, which does not tell the number of the worker
            self._app,
            queues=[queue],
            name=queue.replace(" ", "-"),
            concurrency=concurrency,
            fetch_job_polling_interval=FETCH_EVERY,
            shutdown_graceful_timeout=GIVE_UP_AFTER,
            delete_jobs="successful",
            install_signal_handlers=False,
            update_heartbeat_interval=HEARTBEAT,
            stalled_worker_timeout=STALLED_AFTER * 5,
        )
        self._app.perform_import_paths()  # type: ignore[no-untyped-call]  # the engine's, and the next one too
        entering = asyncio.get_running_loop().create_task(self._enter(worker, queue), name="closebulk_async worker")
        running = asyncio.get_running_loop().create_task(
            worker.run(),  # type: ignore[no-untyped-call]  # as above
            name="closebulk_async worker",
        )
        try:
            await self._until_stopped(worker, running)
        finally:
            entering.cancel()
            await outlast([entering])

    async def _until_stopped(self, worker: Worker, running: asyncio.Task[None]) -> None:
        """Raises what has ended the engine's worker, also where that came of its stop."""
        stopping = asyncio.get_running_loop().create_task(self._stopping.wait())
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        while not running.done():
            # Not once: a cancellation may be lost (see `tasks.heeding`), and a stop is forgotten by what begins later.
            if worker.run_task is None:
                running.cancel()  # it asks for its number, and has no tasks that it could finish
            else:
                worker.stop()  # type: ignore[no-untyped-call]  # the engine's
            await asyncio.wait({running}, timeout=STOP_EVERY)
        if not running.cancelled():
            running.result()

    async def _wait_to_stop(self, seconds: float) -> None:
        """Until `stop`, and so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _enter(self, worker: Worker, queue: str) -> None:
        """Note what it works on, as soon as the engine knows it."""
        while worker.worker_id is None:  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(ENTER_EVERY)
        try:
            await self._store.ask(tables.ENTER_WORKER, id=worker.worker_id, queue=queue)
        except JournalError as exc:
            logger.warning("worker %s is not shown in the status of the fleet: %s", worker.worker_id, exc)

    async def workers(self) -> Sequence[DictRow]:
        """Those of this fleet that were heard of lately."""
        return await self._store.ask(tables.WORKERS, queues=[self._queue, self._polls], heard=HEARD_WITHIN)

    # Tasks ----------------------------------------------------------------------------------------------------------

    def _register(self) -> None:
        blueprint = Blueprint()

        @blueprint.task(name="start", queue=self._queue, retry=_LaterAndLater())
        async def start(*, start_id: str) -> None:
            await self._starts.run(start_id)

        @blueprint.task(name="sweep", queue=self._polls)
        async def sweep(*, account: str, kind: str) -> None:
            await self._sweep(account, Kind(kind))

        # Never a `lock`: that of a worker that was killed would keep out the very task that takes its tasks over.
        @blueprint.periodic(cron=TEND, periodic_id=self._queue)
        @blueprint.task(name="tend", queue=self._polls, queueing_lock=f"{self._queue} tend", priority=1)
        async def tend(timestamp: int) -> None:  # noqa: ARG001 - the engine says when it was due
            await self._tending.run()

        self._app.add_tasks_from(blueprint, namespace="closebulk")

    async def _sweep(self, account: str, kind: Kind) -> None:
        try:
            client = await self._accounts.client(account)
        except Exception as exc:  # noqa: BLE001 - of whatever the user's function raises
            await self._do_without_client(account, kind, exc)
            return
        sweep = Sweep(
            client,
            self._store,
            self._newsroom,
            account=account,
            kind=kind,
            clock=self._clock,
            stopping=self._stopping,
        )
        is_left = await sweep.run()
        if sweep.is_refused:
            self._accounts.doubt(account)
        if is_left:
            await self._defer_sweep(account, kind, later=REFUSED if sweep.is_refused else 0)

    async def _do_without_client(self, account: str, kind: Kind, error: Exception) -> None:
        """Tell those who wait why nothing comes, and let it be tried again a little later."""
        logger.warning("there is no client for %s, so that its %s actions are not polled: %s", account, kind, error)
        reason = Json(error_to_json(error))
        await self._store.ask(tables.BLAME, account=account, kind=str(kind), error=reason)
        await self._wait_to_stop(NO_CLIENT)

    async def _defer_start(self, id: str, connection: AsyncConnection[Any] | None = None) -> None:
        lock = f"closebulk start {id}"
        task = self._app.tasks["closebulk:start"]
        with suppress(AlreadyEnqueued):
            await task.configure(lock=lock, queueing_lock=lock, connection=connection).defer_async(start_id=id)

    async def _defer_sweep(self, account: str, kind: Kind, *, later: int = 0) -> None:
        lock = _sweep_lock(account, kind)
        task = self._app.tasks["closebulk:sweep"]
        with suppress(AlreadyEnqueued):
            at: TimeDeltaParams | None = {"seconds": later} if later else None
            configured = task.configure(lock=lock, queueing_lock=lock, schedule_in=at)
            await configured.defer_async(account=account, kind=str(kind))


def _sweep_lock(account: str, kind: Kind) -> str:
    return f"closebulk sweep {account} {kind}"
