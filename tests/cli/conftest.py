"""A simulator for the command, and the command in this process, which is quicker than one of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest

from closebulk_async.cli import main
from closebulk_async.simulator import Simulator

from .programs import NO_KEYRING, Finished, StillClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Closebulk(Protocol):
    """The command, as a function."""

    async def __call__(self, *arguments: str) -> Finished:
        """Run it to its end."""


@pytest.fixture
def clock() -> StillClock:
    """The simulator's clock."""
    return StillClock()


@pytest.fixture
async def sim(clock: StillClock) -> AsyncIterator[Simulator]:
    """A simulator whose time the test decides."""
    async with Simulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
def closebulk(sim: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Closebulk:
    """The command in a thread, with a loop of its own, in an environment where the simulator is Close."""
    monkeypatch.setenv("CLOSE_API_KEY", sim.api_key)
    monkeypatch.setenv("CLOSE_BASE_URL", sim.base_url)
    for name in ("CLOSEBULK_JOURNAL", "CLOSEBULK_PROFILE", "CLOSEBULK_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in NO_KEYRING.items():
        monkeypatch.setenv(name, value)

    async def call(*arguments: str) -> Finished:
        code = await asyncio.to_thread(main, arguments)
        return Finished(code, *capsys.readouterr())

    return call
