"""A job that somebody pauses."""

import asyncio

from closebulk_async import BulkActionPaused, CloseBulk, by_id
from closebulk_async.simulator import Simulator
from closebulk_async.testing import FakeClock


async def clean_up(close: CloseBulk, lead_id: str) -> str:
    """Delete a lead; what to tell the user, also when a colleague has paused the job."""
    action = await close.deletes.create(s_query=by_id(lead_id))
    try:
        await close.wait_until_done(action, on_paused="raise")
    except BulkActionPaused as exc:
        return f"somebody has paused {exc.ref}"
    return "deleted"


async def test_a_pause_on_the_way(close_client: CloseBulk, close_simulator: Simulator, close_clock: FakeClock) -> None:
    """Half an hour after the start somebody else pauses the job."""
    close_simulator.next_job(duration=3600)
    telling = asyncio.create_task(clean_up(close_client, "lead_1"))
    await close_clock.advance(1800)
    (job,) = close_simulator.jobs
    await close_client.deletes.pause(job.id)
    assert await telling == f"somebody has paused delete:{job.id}"
