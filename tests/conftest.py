"""The fixtures of the package's own plugin, and a stage for tests of waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.stage import Stage

if TYPE_CHECKING:
    from closebulk_async import CloseBulk
    from closebulk_async.simulator import Simulator
    from closebulk_async.testing import FakeClock

pytest_plugins = ["closebulk_async.testing.plugin", "pytester"]


@pytest.fixture
async def stage(close_clock: FakeClock, close_simulator: Simulator, close_client: CloseBulk) -> Stage:
    """Clock, simulator and client of one test."""
    return Stage(clock=close_clock, sim=close_simulator, close=close_client)
