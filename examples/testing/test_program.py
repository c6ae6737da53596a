"""A program that makes its own client, from its environment."""

import pytest

from closebulk_async import CloseBulk, by_id
from closebulk_async.simulator import Plan, Simulator


async def main() -> None:
    """Delete one lead."""
    async with CloseBulk.from_env() as close:
        action = await close.deletes.create(s_query=by_id("lead_1"))
        done = await close.wait_until_done(action)
        print(done.n_objects_processed, "deleted")


async def test_it_says_what_it_has_deleted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a clock of the test's time is real: so the job has ended as soon as it has begun."""
    async with Simulator(plan=Plan(duration=0, n_objects=1)) as simulator:
        monkeypatch.setenv("CLOSE_API_KEY", simulator.api_key)
        monkeypatch.setenv("CLOSE_BASE_URL", simulator.base_url)
        await main()
    assert capsys.readouterr().out == "1 deleted\n"
