"""A job that takes longer than anybody waits."""

from datetime import timedelta

from closebulk_async import CloseBulk, WaitTimeout, by_id
from closebulk_async.simulator import Simulator
from closebulk_async.testing import FakeClock


async def clean_up(close: CloseBulk, lead_id: str) -> str:
    """Delete a lead; what to tell the user within an hour."""
    action = await close.deletes.create(s_query=by_id(lead_id))
    try:
        await close.wait_until_done(action, timeout=timedelta(hours=1))
    except WaitTimeout as exc:
        return f"{exc.ref} still runs"
    return "deleted"


async def test_a_job_of_a_day(close_client: CloseBulk, close_simulator: Simulator, close_clock: FakeClock) -> None:
    """After an hour of the clock, which takes no time, the user is told; the job goes on."""
    close_simulator.next_job(duration=timedelta(days=1))
    told = await clean_up(close_client, "lead_1")
    (job,) = close_simulator.jobs
    assert told == f"delete:{job.id} still runs"
    assert close_clock.monotonic() >= 3600
    assert (await close_client.deletes.get(job.id)).status == "processing"
