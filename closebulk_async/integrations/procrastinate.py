"""A fleet of workers for the bulk actions of one or several organizations. Extra: `closebulk-async[fleet]`."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack, aclosing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, Unpack, cast, overload

try:
    from procrastinate import App, Blueprint, PsycopgConnector
    from procrastinate.exceptions import AlreadyEnqueued
    from procrastinate.retry import BaseRetryStrategy, RetryDecision
except ImportError as exc:
    message = "procrastinate is not installed: pip install 'closebulk-async[fleet]'"
    raise ImportError(message, name=exc.name) from exc

from closebulk_async.clock import Clock, SystemClock
from closebulk_async.errors import InvalidRequestError
from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.fleet_accounts import Accounts, ClientFactory
from closebulk_async.integrations.fleet_news import News, Newsroom
from closebulk_async.integrations.fleet_starts import CLASSES, DoubtfulStartError, Starts, ref_of
from closebulk_async.integrations.fleet_store import Store
from closebulk_async.integrations.fleet_sweeps import Sweep
from closebulk_async.integrations.fleet_tending import Tending
from closebulk_async.integrations.fleet_waits import RowWatcher
from closebulk_async.models import Job, JobRef, Kind, parse_kind
from closebulk_async.operations import read_wait_options, to_ref, to_snapshot
from closebulk_async.policy import Duration, PollPolicy, to_seconds
from closebulk_async.streams import Stream
from closebulk_async.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from procrastinate.jobs import Job as Task
    from psycopg import AsyncConnection

    from closebulk_async.models import BulkAction
    from closebulk_async.operations import ActionLike, WaitKeywords
    from closebulk_async.progress import Progress

logger = logging.getLogger("closebulk_async")

HEARTBEAT = 2.0
"""Seconds between two signs of life of a worker."""

STALLED_AFTER = 6.0
"""Seconds of silence after which its tasks go to others: three signs missed. A worker that was merely slow does no harm
by that: a start is single by its intent, and a shift of polls that is taken over writes nothing any more."""

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

POOL_SIZE = 12
"""Connections of one process, at most; besides there are those that listen and those that prove who lives."""

FOLLOW_NEW = 2.0
"""Seconds between two looks for actions that are new, for `watch_active`."""


class _LaterAndLater(BaseRetryStrategy):
    """For starts in doubt: the one who sent it may be stopped, and says what became of it when it goes on."""

    def get_retry_decision(self, *, exception: BaseException, job: Task) -> RetryDecision | None:
        if not isinstance(exception, DoubtfulStartError):
            return None
        return RetryDecision(retry_in={"seconds": int(min(60, 2 ** min(job.attempts, 6)))})


class Fleet:
    """Starts, polls and waits that any number of processes share through PostgreSQL.

    `app` is a `procrastinate.App` with an asynchronous psycopg connector, or how to connect to a database (as libpq
    takes it) in which `closebulk fleet init` has made the tables. `client_factory` makes the client of an organization
    by its name: `lambda account, **wiring: CloseBulk(key_of(account), **wiring)`. The name stands in all rows, and a
    key in none. The tasks are registered on the app at once, under `closebulk:`.

    Who only starts and waits opens it (`async with fleet:`), workers call `work`. When a worker is killed, others go on
    within 15 seconds; when PostgreSQL is away, all wait for it. What a start promises stands at `start`.
    """

    def __init__(
        self,
        app: App | str,
        client_factory: ClientFactory,
        *,
        queue: str = "closebulk",
        poll: PollPolicy = PollPolicy(),  # noqa: B008 - frozen
        keep: Duration = timedelta(days=7),
        clock: Clock | None = None,
    ) -> None:
        """Connect nowhere yet. `poll` is the cadence of waits here; `keep` is how long what has ended can be seen."""
        self._app = make_app(app) if isinstance(app, str) else app
        if not isinstance(self._app.connector, PsycopgConnector):
            kind = type(self._app.connector).__name__
            message = f"a fleet needs an app with a PsycopgConnector, and this one has a {kind}"
            raise InvalidRequestError(message)
        self._owns_app = isinstance(app, str)
        self._factory = client_factory
        self._queue = queue
        self._poll = poll
        self._keep = to_seconds(keep, name="keep")
        self._clock = SystemClock() if clock is None else clock
        self._stack: AsyncExitStack | None = None
        self._stopping = asyncio.Event()
        self._watchers: dict[str, RowWatcher] = {}
        self._register_tasks()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            connector = cast("PsycopgConnector", self._app.connector)
            if self._owns_app or connector._async_pool is None:  # noqa: SLF001 - nothing else says whether it is open
                await stack.enter_async_context(self._app.open_async())
            pool = connector.pool
            self._store = Store(pool, clock=self._clock)
            self._newsroom = Newsroom(pool)
            self._accounts = Accounts(self._factory, pool, clock=self._clock)
            stack.push_async_callback(self._accounts.aclose)
            self._offset = await self._store.offset()
            await self._newsroom.open()
            stack.push_async_callback(self._newsroom.aclose)
            self._starts = Starts(
                self._store, self._newsroom, self._accounts, defer=self._defer_start, follow=self._follow
            )
            self._tending = Tending(
                self._app,
                self._store,
                clock=self._clock,
                queues=[self._queue, self._sweeps],
                stalled_after=STALLED_AFTER,
                keep=self._keep,
                defer_start=self._defer_start,
                follow=self._follow,
                repeats=frozenset({"closebulk:tend"}),
            )
            stack.push_async_callback(self._close_watchers)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End open waits with ClientClosedError, and let go of all connections. What was started goes on."""
        if self._stack is not None:
            stack, self._stack = self._stack, None
            await stack.aclose()

    # For whoever starts and waits -----------------------------------------------------------------------------------

    async def start(self, kind: Kind | str, *, account: str = "default", **keywords: Any) -> BulkAction:
        """Start an action on some worker, with the keywords of its `create`, and return it as it was first seen.

        Raises what `create` raises; keywords that do not fit, and a query that cannot exclude a lead, before anything
        is written. The same `idempotency_key` gives the same action, as with `create`; without one each call is a start
        of its own. Whatever becomes of the caller, what was asked for is done, once. Where nobody knows whether a lost
        POST has started something, AmbiguousStartError says so, and the fleet goes on to find out: call again with the
        key, or decide with `adopt` or `abandon` of the client.
        """
        chosen = parse_kind(kind)
        if chosen not in CLASSES:
            message = f"a fleet starts bulk actions, and {chosen} is none"
            raise InvalidRequestError(message)
        self._check_open()
        return await self._starts.start(chosen, account, keywords)

    @overload
    def wait_until_done(
        self, action: str, *, account: str = "default", **options: Unpack[WaitKeywords]
    ) -> Wait[Any]: ...

    @overload
    def wait_until_done(
        self, action: ActionLike[Any], *, account: str = "default", **options: Unpack[WaitKeywords]
    ) -> Wait[Any]: ...

    def wait_until_done(self, action: Any, *, account: str = "default", **options: Unpack[WaitKeywords]) -> Wait[Any]:
        """As `CloseBulk.wait_until_done`, fed by the polls of the workers: it sends no request of its own."""
        chosen = read_wait_options("wait_until_done", options)
        return Wait(self._watcher(account), to_ref(action), chosen, known=to_snapshot(action))

    async def watch_active(
        self, *, account: str = "default", follow: bool = False, **options: Unpack[WaitKeywords]
    ) -> AsyncGenerator[Progress[Any], None]:
        """The steps of all actions that the fleet follows and that have not ended, as `CloseBulk.watch` yields them.

        With `follow` those too that are started meanwhile, without an end.
        """
        watcher = self._watcher(account)
        stream = Stream(watcher, read_wait_options("watch_active", options), raise_on_failure=False)
        feed = asyncio.get_running_loop().create_task(self._feed(stream, account, follows=follow))
        async with aclosing(stream.run([feed])) as steps:
            async for progress in steps:
                yield progress

    async def active(self, *, account: str = "default") -> list[JobRef[Any]]:
        """What the fleet polls now, of all kinds."""
        self._check_open()
        return [ref_of(row) for row in await self._store.ask(tables.REFS, account=account, since=0.0)]

    async def get(self, ref: ActionLike[Any], *, account: str = "default") -> Job:
        """The action as it is now, read from Close."""
        client = await self._client(account)
        return cast("Job", await client.get(to_ref(ref)))

    async def pause(self, ref: ActionLike[Any], *, account: str = "default") -> Job:
        """Pause an action, as `CloseBulk.pause` does; whoever waits for it hears of that soon."""
        client = await self._client(account)
        action = cast("Job", await client.pause(to_ref(ref)))
        await self._urge(action.ref, account)
        return action

    async def resume(self, ref: ActionLike[Any], *, account: str = "default") -> Job:
        """Let a paused action go on."""
        client = await self._client(account)
        action = cast("Job", await client.resume(to_ref(ref)))
        await self._urge(action.ref, account)
        return action

    async def status(self) -> dict[str, Any]:
        """What the fleet does, as JSON: its workers, starts by their states, active actions and how late polls are."""
        self._check_open()
        return {
            "workers": [dict(row) for row in await self._store.ask(tables.WORKERS)],
            "starts": [dict(row) for row in await self._store.ask(tables.COUNT_STARTS)],
            "actions": [dict(row) for row in await self._store.ask(tables.COUNT_ACTIONS)],
        }

    # For workers ----------------------------------------------------------------------------------------------------

    async def work(self, *, concurrency: int = 8, handles_signals: bool = False) -> None:
        """Be a worker, until `stop` or a cancellation, or SIGTERM and SIGINT where it `handles_signals`.

        `concurrency` is how many starts run at the same time. What runs is finished first; polls go to other workers.
        """
        self._check_open()
        self._stopping.clear()
        loop = asyncio.get_running_loop()
        if handles_signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
        crews = [
            loop.create_task(self._work(self._queue, concurrency), name="closebulk_async worker"),
            loop.create_task(self._work(self._sweeps, SWEEPS_AT_ONCE), name="closebulk_async worker"),
        ]
        try:
            await self._stopping.wait()
        finally:
            self._stopping.set()
            for crew in crews:
                crew.cancel()
            await asyncio.wait(crews)
            if handles_signals:
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Let `work` end."""
        self._stopping.set()

    async def _work(self, queue: str, concurrency: int) -> None:
        while not self._stopping.is_set():
            try:
                await self._app.run_worker_async(
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
            except Exception as exc:  # noqa: BLE001 - whatever it is, a worker that is down helps nobody
                logger.warning("a worker of the fleet failed, and begins anew: %s", exc)
            await asyncio.sleep(RESTART_AFTER)

    # Tasks ----------------------------------------------------------------------------------------------------------

    @property
    def _sweeps(self) -> str:
        """Polls have workers of their own: neither they nor starts wait for the others to end."""
        return f"{self._queue} polls"

    def _register_tasks(self) -> None:
        blueprint = Blueprint()

        @blueprint.task(name="start", queue=self._queue, retry=_LaterAndLater())
        async def start(*, start_id: str) -> None:
            await self._starts.run(start_id)

        @blueprint.task(name="sweep", queue=self._sweeps)
        async def sweep(*, account: str, kind: str) -> None:
            await self._sweep(account, Kind(kind))

        @blueprint.periodic(cron=TEND, periodic_id=self._queue)
        @blueprint.task(name="tend", queue=self._sweeps, queueing_lock=f"{self._queue} tend", priority=1)
        async def tend(timestamp: int) -> None:  # noqa: ARG001 - the engine says when it was due
            await self._tending.run()

        self._app.add_tasks_from(blueprint, namespace="closebulk")

    async def _sweep(self, account: str, kind: Kind) -> None:
        client = await self._accounts.client(account)
        sweep = Sweep(
            client,
            self._store,
            self._newsroom,
            account=account,
            kind=kind,
            clock=self._clock,
            stopping=self._stopping,
        )
        if await sweep.run():
            await self._defer_sweep(account, kind)

    async def _defer_start(self, id: str, connection: AsyncConnection[Any] | None = None) -> None:
        lock = f"closebulk start {id}"
        task = self._app.tasks["closebulk:start"]
        with suppress(AlreadyEnqueued):
            await task.configure(lock=lock, queueing_lock=lock, connection=connection).defer_async(start_id=id)

    async def _follow(self, account: str, kind: Kind) -> None:
        """See that somebody polls the kind."""
        tasks = await self._app.job_manager.list_jobs_async(lock=_sweep_lock(account, kind))
        if not any(task.status in {"todo", "doing"} for task in tasks):
            await self._defer_sweep(account, kind)

    async def _defer_sweep(self, account: str, kind: Kind) -> None:
        lock = _sweep_lock(account, kind)
        task = self._app.tasks["closebulk:sweep"]
        with suppress(AlreadyEnqueued):
            await task.configure(lock=lock, queueing_lock=lock).defer_async(account=account, kind=str(kind))

    # Parts ----------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._stack is None:
            message = "this fleet is not open: use it inside `async with fleet:`"
            raise InvalidRequestError(message)

    async def _client(self, account: str) -> Any:  # noqa: ANN401 - the overloads of CloseBulk are for refs of one kind
        self._check_open()
        return await self._accounts.client(account)

    def _watcher(self, account: str) -> RowWatcher:
        self._check_open()
        if account not in self._watchers:
            watcher = self._watchers[account] = RowWatcher(
                account,
                store=self._store,
                offset=self._offset,
                clock=self._clock,
                policy=self._poll,
                follow=self._follow,
            )
            if self._stack is not None:
                self._stack.enter_context(self._newsroom.reading(watcher.read))
        return self._watchers[account]

    async def _close_watchers(self) -> None:
        for watcher in self._watchers.values():
            await watcher.aclose()
        self._watchers.clear()

    async def _feed(self, stream: Stream, account: str, *, follows: bool) -> None:
        since = 0.0
        while True:
            for row in await self._store.ask(tables.REFS, account=account, since=since):
                stream.add(ref_of(row))
            if not follows:
                return
            await asyncio.sleep(FOLLOW_NEW)

    async def _urge(self, ref: JobRef[Any], account: str) -> None:
        place = {"account": account, "kind": str(ref.kind)}
        await self._store.ask(tables.URGE, **place, ids=[ref.id], news=News(what="due", **place).to_text())


def make_app(conninfo: str) -> App:
    """An app of the engine for one process of a fleet."""

    async def configure(connection: AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)  # what belongs together says so

    return App(
        connector=PsycopgConnector(
            conninfo=conninfo, min_size=2, max_size=POOL_SIZE, configure=configure, name="closebulk_async fleet"
        )
    )


def _sweep_lock(account: str, kind: Kind) -> str:
    return f"closebulk sweep {account} {kind}"
