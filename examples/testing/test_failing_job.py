"""A job that fails at 40 %."""

from closebulk_async import BulkActionFailed, CloseBulk, Query, lead
from closebulk_async.simulator import Simulator


async def clean_up(close: CloseBulk, query: Query) -> str:
    """Delete what a query matches, and say in words how that went."""
    action = await close.deletes.create(s_query=query)
    share = 0.0
    try:
        async for progress in close.wait_until_done(action):
            share = progress.fraction or share
    except BulkActionFailed as exc:
        return f"{exc.ref} failed at {share:.0%}"
    return "all deleted"


async def test_a_failure_is_told_with_how_far_it_came(close_client: CloseBulk, close_simulator: Simulator) -> None:
    """The job ends with an error when 40 of 100 leads are deleted."""
    close_simulator.next_job(ends="error", fails_at=0.4, n_objects=100, duration=3600)
    told = await clean_up(close_client, lead.name.full_words("ACME Inc."))
    assert told == f"delete:{close_simulator.jobs[0].id} failed at 40%"
