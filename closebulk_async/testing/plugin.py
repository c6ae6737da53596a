"""A pytest plugin: a client, the simulator that it talks to, and the clock that both live by.

Ask for it in the top `conftest.py` of your tests::

    pytest_plugins = ["closebulk_async.testing.plugin"]

`close_clock`, `close_simulator` and `close_client` are then fixtures of every test. They need pytest-asyncio, in either
of its modes (`pip install "closebulk-async[testing]"`), and nothing of the environment: no key, no network. The plugin
does not load by itself, because then it would fail the test runs of those who use the package without pytest-asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from closebulk_async.client import CloseBulk
from closebulk_async.simulator import Simulator
from closebulk_async.testing.fake_clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["close_client", "close_clock", "close_simulator"]


@pytest.fixture
def close_clock() -> FakeClock:
    """The time of the other two: a job of an hour and the wait for it take a part of a second."""
    return FakeClock()


@pytest_asyncio.fixture
async def close_simulator(close_clock: FakeClock) -> AsyncIterator[Simulator]:
    """A simulator of the API, without any job, that is being served on this machine."""
    async with Simulator(clock=close_clock) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def close_client(close_simulator: Simulator, close_clock: FakeClock) -> AsyncIterator[CloseBulk]:
    """An open client of `close_simulator`."""
    async with CloseBulk(close_simulator.api_key, base_url=close_simulator.base_url, clock=close_clock) as client:
        yield client
