"""What users import from the subpackages: the testing kit, the simulator, the dashboard, the integrations."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_type

import pytest
from aiohttp import web

from closebulk_async import (
    BulkAction,
    Clock,
    CloseBulk,
    Hook,
    Job,
    JobRef,
    Journal,
    Limiter,
    MemoryJournal,
    MemoryLimiter,
    Progress,
    SystemClock,
    Wait,
    dashboard,
)
from closebulk_async.integrations.opentelemetry import OpenTelemetryHook
from closebulk_async.integrations.postgres import PostgresJournal
from closebulk_async.integrations.postgres_limiter import PostgresLimiter
from closebulk_async.integrations.procrastinate import Fleet
from closebulk_async.integrations.prometheus import PrometheusHook
from closebulk_async.integrations.redis import RedisLimiter, hash_key
from closebulk_async.integrations.task_state import TaskStateJournal
from closebulk_async.simulator import Fault, Plan, Request, Simulator, faults
from closebulk_async.simulator import Job as SimulatedJob
from closebulk_async.testing import FakeClock
from closebulk_async.testing.conformance import JournalConformance, LimiterConformance, SharedJournalConformance

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from closebulk_async.testing.chaos.programs import JournalFactory
    from closebulk_async.testing.conformance.limiters import LimiterFactory


async def test_ones_own_code(close_client: CloseBulk, close_simulator: Simulator, close_clock: FakeClock) -> None:
    """The plugin's fixtures, as a test is given them."""
    close_simulator.next_job(duration=3600, ends="error", n_objects=1000)
    close_simulator.fail_next(faults.too_many_requests(), times=3, method="GET")
    job = close_simulator.add_job("email", n_objects=5)
    assert_type(job, SimulatedJob)
    assert_type(close_simulator.jobs, tuple[SimulatedJob, ...])
    assert_type(close_simulator.requests, tuple[Request, ...])
    assert_type(faults.cut_after(), Fault)
    assert_type(close_clock.now(), datetime)
    await close_clock.advance(60)
    clock: Clock = close_clock
    client = CloseBulk(close_simulator.api_key, base_url=close_simulator.base_url, clock=clock)
    assert_type(await close_client.wait_until_done(job.id), BulkAction)
    close_simulator.add_job("letter")  # type: ignore[arg-type]
    close_simulator.next_job(duration="1 h")  # type: ignore[arg-type]
    close_simulator.next_job(speed=5)  # type: ignore[call-arg]
    close_simulator.fail_next("503")  # type: ignore[arg-type]
    close_clock.advance("60")  # type: ignore[arg-type, unused-coroutine]
    await client.aclose()


async def simulate() -> str:
    """A simulator of one's own has settings, each with its type."""
    async with Simulator(clock=FakeClock(auto=False), plan=Plan(duration=60, n_objects=10), seed=1) as simulator:
        assert_type(simulator, Simulator)
        simulator.plan = Plan(ends="done")
        simulator.plan = "done"  # type: ignore[assignment]
        Plan(ends="maybe")  # type: ignore[arg-type]
        return simulator.base_url


@asynccontextmanager
async def open_limiter() -> AsyncGenerator[Limiter]:
    """A limiter for a block."""
    yield MemoryLimiter(SystemClock())


@asynccontextmanager
async def open_journal() -> AsyncGenerator[Journal]:
    """A journal for a block."""
    yield MemoryJournal()


class TestOwnLimiter(LimiterConformance):
    """The conformance suite takes the user's own by a fixture."""

    @pytest.fixture
    def limiter_factory(self) -> LimiterFactory:
        """How one is opened."""
        return open_limiter


class TestOwnJournal(JournalConformance):
    """The same for a journal."""

    @pytest.fixture
    def journal_factory(self) -> JournalFactory:
        """How one is opened."""
        return open_journal


def shared_suite() -> type[SharedJournalConformance]:
    """The suite of a journal that several processes share is another."""
    return SharedJournalConformance


def show(close: CloseBulk) -> web.Application:
    """The dashboard is an application, or a part of one."""
    app = web.Application()
    dashboard.setup(app, close, prefix="/bulk", token="0123456789abcdef", beat=0.5)
    assert_type(dashboard.make_app(close, allow_control=True), web.Application)
    dashboard.setup(app)  # type: ignore[call-arg]
    dashboard.setup(app, close, allowed_hosts=5)  # type: ignore[arg-type]
    return app


def connect(redis: Redis) -> CloseBulk:
    """Hooks, journals and limiters of the integrations stand wherever one's own do."""
    key_hash = hash_key("api_x", base_url="https://api.close.com/api/v1")
    hooks: list[Hook] = [OpenTelemetryHook(), PrometheusHook()]
    journal: Journal = PostgresJournal("postgresql:///close", keep=86400)
    limiters: list[Limiter] = [
        RedisLimiter(redis, key_hash=key_hash),
        PostgresLimiter("postgresql:///close", key_hash=key_hash),
    ]
    PostgresJournal(5)  # type: ignore[arg-type]
    RedisLimiter(redis)  # type: ignore[call-arg]
    return CloseBulk("api_x", hooks=hooks, journal=journal, limiter=limiters[0])


def keep_in_a_task(state: dict[str, Any]) -> Journal:
    """A journal in the state of one task of an engine."""
    TaskStateJournal(read=state.copy)  # type: ignore[call-arg]
    return TaskStateJournal(read=lambda: state, write=state.update)


async def share(fleet: Fleet) -> None:
    """A fleet does by the name of an organization what a client does."""
    async with Fleet("postgresql:///close", lambda account, **wiring: CloseBulk(f"api_{account}", **wiring)) as opened:
        assert_type(opened, Fleet)
    action = await fleet.start("delete", account="acme", s_query={"type": "id", "value": "lead_1"})
    assert_type(action, BulkAction)
    assert_type(fleet.wait_until_done(action.ref, account="acme"), Wait[Any])
    assert_type(fleet.watch_active(account="acme"), AsyncGenerator[Progress[Any], None])
    assert_type(await fleet.active(), list[JobRef[Any]])
    assert_type(await fleet.recent(limit=5), list[Job])
    assert_type(await fleet.client("acme"), CloseBulk)
    await fleet.start(5)  # type: ignore[arg-type]
    await fleet.work(concurrency="8")  # type: ignore[arg-type]
    Fleet("postgresql:///close")  # type: ignore[call-arg]
