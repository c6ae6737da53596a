"""The fixtures of the package's own plugin, and a stage for tests of waits."""

from __future__ import annotations

import gc
import os
import signal
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from closebulk_async import CloseBulk
from closebulk_async.simulator import Simulator
from tests.haystacks import Haystack
from tests.offices import Office
from tests.stage import EVERY_SECOND, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

    from closebulk_async.testing import FakeClock

# The same examples in each run: a failure is then the change's. `HYPOTHESIS_PROFILE=explore` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

pytest.register_assert_rewrite("closebulk_async.testing.conformance")

# A shell gives its background jobs, and with them all programs that tests start, an interrupt that is ignored; then the
# tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Airflow pins half the world: its tests run in an environment that has it (`make test-airflow`), and in no other. That
# one has nothing of fleets.
collect_ignore = [] if find_spec("airflow") else ["airflow"]
_OF_FLEETS = ["tests.fleet.postgres", "tests.fleet.redis_server"] if find_spec("procrastinate") else []

pytest_plugins = ["closebulk_async.testing.plugin", "pytester", "tests.contract.plugin", *_OF_FLEETS]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave the tests that were collected out of garbage collections, which go through all of them, again and again.

    They live to the end anyhow. With eleven thousand of them that was half of the time of what runs.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Trace nothing in a test that is `unmeasured`: others measure the same lines, but for a few. Not its processes."""
    tracer = sys.gettrace()
    if item.get_closest_marker("unmeasured") is not None:
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture
def clock(close_clock: FakeClock) -> FakeClock:
    """The plugin's, by a short name."""
    return close_clock


@pytest.fixture
async def sim(clock: FakeClock) -> AsyncIterator[Simulator]:
    """A simulator that lives by `clock`, which a module may set otherwise."""
    async with Simulator(clock=clock) as simulator:
        yield simulator


@pytest.fixture
async def stage(close_clock: FakeClock, close_simulator: Simulator) -> AsyncIterator[Stage]:
    """Clock, simulator and client of one test; the client polls each second."""
    sim = close_simulator
    async with CloseBulk(sim.api_key, base_url=sim.base_url, clock=close_clock, poll=EVERY_SECOND) as close:
        yield Stage(clock=close_clock, sim=sim, close=close)


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """A service, and a journal in a file that nobody has opened yet."""
    async with Office(tmp_path / "journal.db") as office:
        yield office


@pytest.fixture
async def hay(clock: FakeClock) -> AsyncIterator[Haystack]:
    """A service to search in, empty at first."""
    async with Haystack(clock) as haystack:
        yield haystack
