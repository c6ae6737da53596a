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


def run_theirs(
    pytester: pytest.Pytester, tests: str, *, mode: str = "auto", conftest: str = THEIR_CONFTEST
) -> pytest.RunResult:
    """Somebody else's tests, with one line in a conftest."""
    pytester.makeconftest(conftest)
    pytester.makepyfile(tests)
    return pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-W", "error", "-o", f"asyncio_mode={mode}",
        "-o", "asyncio_default_fixture_loop_scope=function",
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_it_works_in_a_suite_of_its_own(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """One line in a conftest is all that the fixtures need, whatever the environment says about Close."""
    monkeypatch.setenv("CLOSE_API_KEY", "api_production")
    monkeypatch.setenv("CLOSE_BASE_URL", "https://api.close.com/api/v1")
    run_theirs(pytester, THEIR_TESTS, mode=mode).assert_outcomes(passed=2)


THEIR_FAILURES = """
import asyncio

from closebulk_async.simulator import faults

LEAD = {"type": "id", "value": "lead_1"}


async def test_that_fails(close_client, close_simulator):
    close_simulator.next_job(duration=10, n_objects=8)
    close_simulator.fail_next(faults.cut_after(), method="POST")
    await close_client.deletes.create(s_query=LEAD)
    assert close_simulator.jobs == ()


async def test_that_has_a_sleeper(close_client, close_simulator, close_clock):
    sleeper = asyncio.create_task(close_clock.sleep(float("inf")))
    await asyncio.sleep(0)
    assert sleeper.done()


async def test_that_passes(close_client, close_simulator):
    pass


def test_without_any_of_it():
    assert not "at all"
"""


def test_a_failure_shows_what_clock_and_simulator_know(pytester: pytest.Pytester) -> None:
    """What was asked and what runs, how time stands, and no key; nothing of it under tests that pass or use neither."""
    result = run_theirs(pytester, THEIR_FAILURES)
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_that_fails _*",
            "*- close_clock -*",
            "it is 2025-06-11 12:00:0*",
            "*- close_simulator -*",
            "jobs: 1",
            "- bulkdelete_* created, 0 of None",
            "requests: *, the latest * of them:",
            "- 12:00:00.000000 POST /api/v1/bulk_action/delete/ not answered (fault: cut_after)",
            "- 12:00:0*.* GET /api/v1/bulk_action/delete/ 200",
            "*_ test_that_has_a_sleeper _*",
            "*- close_clock -*",
            "sleepers: 1, nothing is due",
            "requests in flight: 0, held by a server: 0",
            "*_ test_without_any_of_it _*",
        ]
    )
    shown = result.stdout.str()
    assert shown.count("- close_clock -") == 2
    assert "api_0simulator" not in shown.lower()


THEIR_CLOCK = """
import pytest

from closebulk_async.testing import FakeClock

pytest_plugins = ["closebulk_async.testing.plugin"]


@pytest.fixture
def close_clock():
    return FakeClock(auto=False)
"""


def test_a_fixture_of_their_own_takes_the_place_of_one(pytester: pytest.Pytester) -> None:
    """Client and simulator live by the clock of their conftest."""
    test = """
    async def test_time_stands_still(close_client, close_simulator, close_clock):
        close_simulator.add_job("email")
        await close_clock.advance(60)
        (action,) = (await close_client.emails.list()).data
        assert (close_clock.now() - action.date_created).total_seconds() == 60
    """
    run_theirs(pytester, test, conftest=THEIR_CLOCK).assert_outcomes(passed=1)


THEIR_CLIENTS = """
import pytest

from closebulk_async import AuthenticationError, BearerToken


async def test_two_clients_with_a_journal(make_close_client, close_simulator, close_clock, tmp_path):
    for _ in range(2):
        async with make_close_client(journal=tmp_path / "journal.db") as close:
            await close.deletes.create(s_query={"type": "id", "value": "lead_1"}, idempotency_key="once")
    assert len(close_simulator.jobs) == 1
    assert close_simulator.jobs[0].created_at == close_clock.now()


async def test_another_way_to_log_in(make_close_client, close_simulator):
    async with make_close_client(auth=BearerToken("of_somebody_else")) as close:
        with pytest.raises(AuthenticationError):
            await close.emails.list()
"""


def test_clients_of_all_sorts_can_be_made(pytester: pytest.Pytester) -> None:
    """With what `CloseBulk` takes, and of this simulator and clock."""
    run_theirs(pytester, THEIR_CLIENTS).assert_outcomes(passed=2)


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
