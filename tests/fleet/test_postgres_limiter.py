"""The budget of a key in PostgreSQL: what several limiters see of each other, and what they say where it is away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from closebulk_async.clock import SystemClock
from closebulk_async.errors import InvalidRequestError, RateLimitedError, TransportError
from closebulk_async.integrations.postgres_limiter import PostgresLimiter, hash_key
from closebulk_async.limiter import Priority, Sight
from closebulk_async.ratelimit import RateLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fleet.postgres import PostgresServer

GROUP, OTHER = "GET /bulk_action/email/", "GET /bulk_action/edit/"
KEY = "api_1secret.2secret"
KEY_HASH = hash_key(KEY, base_url="https://api.close.com/api/v1")


class HastyClock(SystemClock):
    """For whom five seconds are over in a tenth of one."""

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """Fifty times as short."""
        return asyncio.timeout(seconds / 50)


def connect(database: str, *, key_hash: str = KEY_HASH, is_hasty: bool = False) -> PostgresLimiter:
    """One more process."""
    return PostgresLimiter(database, key_hash=key_hash, clock=HastyClock() if is_hasty else None)


@pytest.fixture
async def limiter(fleet_database: str) -> AsyncIterator[PostgresLimiter]:
    """One of a process."""
    async with connect(fleet_database) as limiter:
        yield limiter


async def enter(limiter: PostgresLimiter, *, group: str = GROUP, most: float = 30.0) -> None:
    """Get a place."""
    await limiter.acquire(group, priority=Priority.CALL, most=most)


async def stop(limiter: PostgresLimiter, seconds: float = 3600.0) -> None:
    """Let a 429 stop the group, and see it written down."""
    await enter(limiter)
    limiter.learn(GROUP, Sight(stopped_for=seconds))
    with pytest.raises(RateLimitedError):
        await enter(limiter, most=1)


async def is_stopped(limiter: PostgresLimiter) -> bool:
    """Whether somebody said so."""
    try:
        await enter(limiter, most=1)
    except RateLimitedError:
        return True
    return False


async def test_processes_see_what_others_learned(limiter: PostgresLimiter, fleet_database: str) -> None:
    """Of the same key and group, and of no other."""
    await stop(limiter)
    async with connect(fleet_database) as other:
        assert await is_stopped(other)
        await enter(other, group=OTHER, most=1)
    async with connect(fleet_database, key_hash=hash_key("api_2", base_url="https://api.close.com")) as stranger:
        assert not await is_stopped(stranger)


async def test_what_is_learned_last_is_written_when_it_is_closed(fleet_database: str) -> None:
    """Another process, later, begins with it."""
    async with connect(fleet_database) as first:
        await enter(first)
        first.learn(GROUP, Sight(window=RateLimit(limit=160, remaining=1, reset=3000)))
    async with connect(fleet_database) as second:
        await enter(second, most=1)
        with pytest.raises(RateLimitedError):
            await enter(second, most=0)


async def test_many_at_once_on_many_limiters(fleet_database: str) -> None:
    """Nobody is forgotten, and no place is had twice: what is kept at the end says so."""
    limiters = [connect(fleet_database) for _ in range(4)]

    async def go(limiter: PostgresLimiter) -> None:
        await enter(limiter)
        await asyncio.sleep(0)
        limiter.learn(GROUP, Sight())

    await asyncio.gather(*(go(limiter) for limiter in limiters for _ in range(25)))
    await asyncio.gather(*(limiter.aclose() for limiter in limiters))
    with psycopg.connect(fleet_database) as connection:
        rows = connection.execute(
            "SELECT state::json->>'places', state::json->'budget'->>'successes' FROM closebulk.budgets"
        )
        assert rows.fetchall() == [("{}", "100")]


async def test_the_key_is_nowhere(limiter: PostgresLimiter, fleet_database: str) -> None:
    """Of the key only its hash is written."""
    await stop(limiter)
    with psycopg.connect(fleet_database) as connection:
        (row,) = connection.execute("SELECT * FROM closebulk.budgets").fetchall()
    assert row[:2] == (KEY_HASH, GROUP)
    assert "secret" not in str(row)
    with pytest.raises(InvalidRequestError, match="never the key"):
        connect(fleet_database, key_hash=KEY)


@pytest.mark.parametrize("autocommit", [True, False])
async def test_the_pool_of_a_caller(fleet_database: str, autocommit: bool) -> None:  # noqa: FBT001 - a parameter of pytest
    """It is used, stays open and as it was, and nobody holds the row in a transaction of his own."""
    keywords = {"autocommit": autocommit}
    async with AsyncConnectionPool(fleet_database, min_size=1, max_size=1, open=False, kwargs=keywords) as pool:
        async with PostgresLimiter(pool, key_hash=KEY_HASH) as limiter:
            await stop(limiter)
        async with pool.connection() as connection:
            assert connection.autocommit is autocommit
        async with connect(fleet_database) as other:
            assert await is_stopped(other)


async def test_a_database_without_tables_says_what_to_do(database: str) -> None:
    """The request was not sent."""
    async with connect(database) as limiter:
        with pytest.raises(TransportError, match="run `closebulk fleet init`") as caught:
            await enter(limiter)
    assert caught.value.sent is False


@pytest.mark.parametrize("at_once", [True, False])
async def test_it_survives_a_restart(
    postgres: PostgresServer,
    limiter: PostgresLimiter,
    at_once: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    """Who asks meanwhile gets a place when it is back, over new connections."""
    await stop(limiter)
    await enter(limiter, group=OTHER)
    postgres.stop(at_once=at_once)
    waiting = asyncio.ensure_future(enter(limiter, group=OTHER))
    await asyncio.to_thread(postgres.start)
    await waiting
    # A crash empties the table, and whoever lives knows better than it.
    assert await is_stopped(limiter)


async def test_a_database_that_is_away_is_said_so(postgres: PostgresServer, fleet_database: str) -> None:
    """All who wait are told that nothing was sent; they ask again when it is back."""
    async with connect(fleet_database, is_hasty=True) as limiter:
        await enter(limiter)
        postgres.stop()
        began = time.monotonic()
        errors = await asyncio.gather(*(enter(limiter) for _ in range(3)), return_exceptions=True)
        assert time.monotonic() - began < 30
        for error in errors:
            assert isinstance(error, TransportError)
            assert not error.sent
            assert "PostgreSQL" in str(error)
            assert "see that PostgreSQL runs" in str(error)
        postgres.start()
        await asyncio.sleep(0)
    async with connect(fleet_database) as limiter:
        await enter(limiter)


async def test_a_closed_limiter_lets_nobody_through(limiter: PostgresLimiter) -> None:
    """It may be closed twice."""
    await enter(limiter)
    await limiter.aclose()
    await limiter.aclose()
    with pytest.raises(TransportError, match="closed"):
        await enter(limiter)
