"""Waits whose rows are written by the test, as workers would by a clock that differs from that of whoever waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs
import psycopg
import pytest
from psycopg.types.json import Json

from closebulk_async import BulkActionPaused, BulkEmail, JobRef
from closebulk_async.clock import SystemClock
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.models import Kind
from tests.fleet.stage import QUICK

if TYPE_CHECKING:
    from tests.fleet.stage import FleetStage

REF: JobRef[BulkEmail] = JobRef(Kind.EMAIL, BulkEmail.example().id)


@attrs.frozen
class JumpingClock(SystemClock):
    """That of a process whose time goes on otherwise than the database's."""

    jumps: list[float] = attrs.field(factory=list)

    def monotonic(self) -> float:
        """What has passed here alone counts."""
        return super().monotonic() + sum(self.jumps)


async def show(stage: FleetStage, *, later: float = 0.0, **changes: Any) -> None:
    """Let a poll have shown this, `later` than now by the database's clock."""
    row = {"id": REF.id, "snapshot": Json(BulkEmail.example(**changes).to_dict()), "later": later}
    async with await psycopg.AsyncConnection.connect(stage.database, autocommit=True) as connection:
        await connection.execute(SHOW, row)


async def test_a_clock_that_was_set_back_hides_no_poll(fleet_stage: FleetStage) -> None:
    """Another poll is a later one, whatever instant it has."""
    await show(fleet_stage, status="processing", n_objects_processed=1)
    async with fleet_stage.fleet() as fleet, asyncio.timeout(15):
        wait = fleet.wait_until_done(REF)
        assert (await anext(wait)).n_objects_processed == 1
        for processed in (2, 3):
            await show(fleet_stage, later=-3600.0 * processed, status="processing", n_objects_processed=processed)
            assert (await anext(wait)).n_objects_processed == processed
        await wait.aclose()


async def test_a_clock_that_has_jumped_is_noticed(fleet_stage: FleetStage) -> None:
    """What was polled after the question is an answer, although by the old difference it was long before."""
    clock = JumpingClock()
    async with Fleet(fleet_stage.database, fleet_stage.client, poll=QUICK, clock=clock) as fleet:
        await show(fleet_stage, status="processing")
        await anext(fleet.wait_until_done(REF))
        clock.jumps.append(3600.0)
        await show(fleet_stage, later=5.0, status="paused")
        async with asyncio.timeout(10):
            with pytest.raises(BulkActionPaused):
                await fleet.wait_until_done(REF, on_paused="raise")


SHOW: Any = """INSERT INTO closebulk.actions AS kept
        (account, kind, id, snapshot, polled_at, next_poll_at, registered_at, urged_at, changed_at)
    SELECT 'default', 'email', %(id)s, %(snapshot)s, at + %(later)s, at + 3600, at, at, at
    FROM (SELECT extract(epoch FROM clock_timestamp())::float8) AS of (at)
    ON CONFLICT (account, kind, id) DO UPDATE SET snapshot = excluded.snapshot, polled_at = excluded.polled_at"""
