"""Starts when something is wrong: none is told to have failed that may have run, and none is sent where it must not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import pytest
from psycopg.types.json import Json

from closebulk_async import AmbiguousStartError, CloseBulk, RetryPolicy
from closebulk_async.clock import SystemClock
from closebulk_async.errors import CloseBulkError, InvalidRequestError, JournalError, PermissionDeniedError
from closebulk_async.integrations.fleet_accounts import Accounts
from closebulk_async.integrations.fleet_errors import error_to_json
from closebulk_async.integrations.fleet_news import Newsroom
from closebulk_async.integrations.fleet_starts import Starts
from closebulk_async.integrations.fleet_store import Store
from closebulk_async.integrations.procrastinate import Fleet, make_app
from closebulk_async.limiter import MemoryLimiter
from closebulk_async.models import Kind
from closebulk_async.policy import Timeouts
from closebulk_async.simulator import Plan, Simulator, faults
from tests.fleet.cables import Cable
from tests.fleet.stage import QUICK, start
from tests.fleet.test_crashes import workers_of
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from procrastinate import App
    from psycopg import AsyncConnection

    from closebulk_async.integrations.fleet_accounts import ClientFactory
    from closebulk_async.limiter import Priority, Sight
    from tests.fleet.postgres import PostgresServer
    from tests.fleet.stage import FleetStage

pytestmark = pytest.mark.timeout(180)  # processes that die and come again take seconds

FORBIDDEN = faults.reply(403, '{"error": "not from here"}', content_type="application/json")


@asynccontextmanager
async def working(stage: FleetStage, factory: ClientFactory, **options: Any) -> AsyncIterator[Fleet]:
    """A worker whose clients are made by another function."""
    async with Fleet(stage.database, factory, poll=QUICK, **options) as fleet:
        task = asyncio.create_task(fleet.work())
        try:
            yield fleet
        finally:
            fleet.stop()
            await task


@pytest.mark.parametrize("trouble", ["refused", "no key"])
async def test_another_error_does_not_end_a_start_in_doubt(fleet_stage: FleetStage, trouble: str) -> None:
    """The next worker can ask nothing: the caller hears of the doubt, and the fleet finds out later, and follows it."""
    fleet_stage.sim.fail_next(faults.hang(acts=True), method="POST", path="/bulk_action/")
    fleet_stage.sim.plan = Plan(duration=1000)
    lacking = iter([trouble == "no key"])

    def make_client(account: str, **wiring: Any) -> CloseBulk:
        if next(lacking, False):
            raise LookupError("no key yet")
        return fleet_stage.client(account, **wiring)

    async with fleet_stage.fleet() as caller:
        with workers_of(fleet_stage, 1) as workers:
            asked = asyncio.create_task(start(caller))
            while not fleet_stage.sim.jobs:  # noqa: ASYNC110 - nobody else tells
                await asyncio.sleep(0.01)
            workers.kill(workers.processes[0])
        if trouble == "refused":
            fleet_stage.sim.fail_next(FORBIDDEN, method="GET", path="/me/")
        async with working(fleet_stage, make_client):
            with pytest.raises(AmbiguousStartError, match=r"not from here|no key yet"):
                await asked
            async with asyncio.timeout(60):
                while not await caller.active():  # noqa: ASYNC110 - nobody else tells
                    await asyncio.sleep(0.05)
        (ref,) = await caller.active()
        assert await _read(fleet_stage, "SELECT state, ref, attempts FROM closebulk.starts") == [
            ("started", str(ref), 0)
        ]
    assert [job.id for job in fleet_stage.sim.jobs] == [ref.id]
    assert fleet_stage.posts == 1


async def test_what_was_started_is_told_by_a_worker_that_may_read_nothing(fleet_stage: FleetStage) -> None:
    """By the journal; but a key of another request tells nothing of this one."""
    async with fleet_stage.fleet() as caller:
        async with fleet_stage.worker():
            first = await start(caller, idempotency_key="k")
        fleet_stage.sim.fail_next(FORBIDDEN, method="GET", path="/me/", times=1000)
        async with working(fleet_stage, fleet_stage.client):
            assert (await start(caller, idempotency_key="k")).ref == first.ref
            with pytest.raises(PermissionDeniedError):
                await start(caller, idempotency_key="k", template_id="another")
    assert fleet_stage.posts == 1


async def test_a_start_runs_in_the_organization_in_which_it_was_asked_for(fleet_stage: FleetStage) -> None:
    """A worker with a key of another one sends nothing, and the caller is told of both."""
    async with Simulator() as elsewhere:

        def make_client(account: str, **wiring: Any) -> CloseBulk:
            return CloseBulk(elsewhere.api_key, base_url=elsewhere.base_url, poll=QUICK, **wiring)

        async with fleet_stage.fleet() as caller, working(fleet_stage, make_client):
            with pytest.raises(InvalidRequestError) as refused:
                await start(caller, Kind.DELETE)
        assert elsewhere.base_url in str(refused.value)
        assert fleet_stage.sim.base_url in str(refused.value)
        assert not elsewhere.jobs
    assert not fleet_stage.posts


async def test_who_only_asks_needs_no_key(fleet_stage: FleetStage) -> None:
    """Then the organization is that of the workers, which say it in the row."""

    def make_client(account: str, **wiring: Any) -> CloseBulk:
        raise LookupError(account, wiring)

    async with Fleet(fleet_stage.database, make_client, poll=QUICK) as caller, fleet_stage.worker():
        action = await start(caller)
    assert await _read(fleet_stage, "SELECT scope, ref FROM closebulk.starts") == [
        (f"{fleet_stage.sim.base_url} {action.organization_id}", str(action.ref))
    ]


# PostgreSQL goes away -------------------------------------------------------------------------------------------------


class Caller:
    """One end of starts, by a cable to the database. What its task is asked for nobody works on."""

    def __init__(self, stage: FleetStage, app: App, cable: Cable) -> None:
        self.cable = cable
        self.deferred = 0
        self.cuts = False
        clock, pool = SystemClock(), app.connector.pool  # type: ignore[attr-defined]  # that of `make_app` has one
        self.app = app
        self.store = Store(pool, clock=clock, answer_seconds=0.3)
        self.patient_store = Store(pool, clock=clock)
        self.newsroom = Newsroom(pool)
        self.accounts = Accounts(stage.client, pool, clock=clock)
        self._starts = Starts(self.store, self.newsroom, self.accounts, defer=self._defer, follow=self._follow)

    async def start(self, **keywords: Any) -> Any:  # noqa: ANN401 - an action, or an error
        """Ask for a bulk email."""
        own = KEYWORDS[Kind.EMAIL]
        return await self._starts.start(Kind.EMAIL, "default", {"s_query": QUERY, **own, **keywords})

    async def _defer(self, id: str, connection: AsyncConnection[Any] | None) -> None:  # noqa: ARG002 - no engine
        self.deferred += 1
        if self.cuts:
            self.cuts = False
            self.cable.cut()

    async def _follow(self, account: str, kind: Kind) -> None:
        raise NotImplementedError(account, kind)


@pytest.fixture
async def caller(fleet_stage: FleetStage, postgres: PostgresServer) -> AsyncIterator[Caller]:
    """A caller that knows its organization already."""
    async with Cable(postgres.port) as cable:
        app = make_app(fleet_stage.database.replace(f"port={postgres.port}", f"port={cable.port}"))
        async with app.open_async():
            caller = Caller(fleet_stage, app, cable)
            await caller.accounts.scope("default")
            await caller.newsroom.open()
            try:
                yield caller
            finally:
                cable.mend()
                await caller.newsroom.aclose()
                await caller.accounts.aclose()


@pytest.mark.parametrize("during", ["commit", "wait"])
async def test_what_may_be_asked_for_already_is_waited_for(
    fleet_stage: FleetStage, caller: Caller, during: str
) -> None:
    """However long PostgreSQL is away, in the moment of the commit or after it; and it is asked for once."""
    caller.cuts = during == "commit"
    asked = asyncio.create_task(caller.start())
    if during == "wait":
        await _read_key(fleet_stage)
        caller.cable.cut()
    done, _ = await asyncio.wait({asked}, timeout=5 * 0.3)  # five times as long as a question waits
    assert not done
    caller.cable.mend()
    await _read_key(fleet_stage)
    await _settle(fleet_stage)
    with pytest.raises(CloseBulkError, match="by the test"):
        await asked
    assert len(await _read(fleet_stage, "SELECT 1 FROM closebulk.starts")) == 1


async def test_what_was_not_asked_for_is_told_so(fleet_stage: FleetStage, caller: Caller) -> None:
    """Where the database is away before anything was written, the error does not speak of a start that may be done."""
    caller.cable.cut()
    with pytest.raises(JournalError) as failed:
        await caller.start()
    assert "may be done" not in str(failed.value)
    assert not await _read(fleet_stage, "SELECT 1 FROM closebulk.starts")


async def test_what_the_engine_makes_of_a_cut_connection_is_an_outage_too(
    fleet_stage: FleetStage, caller: Caller
) -> None:
    """Its own errors leave no question unanswered: what it was asked for is asked for again, and is there once."""
    tries = 0

    async def ask(connection: AsyncConnection[Any]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            caller.cable.cut()
            caller.cable.mend()
        task = caller.app.configure_task("by the test", allow_unknown=True, connection=connection)
        await task.defer_async()

    await caller.patient_store.do(ask)
    assert tries == 2
    assert len(await _read(fleet_stage, "SELECT 1 FROM procrastinate_jobs WHERE task_name = 'by the test'")) == 1


async def test_a_poll_is_seen_to_after_a_cut_connection(fleet_stage: FleetStage, caller: Caller) -> None:
    """Also where the engine takes connections of its own."""
    tries = 0

    async def see() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            caller.cable.cut()
        asked = caller.app.job_manager.list_jobs_async(lock="of nobody")
        asyncio.get_running_loop().call_later(0.1, caller.cable.mend)
        assert list(await asked) == []

    await caller.patient_store.repeat(see)
    assert tries >= 1


async def test_an_error_after_the_question_names_the_key(fleet_stage: FleetStage, caller: Caller) -> None:
    """Also of a caller that gave none: with that one it may ask again."""
    asked = asyncio.create_task(caller.start())
    key = await _read_key(fleet_stage)
    await caller.store.pool.close()
    with pytest.raises(JournalError, match=f"may be done.*{key}"):
        await asked


@attrs.define
class Away:
    """A limiter whose counts are out of reach for the first requests."""

    left: int
    inner: MemoryLimiter = attrs.field(factory=lambda: MemoryLimiter(SystemClock()))

    def acquire(self, group: str, *, priority: Priority, most: float) -> Awaitable[None] | None:
        """As that of the other one."""
        if self.left:
            self.left -= 1
            raise OSError("PostgreSQL is away")
        return self.inner.acquire(group, priority=priority, most=most)

    def learn(self, group: str, sight: Sight | None) -> None:
        """As that of the other one."""
        self.inner.learn(group, sight)


async def test_a_start_that_cannot_be_sent_waits(fleet_stage: FleetStage) -> None:
    """It fails by no outage that is proved to have kept it from being sent."""
    away = Away(2)

    def make_client(account: str, **wiring: Any) -> CloseBulk:
        wiring["limiter"] = away
        retry = RetryPolicy(attempts=1)
        return CloseBulk(fleet_stage.sim.api_key, base_url=fleet_stage.sim.base_url, poll=QUICK, retry=retry, **wiring)

    async with fleet_stage.fleet() as caller, working(fleet_stage, make_client):
        action = await start(caller)
    assert [job.id for job in fleet_stage.sim.jobs] == [action.id]
    assert not away.left


# How long a POST may take ---------------------------------------------------------------------------------------------


async def test_a_post_may_not_outlast_the_proof_of_a_death(fleet_stage: FleetStage) -> None:
    """Neither by its `timeout` nor by that of the client; a longer `grace` allows more."""

    def make_client(account: str, **wiring: Any) -> CloseBulk:
        timeouts = Timeouts(total=61)
        return CloseBulk(fleet_stage.sim.api_key, base_url=fleet_stage.sim.base_url, timeouts=timeouts, **wiring)

    async with fleet_stage.worker() as fleet, Fleet(fleet_stage.database, make_client) as slow:
        with pytest.raises(InvalidRequestError, match="grace=76"):
            await start(fleet, timeout=61)
        with pytest.raises(InvalidRequestError, match="grace=76"):
            await start(slow)
        assert not await _read(fleet_stage, "SELECT 1 FROM closebulk.starts")
        assert (await start(fleet, timeout=60)).id
    async with working(fleet_stage, make_client, grace=76) as fleet:
        assert (await start(fleet, timeout=61)).id


async def _read_key(stage: FleetStage) -> str:
    """That of the one start, once there is one."""
    async with asyncio.timeout(30):
        while not (rows := await _read(stage, "SELECT idempotency_key FROM closebulk.starts")):  # noqa: ASYNC110 - nobody else tells
            await asyncio.sleep(0.01)
    return str(rows[0][0])


async def _read(stage: FleetStage, statement: str) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(stage.database) as connection:
        return await (await connection.execute(statement)).fetchall()


async def _settle(stage: FleetStage) -> None:
    outcome = Json(error_to_json(CloseBulkError("failed by the test")))
    async with await psycopg.AsyncConnection.connect(stage.database) as connection:
        await connection.execute("UPDATE closebulk.starts SET state = 'failed', outcome = %s", [outcome])
