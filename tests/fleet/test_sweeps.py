"""One shift of polls: what a worker writes down of actions, and what it does where it may not read them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from closebulk_async import WaitTimeout
from closebulk_async.simulator import Plan
from tests.fleet.stage import start
from tests.stage import QUERY

if TYPE_CHECKING:
    from tests.fleet.stage import FleetStage

NUL_QUERY = {**QUERY, "condition": {**QUERY["condition"], "value": "AC\x00ME"}}  # type: ignore[dict-item]  # it is one


async def test_a_text_with_nul_spoils_no_poll(fleet_stage: FleetStage) -> None:
    """Neither of the action that has it, nor of the others of its kind and organization."""
    fleet_stage.sim.plan = Plan(duration=0.5)
    async with fleet_stage.worker() as fleet:
        other = fleet_stage.job(duration=1.5)
        wait = fleet.wait_until_done(other)
        await anext(wait)
        strange = await start(fleet, s_query=NUL_QUERY)
        done = await fleet.wait_until_done(strange, timeout=10)
        assert done.is_done
        assert (await wait).is_done
        seen = {job.id: job.to_dict() for job in await fleet.recent()}
    assert "AC\x00ME" in str(seen[strange.id]).replace("\\x00", "\x00")


async def test_a_row_that_the_database_refuses_spoils_no_other_one(fleet_stage: FleetStage) -> None:
    """Those of the same page are written down; whoever waits for it learns why nothing comes."""
    refs = [fleet_stage.job(duration=0.5) for _ in range(5)]
    async with await psycopg.AsyncConnection.connect(fleet_stage.database, autocommit=True) as connection:
        await connection.execute(REFUSE)
        await connection.execute(
            sql.SQL(
                "CREATE TRIGGER refuse BEFORE UPDATE ON closebulk.actions FOR EACH ROW "
                "WHEN (NEW.id = {} AND NEW.snapshot IS NOT NULL) EXECUTE FUNCTION refuse()"
            ).format(refs[2].id)
        )
    async with fleet_stage.worker() as fleet:
        others = [fleet.wait_until_done(ref, timeout=10) for ref in refs if ref is not refs[2]]
        refused = asyncio.ensure_future(fleet.wait_until_done(refs[2], timeout=3))
        assert all(action.is_done for action in await asyncio.gather(*others))
        with pytest.raises(WaitTimeout, match="no such snapshot"):
            await refused


REFUSE = """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no such snapshot' USING ERRCODE = 'data_exception'; END $$"""
