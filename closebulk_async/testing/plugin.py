"""A pytest plugin: a client, the simulator that it talks to, and the clock that both live by.

Ask for it in the top `conftest.py` of your tests::

    pytest_plugins = ["closebulk_async.testing.plugin"]

`close_clock`, `close_simulator`, `close_client` and `make_close_client` are then fixtures of every test. They need
pytest-asyncio, in either of its modes (`pip install "closebulk-async[testing]"`), and nothing of the environment: no
key, no network. Under a test that failed, pytest shows what their clock was waiting for and what the simulator was
asked. The plugin does not load by itself, because then it would fail the test runs of those who use the package without
pytest-asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Unpack

import pytest
import pytest_asyncio

from closebulk_async.client import CloseBulk
from closebulk_async.simulator import Simulator
from closebulk_async.testing.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator

    from closebulk_async.client import ClientKeywords

__all__ = ["ClientFactory", "close_client", "close_clock", "close_simulator", "make_close_client"]

LATEST = 20
"""Requests that are shown under a test that failed."""


class ClientFactory(Protocol):
    """Makes clients of one simulator, which live by its clock."""

    def __call__(self, **keywords: Unpack[ClientKeywords]) -> CloseBulk:
        """A client that is not open yet, with these keywords of `CloseBulk`."""


@pytest.fixture
def close_clock() -> FakeClock:
    """The time of the others: a job of an hour and the wait for it take a part of a second."""
    return FakeClock()


@pytest_asyncio.fixture
async def close_simulator(close_clock: FakeClock) -> AsyncIterator[Simulator]:
    """A simulator of the API, without any job, that is being served on this machine."""
    async with Simulator(clock=close_clock) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def close_client(make_close_client: ClientFactory) -> AsyncIterator[CloseBulk]:
    """An open client of `close_simulator`."""
    async with make_close_client() as client:
        yield client


@pytest.fixture
def make_close_client(close_simulator: Simulator, close_clock: FakeClock) -> ClientFactory:
    """Makes clients of `close_simulator`: with a journal, a policy, hooks, or several of them."""

    def make(**keywords: Unpack[ClientKeywords]) -> CloseBulk:
        keywords.setdefault("base_url", close_simulator.base_url)
        keywords.setdefault("clock", close_clock)
        return CloseBulk(None if "auth" in keywords else close_simulator.api_key, **keywords)

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show, under a test that failed, what its clock was waiting for and what its simulator was asked."""
    report = yield
    for name, value in sorted(getattr(item, "funcargs", {}).items()) if report.failed else ():
        if isinstance(value, FakeClock):
            report.sections.append((name, value.describe()))
        elif isinstance(value, Simulator):
            report.sections.append((name, _describe(value)))
    return report


def _describe(simulator: Simulator) -> str:
    jobs = [job.snapshot(simulator.clock.now()) for job in simulator.jobs]
    shown = simulator.requests[-LATEST:]
    return "\n".join(
        (
            f"jobs: {len(jobs)}",
            *(f"- {job['id']} {job['status']}, {job['n_objects_processed']} of {job['n_objects']}" for job in jobs),
            f"requests: {len(simulator.requests)}, the latest {len(shown)} of them:",
            *(
                f"- {request.at:%H:%M:%S.%f} {request.method} {request.path} {request.status or 'not answered'}"
                + (f" (fault: {request.fault})" if request.fault else "")
                for request in shown
            ),
        )
    )
