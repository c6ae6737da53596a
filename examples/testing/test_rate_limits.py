"""A storm of 429s."""

from closebulk_async import CloseBulk, DeleteStart, by_id
from closebulk_async.simulator import Limits, Simulator, faults
from closebulk_async.testing import FakeClock


async def clean_up_all(close: CloseBulk, leads: list[str]) -> int:
    """Delete leads one by one, at most ten at a time; how many are deleted."""
    starts = [DeleteStart(s_query=by_id(each)) for each in leads]
    return sum([outcome.error is None async for outcome in close.run_many(starts, max_running=10)])


async def test_a_storm_costs_time_and_no_job(
    close_client: CloseBulk, close_simulator: Simulator, close_clock: FakeClock
) -> None:
    """Three times in a row a 429 asks for ten seconds: nobody asks again before, and each job is started once."""
    close_simulator.fail_next(faults.too_many_requests(retry_after=10), times=3)
    assert await clean_up_all(close_client, ["lead_1", "lead_2"]) == 2
    assert [request.status for request in close_simulator.requests].count(429) == 3
    assert close_clock.monotonic() > 30
    assert len(close_simulator.jobs) == 2


async def test_a_key_of_one_request_a_second_is_enough(close_client: CloseBulk, close_simulator: Simulator) -> None:
    """With limits as Close has them, only lower, all jobs are started once."""
    close_simulator.limits = Limits(rate=1)
    assert await clean_up_all(close_client, [f"lead_{n}" for n in range(30)]) == 30
    assert len(close_simulator.jobs) == 30
