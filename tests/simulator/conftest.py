"""A simulator and a small client that share a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from closebulk_async.simulator import Simulator
from closebulk_async.testing import FakeClock

from .api import Api
from .receivers import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> FakeClock:
    """Virtual time."""
    return FakeClock()


@pytest.fixture
async def sim(clock: FakeClock) -> AsyncIterator[Simulator]:
    """A simulator that is being served."""
    async with Simulator(clock=clock, bearer_tokens=("token",)) as simulator:
        yield simulator


@pytest.fixture
async def api(sim: Simulator, clock: FakeClock) -> AsyncIterator[Api]:
    """A client of `sim`."""
    async with aiohttp.ClientSession() as session:
        yield Api(sim=sim, clock=clock, session=session)


@pytest.fixture
async def receiver(clock: FakeClock) -> AsyncIterator[Receiver]:
    """A receiver of webhooks that is being served."""
    async with Receiver(clock) as receiver:
        yield receiver
