"""Starts and waits through a fleet, from the question in one process to the answer in another."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
import psycopg
import pytest
from aiohttp.test_utils import TestServer
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector

from closebulk_async import (
    AmbiguousStartError,
    BulkActionFailed,
    BulkActionPaused,
    BulkActionStalled,
    BulkEmail,
    CloseBulk,
    Export,
    IdempotencyConflictError,
    NotFoundError,
    UnsafeQueryError,
    WaitTimeout,
    WatchLostError,
)
from closebulk_async.dashboard import make_app
from closebulk_async.errors import BadRequestError, CloseBulkError, InvalidRequestError, JournalError
from closebulk_async.integrations.fleet_setup import prepare
from closebulk_async.integrations.postgres_sessions import migrate
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.models import BULK_KINDS, JobRef, Kind
from closebulk_async.simulator import ExportPlan, Plan, faults
from tests.dashboard.houses import Page
from tests.fleet.stage import QUICK, start
from tests.stage import QUERY

if TYPE_CHECKING:
    from tests.fleet.stage import FleetStage


@pytest.mark.parametrize("kind", BULK_KINDS)
async def test_a_worker_starts_what_another_process_asks_for(fleet_stage: FleetStage, kind: Kind) -> None:
    """The caller gets the action, once there is a worker, and can wait for its end without a request of its own."""
    async with fleet_stage.fleet() as caller:
        asked = asyncio.create_task(start(caller, kind))
        async with fleet_stage.worker():
            action = await asked
            assert action.kind is kind
            done = await caller.wait_until_done(action)
    assert done.is_done
    assert fleet_stage.posts == 1


async def test_the_same_key_gives_the_same_action(fleet_stage: FleetStage) -> None:
    """Also where it is asked for twice at the same moment; another request with that key is refused."""
    async with fleet_stage.worker() as fleet:
        first, second = await asyncio.gather(start(fleet, idempotency_key="k"), start(fleet, idempotency_key="k"))
        third = await start(fleet, idempotency_key="k")
        assert first.id == second.id == third.id
        with pytest.raises(IdempotencyConflictError) as refused:
            await start(fleet, idempotency_key="k", template_id="another")
    assert refused.value.intent.idempotency_key == "k"
    assert fleet_stage.posts == 1


async def test_a_caller_that_leaves_changes_nothing(fleet_stage: FleetStage) -> None:
    """What it has asked for is done, and whoever asks with the key learns of it."""
    async with fleet_stage.fleet() as caller:
        asked = asyncio.create_task(start(caller, idempotency_key="k"))
        while not await _count(fleet_stage, "closebulk.starts"):  # noqa: ASYNC110 - nobody else tells
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.wait({asked})
    async with fleet_stage.worker() as fleet:
        action = await start(fleet, idempotency_key="k")
        assert (await fleet.wait_until_done(action)).is_done
    assert fleet_stage.posts == 1


async def test_what_does_not_fit_is_refused_before_anything_is_written(fleet_stage: FleetStage) -> None:
    """There needs to be no worker for that."""
    async with fleet_stage.fleet() as caller:
        with pytest.raises(UnsafeQueryError):
            await start(caller, s_query={"type": "match_all"})
        with pytest.raises(TypeError):
            await start(caller, colour="blue")
        with pytest.raises(InvalidRequestError, match="export is none"):
            await caller.start("export")
    assert not await _count(fleet_stage, "closebulk.starts")


async def test_a_refusal_of_the_service_is_the_callers_error(fleet_stage: FleetStage) -> None:
    """With its class, its status and what it said."""
    said = '{"errors": [], "field-errors": {"template_id": "No such template."}}'
    refusal = faults.reply(400, said, content_type="application/json")
    fleet_stage.sim.fail_next(refusal, method="POST")
    async with fleet_stage.worker() as fleet:
        with pytest.raises(BadRequestError) as refused:
            await start(fleet)
    assert refused.value.status == 400
    assert refused.value.field_errors == {"template_id": "No such template."}


async def test_progress_comes_to_all_who_wait(fleet_stage: FleetStage) -> None:
    """Counters never run back, the last step is the end, and ten who wait cost no more requests than one."""
    ref = fleet_stage.job(duration=0.6, n_objects=100)
    async with fleet_stage.worker(), fleet_stage.fleet() as caller:
        waits = [caller.wait_until_done(ref) for _ in range(10)]
        seen = [progress.n_objects_processed async for progress in waits[0]]
        await asyncio.gather(*waits)
        assert seen == sorted(seen)
        assert seen[-1] == 100
        assert fleet_stage.reads <= 0.6 / 0.05 + 8


async def test_what_has_ended_is_polled_no_more(fleet_stage: FleetStage) -> None:
    """Also where others are asked for in the very moment in which that is written down."""
    async with fleet_stage.worker() as fleet:

        async def follow(number: int) -> None:
            await asyncio.sleep(number / 50)
            assert (await fleet.wait_until_done(fleet_stage.job(duration=0.1 + number % 7 / 20))).is_done

        began = time.monotonic()
        await asyncio.gather(*map(follow, range(60)))
        asked, seconds = fleet_stage.reads, time.monotonic() - began
        await asyncio.sleep(0.5)
        assert fleet_stage.reads == asked
    # A page and an action alone in each floor at most, and the first poll of each.
    assert asked <= 60 + 2 * seconds / 0.05 + 20


@pytest.mark.parametrize("is_known", [False, True])
async def test_ends_are_told_as_the_client_tells_them(fleet_stage: FleetStage, *, is_known: bool) -> None:
    """A failed job, one that does not exist, one that is paused, and one that takes too long; first or later."""
    failing, paused = fleet_stage.job(duration=0.1, ends="error"), fleet_stage.job(duration=5)
    slow = fleet_stage.job(duration=60)
    missing: JobRef[BulkEmail] = JobRef(Kind.EMAIL, "bulkemail_nothing")
    async with fleet_stage.worker() as fleet:
        await fleet.pause(paused)
        for _ in range(1 + is_known):
            with pytest.raises(BulkActionFailed):
                await fleet.wait_until_done(failing)
            with pytest.raises(NotFoundError):
                await fleet.wait_until_done(missing)
            with pytest.raises(BulkActionPaused):
                await fleet.wait_until_done(paused, on_paused="raise")
            with pytest.raises(WaitTimeout):
                await fleet.wait_until_done(slow, timeout=0.2)


async def test_pause_and_resume_are_seen_by_those_who_wait(fleet_stage: FleetStage) -> None:
    """Soon, although what is paused is polled rarely."""
    fleet_stage.sim.plan = Plan(duration=0.5, resuming=0.05)
    async with fleet_stage.worker() as fleet:
        action = await start(fleet)
        await fleet.pause(action)
        wait = fleet.wait_until_done(action)
        async with asyncio.timeout(5):
            while not (await anext(wait)).action.is_paused:
                pass
        await fleet.resume(action)
        assert (await wait).is_done


async def test_all_that_is_active_is_one_stream(fleet_stage: FleetStage) -> None:
    """Each action that the fleet follows, to its end."""
    fleet_stage.sim.plan = Plan(duration=2)
    async with fleet_stage.worker() as fleet:
        actions = [await start(fleet, kind) for kind in BULK_KINDS]
        async with aclosing(fleet.watch_active()) as steps:
            ended = {progress.ref async for progress in steps if progress.is_final}
    assert ended == {action.ref for action in actions}


async def test_silence_is_noticed(fleet_stage: FleetStage) -> None:
    """Where nobody works, what the rows show is no answer: whoever waits hears of that as from a client."""
    ref = fleet_stage.job(duration=60)
    async with fleet_stage.worker() as fleet:
        await anext(fleet.wait_until_done(ref))
    poll = attrs.evolve(QUICK, lost_after=0.5)
    async with Fleet(fleet_stage.database, fleet_stage.client, poll=poll) as alone:
        wait = alone.wait_until_done(ref)
        assert (await anext(wait)).polls == 1
        with pytest.raises(WatchLostError):
            await wait


async def test_a_worker_that_ends_leaves_its_polls_to_others(fleet_stage: FleetStage) -> None:
    """In good order: nothing waits until it counts as dead."""
    ref = fleet_stage.job(duration=1.5)
    async with fleet_stage.fleet() as caller:
        wait = caller.wait_until_done(ref)
        async with fleet_stage.worker():
            await anext(wait)
        async with fleet_stage.worker(), asyncio.timeout(5):
            assert (await wait).is_done


async def test_a_worker_may_be_stopped_at_any_moment(fleet_stage: FleetStage) -> None:
    """Also before it has begun; it ends, and may work again."""
    async with fleet_stage.fleet() as fleet, asyncio.timeout(60):
        for moment in range(12):
            working = asyncio.create_task(fleet.work())
            for _ in range(moment):
                await asyncio.sleep(0)
            fleet.stop()
            await working
        again = asyncio.create_task(fleet.work())
        ref = fleet_stage.job(duration=0.1)
        assert (await fleet.wait_until_done(ref)).is_done
        fleet.stop()
        await again


async def test_a_fleet_works_once_at_a_time(fleet_stage: FleetStage) -> None:
    """A second worker of the same fleet is refused, and the first one goes on."""
    async with fleet_stage.worker() as fleet:
        await asyncio.sleep(0)
        with pytest.raises(InvalidRequestError, match="works already"):
            await fleet.work()
        assert (await fleet.wait_until_done(fleet_stage.job(duration=0.1))).is_done


async def test_a_worker_that_is_cancelled_twice_ends_first(fleet_stage: FleetStage) -> None:
    """Nothing of it goes on in the background, and the fleet may work again."""
    async with fleet_stage.fleet() as fleet:
        working = asyncio.create_task(fleet.work())
        assert (await fleet.wait_until_done(fleet_stage.job(duration=0.1))).is_done
        working.cancel()
        await asyncio.sleep(0)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "closebulk_async worker"] == []
        again = asyncio.create_task(fleet.work())
        assert (await fleet.wait_until_done(fleet_stage.job(duration=0.1))).is_done
        fleet.stop()
        await again


async def test_a_fleet_asks_for_its_tables(database: str, fleet_stage: FleetStage) -> None:
    """The error says which command makes them; the command may run twice, and in two processes at once."""
    with pytest.raises(JournalError, match="no tables of a fleet; run `closebulk fleet init`"):
        await _open(database, fleet_stage)
    await migrate(database)
    with pytest.raises(JournalError, match="no tables of procrastinate; run `closebulk fleet init`"):
        await _open(database, fleet_stage)
    assert len({await prepare(database), await prepare(database)}) == 1
    await asyncio.gather(prepare(database), prepare(database))
    await _open(database, fleet_stage)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("INSERT INTO closebulk.schema_version (version) VALUES (1000)", "update closebulk-async"),
        ("DELETE FROM closebulk.schema_version WHERE version > 1", "fleet init"),
        ("ALTER TABLE procrastinate_workers RENAME TO others", "older than version 3.0"),
    ],
)
async def test_a_fleet_refuses_tables_that_it_does_not_know(fleet_stage: FleetStage, change: str, said: str) -> None:
    """Before anything is asked for, and before a worker says that it works."""
    async with await psycopg.AsyncConnection.connect(fleet_stage.database, autocommit=True) as connection:
        await connection.execute(change)
    with pytest.raises(JournalError, match=said):
        await _open(fleet_stage.database, fleet_stage)


async def test_a_worker_says_why_it_begins_anew(fleet_stage: FleetStage, caplog: pytest.LogCaptureFixture) -> None:
    """Not only that the engine failed."""
    async with fleet_stage.worker():
        async with await psycopg.AsyncConnection.connect(fleet_stage.database, autocommit=True) as connection:
            await connection.execute("ALTER TABLE procrastinate_workers RENAME TO others")
        async with asyncio.timeout(15):
            while not any("anew" in text and "procrastinate_workers" in text for text in caplog.messages):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)


async def test_a_stall_is_stated_in_time(fleet_stage: FleetStage) -> None:
    """Where somebody wants to know of it sooner than the workers would poll; and an export ends as actions do."""
    still = fleet_stage.job(duration=60, curve="silent", counting=0.0)
    export: JobRef[Export] = JobRef(Kind.EXPORT, fleet_stage.sim.add_export(plan=ExportPlan(duration=0.2)).id)
    async with fleet_stage.worker() as fleet:
        with pytest.raises(BulkActionStalled):
            await fleet.wait_until_done(still, stall_timeout=0.7)
        assert (await fleet.wait_until_done(export)).is_done


async def test_an_app_of_the_users_own_serves_as_well(fleet_stage: FleetStage) -> None:
    """With the connections as it makes them, whose statements wait for a commit, and with its own tasks beside."""
    app = App(connector=PsycopgConnector(conninfo=fleet_stage.database))
    ran = asyncio.Event()

    @app.task(name="own", queue="closebulk")
    async def own() -> None:
        ran.set()

    fleet = Fleet(app, fleet_stage.client, poll=QUICK)
    async with app.open_async(), fleet:
        working = asyncio.create_task(fleet.work())
        await own.defer_async()
        action = await start(fleet)
        assert (await fleet.wait_until_done(action)).is_done
        await asyncio.wait_for(ran.wait(), 5)
        fleet.stop()
        await working


async def test_a_fleet_needs_a_connector_that_does_not_block(fleet_stage: FleetStage) -> None:
    """Said at once, and by its name."""
    with pytest.raises(InvalidRequestError, match="SyncPsycopgConnector"):
        Fleet(App(connector=SyncPsycopgConnector()), fleet_stage.client)
    with pytest.raises(InvalidRequestError, match="async with"):
        await start(Fleet(fleet_stage.database, fleet_stage.client))


async def test_organizations_are_followed_side_by_side(fleet_stage: FleetStage) -> None:
    """Each with its own client, rows and polls; one whose client cannot be made holds up no other."""
    refs = [fleet_stage.job(duration=0.3) for _ in range(2)]

    def make_client(account: str, **wiring: Any) -> CloseBulk:
        if account == "nobody":
            raise LookupError("no key of nobody")
        return fleet_stage.client(account, **wiring)

    async with Fleet(fleet_stage.database, make_client, poll=QUICK) as fleet:
        working = asyncio.create_task(fleet.work())
        with pytest.raises(CloseBulkError, match="no key of nobody"):
            await start(fleet, account="nobody")
        with pytest.raises(WaitTimeout, match="no key of nobody"):
            await fleet.wait_until_done(refs[0], account="nobody", timeout=2)
        done = await asyncio.gather(
            *(fleet.wait_until_done(ref, account=account) for ref, account in zip(refs, "ab", strict=True))
        )
        assert all(action.is_done for action in done)
        assert [job.id for job in await fleet.recent(account="a")] == [refs[0].id]
        fleet.stop()
        await working


async def test_an_operator_decides_about_a_start_in_doubt(fleet_stage: FleetStage) -> None:
    """The caller is told of the doubt; what the operator gives up the fleet, which still tries, does not send."""
    fleet_stage.sim.fail_next(faults.cut_before(), method="POST", path="/bulk_action/")
    async with fleet_stage.worker() as fleet:
        with pytest.raises(AmbiguousStartError) as doubtful:
            await start(fleet, idempotency_key="k")
        client = await fleet.client()
        await client.abandon(doubtful.value.intent.id)
        async with asyncio.timeout(20):
            ended = [{"account": "default", "state": "failed", "count": 1}]
            while (await fleet.status())["starts"] != ended:  # noqa: ASYNC110 - nobody else tells
                await asyncio.sleep(0.05)
    assert fleet_stage.posts == 1


async def test_the_dashboard_shows_what_a_fleet_polls(fleet_stage: FleetStage) -> None:
    """And asks the service for no list of jobs by itself: the workers read the one kind that is followed."""
    ref = fleet_stage.job(duration=1.5, n_objects=100)
    async with fleet_stage.worker(), fleet_stage.fleet() as fleet, aiohttp.ClientSession() as http:
        assert not (await anext(fleet.wait_until_done(ref))).is_final
        app = make_app(await fleet.client(), fleet=fleet, beat=0.05)
        async with TestServer(app) as server, http.get(server.make_url("/api/events")) as stream:
            page = Page(stream)
            async with asyncio.timeout(10):
                while page.rows.get(str(ref), {}).get("phase") != "done":
                    await page.take()
    paths = {tuple(request.path.split("/")[3:5]) for request in fleet_stage.sim.requests}
    assert paths <= {("bulk_action", "email"), ("me", "")}


async def test_no_key_is_written(fleet_stage: FleetStage) -> None:
    """Neither the key nor anything that it could be read from is in any row."""
    async with fleet_stage.worker() as fleet:
        await fleet.wait_until_done(await start(fleet, s_query=QUERY))
    async with await psycopg.AsyncConnection.connect(fleet_stage.database) as connection:
        names = await (
            await connection.execute(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                "WHERE schemaname IN ('public', 'closebulk')"
            )
        ).fetchall()
        for (name,) in names:
            rows = await (await connection.execute(f"SELECT to_jsonb(t)::text FROM {name} t")).fetchall()  # noqa: S608 - of the catalogue
            assert not any(fleet_stage.sim.api_key in text for (text,) in rows)


async def _open(database: str, stage: FleetStage) -> None:
    async with Fleet(database, stage.client):
        pass


async def _count(stage: FleetStage, table: str) -> int:
    async with await psycopg.AsyncConnection.connect(stage.database) as connection:
        row = await (await connection.execute(f"SELECT count(*) FROM {table}")).fetchone()  # noqa: S608 - a constant
    return 0 if row is None else int(row[0])
