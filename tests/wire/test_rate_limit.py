"""Waits for the rate limit: never shorter than the hint, hardly longer, and bounded."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest

from closebulk_async import (
    AmbiguousStartError,
    CloseBulk,
    RateLimitedError,
    RetryPolicy,
)
from closebulk_async.simulator import Fault, Simulator, faults
from tests.peers import NotingClock, connect, posts
from tests.wire.operations import ALL, METHODS, Operation, list_, requests_of, start, waits

HINTS: dict[str, tuple[Fault, float]] = {
    "semicolons": (faults.too_many_requests(limit=(160, 0, 7.25)), 7.25),
    "commas": (faults.too_many_requests(limit=(100, 0, 7.25), spelling="commas"), 7.25),
    "any order": (faults.too_many_requests(headers=(("RATELIMIT", "reset=3.5;x=1 , Remaining=0, limit=5"),)), 3.5),
    "seconds": (faults.too_many_requests(retry_after=4), 4),
    "decimals": (faults.too_many_requests(retry_after="2.5"), 2.5),
    "RateLimit goes first": (faults.too_many_requests(retry_after=12, limit=(160, 0, 3)), 3),
    "a stricter limit that is longer": (faults.too_many_requests(retry_after=12, limit=(160, 159, 3)), 12),
    "a stricter limit that is shorter": (faults.too_many_requests(retry_after=5, limit=(160, 159, 8)), 8),
    "ratelimit-reset": (faults.too_many_requests(headers=(("ratelimit-reset", "6"),)), 6),
    "x-rate-limit-reset": (faults.too_many_requests(headers=(("X-Rate-Limit-Reset", "6.5"),)), 6.5),
    "x-ratelimit-reset": (faults.too_many_requests(headers=(("x-ratelimit-reset", "5"),)), 5),
    "old body": (faults.too_many_requests(payload={"error": {"message": "x", "rate_reset": 5.5}}), 5.5),
    "older body": (faults.too_many_requests(payload={"rate_reset": 4.5}), 4.5),
    "malformed, then a good one": (faults.too_many_requests(headers=(("ratelimit", "??"), ("retry-after", "3"))), 3),
}


@pytest.mark.parametrize(("fault", "seconds"), HINTS.values(), ids=list(HINTS))
@pytest.mark.parametrize("operation", ALL)
async def test_a_429_is_waited_for_and_sent_again(
    sim: Simulator, clock: NotingClock, operation: Operation, fault: Fault, seconds: float
) -> None:
    """The wait is never shorter than the hint and at most a second longer; it was not processed, whatever it was."""
    before = len(sim.jobs)
    sim.fail_next(fault, method=METHODS[operation])
    async with connect(sim, clock) as close:
        await operation(close)
    first, second = requests_of(sim, operation)
    assert seconds <= (second.at - first.at).total_seconds() <= seconds + 1
    assert waits(clock) == [pytest.approx(clock.monotonic())]
    assert len(sim.jobs) - before == (operation is start)


async def test_a_429_may_name_a_date(close: CloseBulk, sim: Simulator, clock: NotingClock) -> None:
    """`Retry-After` as an HTTP date is measured against the server's own clock."""
    sim.fail_next(
        faults.too_many_requests(retry_after=format_datetime(clock.now() + timedelta(seconds=9), usegmt=True))
    )
    await list_(close)
    assert 9 <= clock.slept[0] <= 10


@pytest.mark.parametrize("payload", [None, {"error": "slow down"}, ["?"], "x"])
@pytest.mark.parametrize("operation", ALL)
async def test_a_429_without_a_hint_is_backed_off(
    close: CloseBulk, sim: Simulator, clock: NotingClock, operation: Operation, payload: object
) -> None:
    """With JSON or without: its group is stopped for a second, and at most another, where the server names none."""
    before = len(sim.jobs)
    sim.fail_next(faults.too_many_requests(payload=payload), method=METHODS[operation])
    await operation(close)
    assert waits(clock) == [pytest.approx(clock.monotonic())]
    assert 1 <= clock.monotonic() <= 2
    assert len(sim.jobs) - before == (operation is start)


async def test_jitter_spreads(close: CloseBulk, sim: Simulator) -> None:
    """Of forty waits for one hint hardly two are alike, none is shorter than it and none a second longer."""
    for _ in range(40):
        sim.fail_next(faults.too_many_requests(retry_after=2))
        await list_(close)
    instants = [request.at for request in sim.requests]
    gaps = [(again - at).total_seconds() for at, again in zip(instants[::2], instants[1::2], strict=True)]
    assert all(2 <= seconds <= 3 for seconds in gaps)
    assert len(set(gaps)) > 35  # microseconds of a second, by chance


