"""The limiters that processes share keep what every limiter promises."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from closebulk_async.integrations.postgres_limiter import PostgresLimiter, hash_key
from closebulk_async.integrations.redis import RedisLimiter
from closebulk_async.testing.conformance import LimiterConformance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from closebulk_async.testing.conformance.limiters import LimiterFactory
    from tests.fleet.redis_server import RedisServer

KEY_HASH = hash_key("api_1", base_url="https://api.close.com/api/v1")


class TestPostgres(LimiterConformance):
    """By one row of a database."""

    @pytest.fixture
    def limiter_factory(self, fleet_database: str) -> LimiterFactory:
        """Each as in a process of its own."""
        return partial(PostgresLimiter, fleet_database, key_hash=KEY_HASH)


class TestRedis(LimiterConformance):
    """By the logs of pyrate-limiter."""

    @pytest.fixture
    def limiter_factory(self, redis_server: RedisServer) -> LimiterFactory:
        """Each with connections of its own; the pace for what is not shown is one that no test waits for."""

        @asynccontextmanager
        async def connect() -> AsyncIterator[RedisLimiter]:
            async with (
                Redis.from_url(redis_server.url) as redis,
                RedisLimiter(redis, key_hash=KEY_HASH, unshown=1000) as limiter,
            ):
                yield limiter

        return connect
