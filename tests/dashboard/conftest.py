"""Dashboards to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.dashboard.houses import TOKEN, House, living

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A dashboard that only shows."""
    async with living() as house:
        yield house


@pytest.fixture
async def control() -> AsyncIterator[House]:
    """A dashboard that may pause and resume."""
    async with living(allow_control=True) as house:
        yield house


@pytest.fixture
async def locked() -> AsyncIterator[House]:
    """A dashboard that needs a token."""
    async with living(token=TOKEN, allow_control=True) as house:
        yield house