async def test_429s_do_not_count_as_failed_attempts(sim: Simulator, clock: NotingClock) -> None:
    """The server works, and said when: ten of them are no reason to give up after two attempts."""
    sim.fail_next(faults.too_many_requests(retry_after=1), times=10)
    sim.fail_next(faults.server_error())
    async with connect(sim, clock, retry=RetryPolicy(attempts=2)) as close:
        await list_(close)
    assert len(sim.requests) == 12


@pytest.mark.parametrize("operation", ALL)
async def test_a_wait_beyond_the_policy_is_left_to_the_caller(
    close: CloseBulk, sim: Simulator, clock: NotingClock, operation: Operation
) -> None:
    """RateLimitedError carries the hint; nothing was waited for, nothing started, and nothing is in doubt."""
    before = len(sim.jobs)
    sim.fail_next(faults.too_many_requests(retry_after=121, limit=(160, 0, 121.5)), method=METHODS[operation])
    with pytest.raises(RateLimitedError, match="429 Too Many Requests") as caught:
        await operation(close)
    assert caught.value.retry_after == timedelta(seconds=121.5)
    assert (len(requests_of(sim, operation)), len(sim.jobs) - before, clock.monotonic()) == (1, 0, 0)


async def test_the_waits_of_one_request_are_bounded_together(
    close: CloseBulk, sim: Simulator, clock: NotingClock
) -> None:
    """Two waits of 50 seconds fit into the two minutes of the policy, a third does not."""
    sim.fail_next(faults.too_many_requests(retry_after=50), times=None, method="POST")
    with pytest.raises(RateLimitedError):
        await start(close)
    assert posts(sim) == 3
    assert 100 <= clock.monotonic() <= 102


async def test_a_server_that_says_when_it_is_back_is_believed(
    close: CloseBulk, sim: Simulator, clock: NotingClock
) -> None:
    """A 503 may name its `Retry-After` as well."""
    sim.fail_next(faults.reply(503, headers=(("retry-after", "30"),)))
    await list_(close)
    assert 30 <= clock.slept[0] <= 31


async def test_a_create_after_a_429_is_judged_afresh(close: CloseBulk, sim: Simulator) -> None:
    """Rejected twice and then cut: three POSTs, the last of which is in doubt and is the last."""
    sim.fail_next(faults.too_many_requests(retry_after=1), times=2, method="POST")
    sim.fail_next(faults.cut_after(), method="POST")
    with pytest.raises(AmbiguousStartError):
        await start(close)
    assert (posts(sim), len(sim.jobs)) == (3, 2)


async def test_429s_without_a_hint_end_also_where_no_repeat_waits(sim: Simulator, clock: NotingClock) -> None:
    """They count as attempts: a policy that never waits does not ask for ever. The stops of their group grow."""
    sim.fail_next(faults.too_many_requests(), times=None)
    async with connect(sim, clock, retry=RetryPolicy(first=0)) as close:
        with pytest.raises(RateLimitedError):
            await list_(close)
    assert len(sim.requests) == RetryPolicy().attempts
    assert 1 + 2 + 4 + 8 <= clock.monotonic() <= 1 + 2 + 4 + 8 + 4


async def test_a_limit_that_was_not_hit_does_not_slow_other_failures(
    close: CloseBulk, sim: Simulator, clock: NotingClock
) -> None:
    """A 502 shows the window as any answer does; only `Retry-After` asks to wait for it."""
    sim.fail_next(faults.reply(502, headers=(("ratelimit", "limit=160, remaining=159, reset=500"),)))
    sim.fail_next(
        faults.reply(503, headers=(("ratelimit", "limit=160, remaining=159, reset=500"), ("retry-after", "9")))
    )
    await list_(close)
    assert len(sim.requests) == 3
    assert 9 <= clock.monotonic() <= 9 + 1 + RetryPolicy().first


@pytest.mark.parametrize(
    "header",
    [("x-rate-limit-reset", "1764000000000000"), ("retry-after", "1e300"), ("x-rate-limit-reset", "1764000000000")],
)
async def test_a_hint_beyond_reason_is_none(
    close: CloseBulk, sim: Simulator, clock: NotingClock, header: tuple[str, str]
) -> None:
    """An instant in milliseconds is not waited for."""
    sim.fail_next(faults.too_many_requests(headers=(header,)))
    await list_(close)
    assert len(sim.requests) == 2
    assert clock.monotonic() <= 2
