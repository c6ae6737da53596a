"""One shift of polls: what a worker writes down of actions, and what it does where it may not read them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from closebulk_async import CloseBulk, JobRef, NotFoundError, WaitTimeout
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.models import Kind
from closebulk_async.simulator import Plan, faults
from tests.fleet.stage import QUICK, start
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


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_ends_no_wait(fleet_stage: FleetStage, status: int) -> None:
    """The polls are tried again, the status says why they failed, and whoever waits gets the end when they succeed."""
    ref = fleet_stage.job(duration=0.5)
    refusal = faults.reply(status, '{"error": "no such key"}', content_type="application/json")
    fleet_stage.sim.fail_next(refusal, method="GET", path="/bulk_action/", times=2)
    async with fleet_stage.worker() as fleet:
        wait = asyncio.ensure_future(fleet.wait_until_done(ref, timeout=20))
        async with asyncio.timeout(10):
            while not (told := (await fleet.status())["actions"]) or not told[0]["failing"]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        assert (told[0]["active"], told[0]["failed"]) == (1, 0)
        assert "no such key" in told[0]["error"]
        assert (await wait).is_done


async def test_a_worker_with_a_wrong_key_leaves_polls_to_others(fleet_stage: FleetStage) -> None:
    """It polls no longer than it takes to be refused; and the status counts what is given up as it is not there."""
    ref = fleet_stage.job(duration=1000)
    missing: JobRef[Any] = JobRef(Kind.EMAIL, "bulkemail_nothing")

    def wrong(account: str, **wiring: Any) -> CloseBulk:
        return CloseBulk("api_wrong", base_url=fleet_stage.sim.base_url, poll=QUICK, **wiring)

    async with Fleet(fleet_stage.database, wrong, poll=QUICK) as stranger:
        working = asyncio.create_task(stranger.work())
        wait = stranger.wait_until_done(ref)
        step = asyncio.ensure_future(anext(wait))
        async with asyncio.timeout(10):
            while not (told := (await stranger.status())["actions"]) or not told[0]["failing"]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        async with fleet_stage.worker() as fleet, asyncio.timeout(60):
            assert not (await step).is_final
            with pytest.raises(NotFoundError):
                await fleet.wait_until_done(missing)
            (row,) = (await fleet.status())["actions"]
            assert (row["active"], row["failed"]) == (1, 1)
        stranger.stop()
        await working
