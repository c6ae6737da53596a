"""A simulator with a job that runs, a client of it, and a clock that keeps what was slept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from closebulk_async.simulator import Simulator
from tests.peers import NotingClock, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async import (
        CloseBulk,
    )


@pytest.fixture
def clock() -> NotingClock:
    """Virtual time that keeps what was slept."""
    return NotingClock()


@pytest.fixture
async def sim(clock: NotingClock) -> AsyncIterator[Simulator]:
    """A simulator with one job that runs for a day."""
    async with Simulator(clock=clock) as simulator:
        simulator.next_job(duration=86_400)
        simulator.add_job("email", id="bulkemail_1", status="processing", n_objects=10, n_objects_processed=1)
        yield simulator


@pytest.fixture
async def close(sim: Simulator, clock: NotingClock) -> AsyncIterator[CloseBulk]:
    """A client of `sim`."""
    async with connect(sim, clock) as client:
        yield client
