"""The plugin serves somebody else's test suite, in either mode of pytest-asyncio, and only where it is asked for."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from closebulk_async import CloseBulk
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

THEIR_CONFTEST = 'pytest_plugins = ["closebulk_async.testing.plugin"]'

THEIR_TESTS = """
import pytest


@pytest.mark.asyncio
async def test_a_job_of_an_hour(close_client, close_simulator, close_clock):
    close_simulator.next_job(duration=3600, n_objects=7)
    action = await close_client.deletes.create(s_query={"type": "id", "value": "lead_1"})
    done = await close_client.wait_until_done(action)
    assert done.n_objects_processed == 7
    assert close_clock.monotonic() >= 3600


@pytest.mark.asyncio
async def test_each_test_has_its_own(close_client, close_simulator, close_clock):
    assert not close_simulator.jobs
    assert close_clock.monotonic() == 0
"""


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_it_works_in_a_suite_of_its_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """One line in a conftest is all that the fixtures need, whatever the environment says about Close."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_production")
    monkeypatch.setenv("CLOSE_BASE_URL", "https://api.close.com/api/v1")
    pytester.makeconftest(THEIR_CONFTEST)
    pytester.makepyfile(THEIR_TESTS)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-W", "error", "-o", f"asyncio_mode={mode}",
        "-o", "asyncio_default_fixture_loop_scope=function",
    )  # fmt: skip
    result.assert_outcomes(passed=2)


def test_no_entry_point_loads_it() -> None:
    """It would break the test runs of those who have this package and no pytest-asyncio."""
    assert not [entry for entry in entry_points(group="pytest11") if entry.value.startswith("closebulk_async")]


async def test_the_three_fit_together(
    close_client: CloseBulk, close_simulator: Simulator, close_clock: FakeClock
) -> None:
    """The client asks this simulator, and both live by this clock."""
    assert close_simulator.clock is close_clock
    job = close_simulator.add_job("email")
    action = await close_client.emails.get(job.id)
    assert action.date_created == close_clock.now()
    assert [request.path for request in close_simulator.requests] == [f"/api/v1/bulk_action/email/{job.id}/"]
