"""A fleet of workers for the bulk actions of one or several organizations. Extra: `closebulk-async[fleet]`."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

try:
    from procrastinate import App, PsycopgConnector
    from procrastinate.exceptions import AppNotOpen
except ImportError as _exc:
    message = "procrastinate is not installed: pip install 'closebulk-async[fleet]'"
    raise ImportError(message, name=_exc.name) from _exc

from closebulk_async.clock import Clock, SystemClock
from closebulk_async.errors import AuthenticationError, InvalidRequestError
from closebulk_async.integrations import fleet_tables as tables
from closebulk_async.integrations.fleet_accounts import Accounts, ClientFactory
from closebulk_async.integrations.fleet_errors import error_from_json
from closebulk_async.integrations.fleet_news import News, Newsroom
from closebulk_async.integrations.fleet_rows import action_of
from closebulk_async.integrations.fleet_starts import CLASSES, ref_of
from closebulk_async.integrations.fleet_store import Store
from closebulk_async.integrations.fleet_tasks import Tasks
from closebulk_async.integrations.fleet_waits import RowWatcher
from closebulk_async.integrations.postgres import GRACE
from closebulk_async.models import Job, JobRef, Kind, parse_kind
from closebulk_async.operations import read_wait_options, to_ref, to_snapshot
from closebulk_async.policy import Duration, PollPolicy, to_seconds
from closebulk_async.streams import Stream
from closebulk_async.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from psycopg import AsyncConnection

    from closebulk_async.client import CloseBulk
    from closebulk_async.models import BulkAction
    from closebulk_async.operations import ActionLike, WaitKeywords
    from closebulk_async.progress import Progress

POOL_SIZE = 12
"""Connections of one process, at most; besides there are those that listen and those that prove who lives."""

FOLLOW_NEW = 2.0
"""Seconds between two looks for actions that are new, for `watch_active`."""


class Fleet:
    """Starts, polls and waits that any number of processes share through PostgreSQL.

    `app` is a `procrastinate.App` with an asynchronous psycopg connector, or how to connect to a database (as libpq
    takes it) in which `closebulk fleet init` has made the tables. `client_factory` makes the client of an organization
    by its name: `lambda account, **wiring: CloseBulk(key_of(account), **wiring)`. The name stands in all rows, and a
    key in none. It is asked again when Close has refused a key, so that a new one needs no new process. The tasks are
    registered on the app at once, under `closebulk:`.

    Who only starts and waits opens it (`async with fleet:`), workers call `work`. To open it raises JournalError where
    the tables are missing or of another version. When a worker is killed, others go on
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
        grace: Duration = GRACE,
        clock: Clock | None = None,
    ) -> None:
        """Connect nowhere yet. `poll` is the cadence of waits here; `keep` is how long what has ended can be seen.

        `grace` is that of `PostgresJournal`, the same in all processes: no POST may take longer than 15 seconds less.
        """
        self._app = make_app(app) if isinstance(app, str) else app
        if not isinstance(self._app.connector, PsycopgConnector):
            kind = type(self._app.connector).__name__
            message = f"a fleet needs an app with a PsycopgConnector, and this one has a {kind}"
            raise InvalidRequestError(message)
        self._factory = client_factory
        self._poll = poll
        self._keep = to_seconds(keep, name="keep")
        self._grace = to_seconds(grace, name="grace")
        self._clock = SystemClock() if clock is None else clock
        self._stack: AsyncExitStack | None = None
        self._watchers: dict[str, RowWatcher] = {}
        self._tasks = Tasks(self._app, queue, clock=self._clock)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            connector = cast("PsycopgConnector", self._app.connector)
            try:
                pool = connector.pool
            except AppNotOpen:
                await stack.enter_async_context(self._app.open_async())
                pool = connector.pool
            self._store = Store(pool, clock=self._clock)
            self._newsroom = Newsroom(pool)
            self._accounts = Accounts(self._factory, pool, clock=self._clock, grace=self._grace)
            stack.push_async_callback(self._accounts.aclose)
            await self._store.check()
            self._offset = await self._store.offset()
            await self._newsroom.open()
            stack.push_async_callback(self._newsroom.aclose)
            self._starts = self._tasks.open(self._store, self._newsroom, self._accounts, keep=self._keep)
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

        What cannot be sent because Close or PostgreSQL is away is tried again for as long as that lasts, and so long
        this waits. Where this process has a key of the account too, a worker whose key is of another organization
        sends nothing: InvalidRequestError.
        """
        chosen = parse_kind(kind)
        if chosen not in CLASSES:
            message = f"a fleet starts bulk actions, and {chosen} is none"
            raise InvalidRequestError(message)
        self._check_open()
        return await self._starts.start(chosen, account, keywords)

    def wait_until_done(
        self, action: ActionLike[Job], *, account: str = "default", **options: Unpack[WaitKeywords]
    ) -> Wait[Any]:
        """As `CloseBulk.wait_until_done`, fed by the polls of the workers: it sends no request of its own."""
        chosen = read_wait_options("wait_until_done", options)
        return Wait(self._watcher(account), to_ref(action), chosen, known=to_snapshot(action))

    async def watch(
        self, *actions: ActionLike[Job], account: str = "default", **options: Unpack[WaitKeywords]
    ) -> AsyncGenerator[Progress[Any], None]:
        """The steps of these actions in one stream, as `CloseBulk.watch` yields them."""
        stream = Stream(self._watcher(account), read_wait_options("watch", options), raise_on_failure=False)
        for action in actions:
            stream.add(to_ref(action), known=to_snapshot(action))
        async with aclosing(stream.run()) as steps:
            async for progress in steps:
                yield progress

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

    async def recent(self, *, account: str = "default", limit: int = 100) -> list[Job]:
        """What the fleet has polled, as it was last seen: what moved last comes first."""
        self._check_open()
        rows = await self._store.ask(tables.RECENT, account=account, limit=limit)
        return [job for row in rows if (job := action_of(Kind(row["kind"]), row)) is not None]

    async def client(self, account: str = "default") -> CloseBulk:
        """The client of an organization, for what a fleet has no method for. It is the fleet's to close."""
        self._check_open()
        return await self._accounts.client(account)

    async def get(self, ref: ActionLike[Job], *, account: str = "default") -> Job:
        """The action as it is now, read from Close."""
        return await self._call(account, lambda client: client.get(to_ref(ref)))

    async def pause(self, ref: ActionLike[Job], *, account: str = "default") -> Job:
        """Pause an action, as `CloseBulk.pause` does; whoever waits for it hears of that soon."""
        action = await self._call(account, lambda client: client.pause(to_ref(ref)))
        await self._urge(action.ref, account)
        return action

    async def resume(self, ref: ActionLike[Job], *, account: str = "default") -> Job:
        """Let a paused action go on."""
        action = await self._call(account, lambda client: client.resume(to_ref(ref)))
        await self._urge(action.ref, account)
        return action

    async def status(self) -> dict[str, Any]:
        """What the fleet does, as JSON: living workers, starts by their states, and actions that have not ended.

        Of those: how many are polled, how late that is, how many of the polls fail, and how many are given up.
        """
        self._check_open()
        return {
            "workers": [dict(row) for row in await self._tasks.workers()],
            "starts": [dict(row) for row in await self._store.ask(tables.COUNT_STARTS)],
            "actions": [_describe(row) for row in await self._store.ask(tables.COUNT_ACTIONS)],
        }

    # For workers ----------------------------------------------------------------------------------------------------

    async def work(self, *, concurrency: int = 8, handles_signals: bool = False) -> None:
        """Be a worker, until `stop` or a cancellation, or SIGTERM and SIGINT where it `handles_signals`.

        `concurrency` is how many starts run at the same time. What runs is finished first; polls go to other workers.
        Raises InvalidRequestError where this fleet works already, or is not open.
        """
        self._check_open()
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT) if handles_signals else ()
        for number in numbers:
            loop.add_signal_handler(number, self.stop)
        try:
            await self._tasks.work(concurrency=concurrency)
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Let `work` end; one that has not begun ends when it does."""
        self._tasks.stop()

    # Parts ----------------------------------------------------------------------------------------------------------

    async def _call(self, account: str, call: Callable[[CloseBulk], Awaitable[Any]]) -> Job:
        client = await self.client(account)
        try:
            return cast("Job", await call(client))
        except AuthenticationError:
            self._accounts.doubt(account)
            raise

    def _check_open(self) -> None:
        if self._stack is None:
            message = "this fleet is not open: use it inside `async with fleet:`"
            raise InvalidRequestError(message)

    def _watcher(self, account: str) -> RowWatcher:
        self._check_open()
        if account not in self._watchers:
            watcher = self._watchers[account] = RowWatcher(
                account,
                store=self._store,
                offset=self._offset,
                clock=self._clock,
                policy=self._poll,
                follow=self._tasks.follow,
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


def _describe(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the actions of a kind; of the errors one is enough, as a text."""
    error = row["error"]
    return {**row, "error": None if error is None else str(error_from_json(error))}


def make_app(conninfo: str) -> App:
    """An app of the engine for one process of a fleet."""

    async def configure(connection: AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)  # what belongs together says so

    return App(
        connector=PsycopgConnector(
            conninfo=conninfo, min_size=2, max_size=POOL_SIZE, configure=configure, name="closebulk_async fleet"
        )
    )
