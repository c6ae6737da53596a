"""A program that dies between the start of a job and its end."""

from pathlib import Path

from closebulk_async import CloseBulk, by_id
from closebulk_async.simulator import Simulator
from closebulk_async.testing.plugin import ClientFactory


async def begin(close: CloseBulk, lead_id: str) -> str:
    """Start the deletion of a lead, under a key of its own."""
    action = await close.deletes.create(s_query=by_id(lead_id), idempotency_key=f"clean-up-{lead_id}")
    return str(action.ref)


async def go_on(close: CloseBulk) -> int:
    """Wait for all that an earlier process has left open; how much was deleted."""
    left_open = [found.ref async for found in close.recover() if found.ref]
    outcomes = await close.wait_all(left_open)
    return sum(outcome.action.n_objects_processed for outcome in outcomes if outcome.action)


async def test_the_next_process_goes_on(
    make_close_client: ClientFactory, close_simulator: Simulator, tmp_path: Path
) -> None:
    """It waits for the job of the first one, and an equal start gives that job again."""
    journal = tmp_path / "journal.db"
    close_simulator.next_job(n_objects=7, duration=3600)
    async with make_close_client(journal=journal) as close:
        ref = await begin(close, "lead_1")
    async with make_close_client(journal=journal) as close:
        assert await go_on(close) == 7
        assert await begin(close, "lead_1") == ref
    assert len(close_simulator.jobs) == 1
