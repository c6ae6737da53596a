"""`closebulk fleet`, each command as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import TYPE_CHECKING

import psycopg

from closebulk_async.simulator import Plan, Simulator
from tests.cli.programs import for_simulator, read_until, run, running
from tests.stage import KEYWORDS, QUERY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fleet.stage import FleetStage


def env_of(stage: FleetStage) -> Mapping[str, str]:
    """The simulator for Close, and the database of the test."""
    return for_simulator(stage.sim) | {"CLOSEBULK_DATABASE": stage.database}


async def test_a_worker_starts_and_follows_what_a_command_asks_for(fleet_stage: FleetStage) -> None:
    """And ends in good order when it is told to; the status shows all of it."""
    env = env_of(fleet_stage)
    fleet_stage.sim.plan = Plan(duration=0.5)
    own = json.dumps(KEYWORDS["email"])  # type: ignore[index]  # a Kind is its word
    async with running("fleet", "worker", env=env) as worker:
        await read_until(worker, "working", stream="stderr")
        query = ["--query", json.dumps(QUERY), "--with", own]
        started = await run("fleet", "start", "email", *query, "--idempotency-key", "k", "--yes", "--json", env=env)
        assert started.code == 0, started.err
        ref = json.loads(started.out)["ref"]
        assert f"closebulk fleet watch {ref}" in started.err
        watched = await run("fleet", "watch", ref, "--json", env=env)
        assert watched.code == 0, watched.err
        assert json.loads(watched.lines[-1])["status"] == "done"
        shown = await run("fleet", "status", "--json", env=env)
        found = json.loads(shown.out)
        assert len(found["workers"]) == 2
        assert found["starts"] == [{"account": "default", "state": "started", "count": 1}]
        worker.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            assert await worker.wait() == 0
    assert fleet_stage.posts == 1


async def test_what_was_previewed_runs_in_no_other_organization(fleet_stage: FleetStage) -> None:
    """A worker with another key refuses it, and the command tells so."""
    async with Simulator() as elsewhere:
        of_worker = for_simulator(elsewhere) | {"CLOSEBULK_DATABASE": fleet_stage.database}
        async with running("fleet", "worker", env=of_worker) as worker:
            await read_until(worker, "working", stream="stderr")
            query = ["--query", json.dumps(QUERY)]
            asked = await run("fleet", "start", "delete", *query, "--yes", env=env_of(fleet_stage))
        assert asked.code == 2
        assert f"a worker's key of that name is of {elsewhere.base_url}" in asked.err
        assert not elsewhere.jobs
    assert not fleet_stage.posts


async def test_init_may_be_repeated(database: str, fleet_stage: FleetStage) -> None:
    """What needs the tables says that they are missing before."""
    env = {**env_of(fleet_stage), "CLOSEBULK_DATABASE": database}
    assert "closebulk fleet init" in (await run("fleet", "status", env=env)).err
    first, second = await run("fleet", "init", env=env), await run("fleet", "init", env=env)
    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out
    nothing = await run("fleet", "watch", env=env)
    assert (nothing.code, nothing.err) == (0, "closebulk: the fleet polls nothing now\n")


async def test_without_a_database_the_variable_is_named(fleet_stage: FleetStage) -> None:
    """It is wrong usage."""
    env = {name: value for name, value in env_of(fleet_stage).items() if name != "CLOSEBULK_DATABASE"}
    asked = await run("fleet", "status", env=env)
    assert asked.code == 2
    assert "CLOSEBULK_DATABASE" in asked.err


async def test_what_has_an_option_is_not_hidden_in_an_object(fleet_stage: FleetStage) -> None:
    """A query that is said twice would be one of both."""
    asked = await run("fleet", "start", "email", "--with", '{"s_query": {}}', "--yes", env=env_of(fleet_stage))
    assert asked.code == 2
    assert "s_query" in asked.err or "--query" in asked.err


async def test_a_worker_without_a_key_does_not_begin(fleet_stage: FleetStage) -> None:
    """It is wrong usage, and it never says that it works."""
    env = {name: value for name, value in env_of(fleet_stage).items() if name != "CLOSE_API_KEY"}
    asked = await run("fleet", "worker", env=env)
    assert asked.code == 2
    assert "key" in asked.err
    assert "working" not in asked.err


async def test_a_start_without_a_worker_says_that_nobody_works(fleet_stage: FleetStage) -> None:
    """So does the status, with its exit code, whatever workers of other apps or dead ones the engine knows."""
    env = env_of(fleet_stage)
    async with await psycopg.AsyncConnection.connect(fleet_stage.database, autocommit=True) as connection:
        await connection.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
        await connection.execute(
            "WITH dead AS (INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '11 seconds') "
            "RETURNING id) INSERT INTO closebulk.workers SELECT id, 'closebulk' FROM dead"
        )
    own, query = json.dumps(KEYWORDS["email"]), json.dumps(QUERY)  # type: ignore[index]  # a Kind is its word
    async with running("fleet", "start", "email", "--query", query, "--with", own, "--yes", env=env) as start:
        await read_until(start, "no worker of this fleet is there", stream="stderr")
        shown = await run("fleet", "status", env=env)
        assert (shown.code, shown.lines[0]) == (1, "workers: 0")
        async with fleet_stage.worker(), asyncio.timeout(15):
            assert await start.wait() == 0


async def test_actions_that_were_never_polled_are_late(fleet_stage: FleetStage) -> None:
    """Since they are known: nobody works, and the exit code says so after a minute."""
    async with await psycopg.AsyncConnection.connect(fleet_stage.database, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO closebulk.actions (account, kind, id, registered_at, urged_at, changed_at) "
            "SELECT 'default', 'email', 'e', at, at, at FROM (SELECT extract(epoch FROM now()) - 90) AS of (at)"
        )
    shown = await run("fleet", "status", env=env_of(fleet_stage))
    assert shown.code == 1
    assert "late" in shown.out
