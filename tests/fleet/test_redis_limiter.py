"""The budget of a key in Redis: what several limiters see of each other, and what they say where it is away."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrate_limiter import BucketAsyncWrapper, InMemoryBucket
from redis.asyncio import Redis

from closebulk_async.errors import InvalidRequestError, RateLimitedError, TransportError
from closebulk_async.integrations.redis import RedisLimiter, hash_key, to_rates
from closebulk_async.limiter import Priority, Sight
from closebulk_async.ratelimit import RateLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.fleet.redis_server import RedisServer

GROUP, OTHER = "GET /bulk_action/email/", "GET /bulk_action/edit/"
KEY = "api_1secret.2secret"
KEY_HASH = hash_key(KEY, base_url="https://api.close.com/api/v1")


def shows(remaining: float, *, limit: float = 16, reset: float = 8.0) -> Sight:
    """An answer with these three numbers."""
    return Sight(window=RateLimit(limit=limit, remaining=remaining, reset=reset))


@asynccontextmanager
async def connect(server: RedisServer, *, key_hash: str = KEY_HASH) -> AsyncIterator[RedisLimiter]:
    """One more process."""
    async with Redis.from_url(server.url) as redis, RedisLimiter(redis, key_hash=key_hash) as limiter:
        yield limiter


@pytest.fixture
async def limiter(redis_server: RedisServer) -> AsyncIterator[RedisLimiter]:
    """One of a process."""
    async with connect(redis_server) as limiter:
        yield limiter


async def enter(
    limiter: RedisLimiter, *, priority: Priority = Priority.CALL, group: str = GROUP, most: float = 30.0
) -> None:
    """Get a place."""
    await limiter.acquire(group, priority=priority, most=most)


async def may_go(limiter: RedisLimiter, *, priority: Priority = Priority.CALL, group: str = GROUP) -> bool:
    """Whether there is a place at once; it is taken."""
    try:
        await enter(limiter, priority=priority, group=group, most=0.05)
    except RateLimitedError:
        return False
    return True


async def show(limiter: RedisLimiter, sight: Sight) -> None:
    """Let a request show this, and see it told to others."""
    await enter(limiter)
    limiter.learn(GROUP, sight)
    await asyncio.sleep(0.2)


@pytest.mark.parametrize("unshown", [0, -1, math.nan, math.inf])
async def test_what_may_go_unshown_is_a_number_above_none(unshown: float) -> None:
    """It is said where it is set, and not by the first request."""
    async with Redis() as redis:
        with pytest.raises(InvalidRequestError, match="unshown"):
            RedisLimiter(redis, key_hash=KEY_HASH, unshown=unshown)


async def test_where_nothing_shows_a_few_go(limiter: RedisLimiter, redis_server: RedisServer) -> None:
    """Five a second of all processes together."""
    async with connect(redis_server) as other:
        went = [await may_go(one) for one in (limiter, other, limiter, other, limiter, other, limiter)]
        assert went == [True] * 5 + [False] * 2
        assert await may_go(other, group=OTHER)


async def test_a_limit_that_shows_is_everybodys(limiter: RedisLimiter, redis_server: RedisServer) -> None:
    """A quarter of the window at once, and who waits for more is told how long that would be."""
    await show(limiter, shows(159, limit=160, reset=80.0))  # so long that no place comes free meanwhile
    async with connect(redis_server) as other:
        went = [await may_go(one) for _ in range(18) for one in (limiter, other)]
        assert all(went)  # with the one before: 37 of the 147 that are left of 160
        with pytest.raises(RateLimitedError) as caught:
            await enter(other, most=0.5)
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after.total_seconds() <= 20


@pytest.mark.parametrize("priority", [Priority.CALL, Priority.POLL])
async def test_some_places_are_left_to_starts(limiter: RedisLimiter, priority: Priority) -> None:
    """By calls too, which would otherwise keep polls out for ever."""
    await show(limiter, shows(159, limit=160, reset=80.0))
    went = 1
    while await may_go(limiter, priority=priority):
        went += 1
    assert went == math.ceil((155 - 8) / 4)
    for _ in range(2):
        assert await may_go(limiter, priority=Priority.START)
    assert not await may_go(limiter, priority=Priority.START)


@pytest.mark.parametrize("sight", [Sight(stopped_for=60.0), shows(0, reset=60.0)], ids=["429", "used up by others"])
async def test_a_stop_stops_all(limiter: RedisLimiter, redis_server: RedisServer, sight: Sight) -> None:
    """Of that group and key."""
    await show(limiter, sight)
    async with connect(redis_server) as other:
        for one in (limiter, other):
            with pytest.raises(RateLimitedError) as caught:
                await enter(one, most=30)
            assert caught.value.retry_after is not None
            assert 58 < caught.value.retry_after.total_seconds() < 61
        assert await may_go(other, group=OTHER)
    async with connect(redis_server, key_hash=hash_key("api_2", base_url="https://api.close.com")) as stranger:
        assert await may_go(stranger)


async def test_a_longer_stop_counts_and_a_shorter_one_does_not(
    limiter: RedisLimiter, redis_server: RedisServer
) -> None:
    """Whoever learns it later."""
    for _ in range(2):
        await enter(limiter)
    limiter.learn(GROUP, Sight(stopped_for=60.0))
    limiter.learn(GROUP, Sight(stopped_for=5.0))
    await asyncio.sleep(0.1)
    async with connect(redis_server) as other:
        with pytest.raises(RateLimitedError):
            await enter(other, most=30)


async def test_who_is_first_in_rank_goes_first(limiter: RedisLimiter) -> None:
    """A start before a call, and that before a poll."""
    order = ""

    async def go(name: str, priority: Priority) -> None:
        nonlocal order
        await enter(limiter, priority=priority)
        order += name

    await enter(limiter)
    limiter.learn(GROUP, Sight(stopped_for=0.2))
    ranks = {"p": Priority.POLL, "c": Priority.CALL, "s": Priority.START}
    await asyncio.gather(*(go(name, priority) for name, priority in ranks.items()))
    assert order == "scp"


async def test_the_key_is_nowhere(limiter: RedisLimiter, redis_server: RedisServer) -> None:
    """Of the key only its hash is written, and nothing stays for ever."""
    await show(limiter, shows(15))
    await show(limiter, Sight(stopped_for=60.0))
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        names = [name async for name in redis.scan_iter()]
        assert len(names) == 3
        assert all(KEY_HASH in name and "secret" not in name for name in names)
        assert all([0 < await redis.ttl(name) <= 600 for name in names])
    with pytest.raises(InvalidRequestError, match="never the key"):
        RedisLimiter(Redis.from_url(redis_server.url), key_hash=KEY)


async def test_it_survives_a_restart(limiter: RedisLimiter, redis_server: RedisServer) -> None:
    """The script of pyrate-limiter is loaded again."""
    await enter(limiter)
    redis_server.stop()
    with pytest.raises(TransportError, match="out of reach") as caught:
        await enter(limiter)
    assert not caught.value.sent
    redis_server.start()
    await enter(limiter)


async def test_logs_do_not_grow(limiter: RedisLimiter, redis_server: RedisServer) -> None:
    """What is older than the window is removed now and then."""
    await show(limiter, shows(10**6, limit=10**6))
    async with Redis.from_url(redis_server.url) as redis:
        (log,) = [name async for name in redis.scan_iter("*:log")]
        await redis.zadd(log, {f"old {number}": number for number in range(100)})
        for _ in range(60):
            await enter(limiter)
        assert await redis.zcard(log) <= 61


LIMITS = st.dictionaries(
    st.integers(min_value=1, max_value=10**6).map(float), st.floats(min_value=1, max_value=3600), max_size=4
)


@given(limits=LIMITS, priority=st.sampled_from(Priority))
def test_rates_are_such_as_pyrate_limiter_takes(limits: Mapping[float, float], priority: Priority) -> None:
    """In their order, and none allows more than any of the limits."""
    rates = to_rates(limits, priority, unshown=5)
    BucketAsyncWrapper(InMemoryBucket(rates))
    for limit, length in limits.items():
        assert min(rate.limit / rate.interval for rate in rates) <= limit / length / 1000 + 1e-9


@pytest.mark.parametrize(("unshown", "number", "interval"), [(5, 5, 1000), (0.5, 1, 2000), (2.7, 2, 1000)])
def test_a_pace_where_nothing_shows(unshown: float, number: int, interval: int) -> None:
    """In whole requests."""
    (rate,) = to_rates({}, Priority.CALL, unshown=unshown)
    assert (rate.limit, rate.interval) == (number, interval)
