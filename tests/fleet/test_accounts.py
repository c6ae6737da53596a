"""Clients of a fleet's process: by which name their budgets are known, and when the user's function is asked again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from closebulk_async import CloseBulk, Kind
from closebulk_async.errors import AuthenticationError
from closebulk_async.integrations.postgres_limiter import hash_key
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.oauth import OAuth
from tests.fleet.stage import QUICK, start

if TYPE_CHECKING:
    from tests.fleet.stage import FleetStage


class Keys:
    """The function of a user whose key is replaced while processes run."""

    def __init__(self, stage: FleetStage, key: str) -> None:
        self.stage = stage
        self.key = key
        self.asked = 0

    def __call__(self, account: str, **wiring: Any) -> CloseBulk:  # noqa: ARG002 - as a fleet calls it
        """The same key for every account."""
        self.asked += 1
        return CloseBulk(self.key, base_url=self.stage.sim.base_url, poll=QUICK, **wiring)


async def test_a_key_has_one_budget_by_whatever_name(fleet_stage: FleetStage) -> None:
    """That of everybody else who counts by the hash of the key."""
    ref = fleet_stage.job(duration=1000)
    async with fleet_stage.fleet() as fleet:
        await fleet.get(ref, account="a")
        await fleet.get(ref, account="b")
    assert await _names(fleet_stage) == {hash_key(fleet_stage.sim.api_key, base_url=fleet_stage.sim.base_url)}


async def test_a_grant_has_one_budget_by_the_name_of_its_account(fleet_stage: FleetStage) -> None:
    """Its tokens change."""
    app = fleet_stage.sim.oauth
    refresh_token = app.grant()

    def make_client(account: str, **wiring: Any) -> CloseBulk:
        auth = OAuth(app.client_id, app.client_secret, refresh_token)
        return CloseBulk(auth=auth, base_url=fleet_stage.sim.base_url, **wiring)

    async with Fleet(fleet_stage.database, make_client) as fleet:
        await fleet.get(fleet_stage.job(duration=1000), account="a")
    assert await _names(fleet_stage) == {hash_key("account a", base_url=fleet_stage.sim.base_url)}


async def test_a_key_that_was_refused_is_asked_for_again(fleet_stage: FleetStage) -> None:
    """So that a new key needs no new process; while it is the same, the client stays, and nobody asks without cause."""
    ref, keys = fleet_stage.job(duration=1000), Keys(fleet_stage, "api_old")
    async with Fleet(fleet_stage.database, keys, poll=QUICK) as fleet:
        old = await fleet.client()
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                await fleet.get(ref)
        assert await fleet.client() is old
        keys.key = fleet_stage.sim.api_key
        with pytest.raises(AuthenticationError):
            await fleet.pause(ref)
        await fleet.pause(ref)
        await fleet.resume(ref)
        assert keys.asked == 4
        assert await fleet.client() is not old


async def test_polls_go_on_with_a_new_key(fleet_stage: FleetStage) -> None:
    """In the same worker, and whoever waits has not noticed."""
    ref, keys = fleet_stage.job(duration=0.5), Keys(fleet_stage, "api_old")
    async with Fleet(fleet_stage.database, keys, poll=QUICK) as fleet:
        working = asyncio.create_task(fleet.work())
        wait = asyncio.ensure_future(fleet.wait_until_done(ref, timeout=30))
        async with asyncio.timeout(10):
            while not any(row["failing"] for row in (await fleet.status())["actions"]):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        keys.key = fleet_stage.sim.api_key
        assert (await wait).is_done
        fleet.stop()
        await working


async def test_starts_go_on_with_a_new_key(fleet_stage: FleetStage) -> None:
    """A start that a worker's key was refused for has failed; the next one is sent with the key of then."""
    keys = Keys(fleet_stage, "api_old")
    async with Fleet(fleet_stage.database, keys, poll=QUICK) as fleet, fleet_stage.fleet() as caller:
        working = asyncio.create_task(fleet.work())
        with pytest.raises(AuthenticationError):
            await start(caller, Kind.DELETE)
        keys.key = fleet_stage.sim.api_key
        assert (await start(caller, Kind.DELETE)).ref
        fleet.stop()
        await working


async def test_callers_go_on_with_a_new_key(fleet_stage: FleetStage) -> None:
    """Who starts asks for the organization of the key first."""
    keys = Keys(fleet_stage, "api_old")
    async with fleet_stage.worker(), Fleet(fleet_stage.database, keys, poll=QUICK) as caller:
        with pytest.raises(AuthenticationError):
            await start(caller, Kind.DELETE)
        keys.key = fleet_stage.sim.api_key
        assert (await start(caller, Kind.DELETE)).ref


async def _names(stage: FleetStage) -> set[str]:
    async with await psycopg.AsyncConnection.connect(stage.database) as connection:
        rows = await (await connection.execute("SELECT DISTINCT key_hash FROM closebulk.budgets")).fetchall()
    return {name for (name,) in rows}
