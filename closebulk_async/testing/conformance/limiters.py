"""What every limiter promises: who is stopped waits, who waits goes in the end, and who goes first."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

import pytest
import pytest_asyncio

from closebulk_async.clock import SystemClock
from closebulk_async.errors import RateLimitedError
from closebulk_async.limiter import Priority, Sight
from closebulk_async.ratelimit import RateLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from closebulk_async.limiter import Limiter

GROUP, OTHER = "GET /bulk_action/email/", "POST /bulk_action/email/"
SHORT, LONG = 0.3, 600.0
"""Seconds of two stops: one that a test waits for, and one that nobody does."""
SLACK = 0.02
"""Seconds by which two clocks of one machine may differ."""


class LimiterFactory(Protocol):
    """Opens a limiter for a block, each time on the same counts."""

    def __call__(self) -> AbstractAsyncContextManager[Limiter]:
        """A limiter, which is closed at the end of the block, if it can be."""


class LimiterConformance:
    """What every limiter promises.

    Subclass it, and give it the fixture `limiter_factory`::

        import contextlib
        import functools

        import pytest

        from closebulk_async import MemoryLimiter, SystemClock
        from closebulk_async.testing.conformance import LimiterConformance


        class TestMemoryLimiter(LimiterConformance):
            @pytest.fixture
            def limiter_factory(self):
                return functools.partial(contextlib.nullcontext, MemoryLimiter(SystemClock()))

    A limiter that is opened and closed needs no `nullcontext`. Time is real: a limiter may live by the clock of its
    store. What is counted must be nothing at first.
    """

    pytestmark: pytest.MarkDecorator = pytest.mark.asyncio

    @pytest.fixture
    def limiter_factory(self) -> LimiterFactory:
        """Opens a limiter whose counts are this test's own."""
        raise NotImplementedError("give this fixture in the class of your tests")

    @pytest_asyncio.fixture
    async def limiter(self, limiter_factory: LimiterFactory) -> AsyncIterator[Limiter]:
        """The limiter under test."""
        async with limiter_factory() as limiter:
            yield limiter

    async def test_where_nothing_is_known_requests_go(self, limiter: Limiter) -> None:
        """One after the other, each when the one before was answered."""
        for _ in range(5):
            await _enter(limiter)
            limiter.learn(GROUP, Sight())

    async def test_who_is_stopped_waits(self, limiter: Limiter) -> None:
        """As long as was said, and then goes; other groups go meanwhile."""
        clock = SystemClock()
        await _enter(limiter)
        began = clock.monotonic()
        limiter.learn(GROUP, Sight(stopped_for=SHORT))
        waiting = [asyncio.ensure_future(_enter(limiter, priority=priority)) for priority in Priority]
        await _enter(limiter, group=OTHER)
        limiter.learn(OTHER, Sight())
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert clock.monotonic() - began > SHORT - SLACK
        await _serve(limiter, waiting, done)

    async def test_a_longer_stop_counts_and_a_shorter_one_does_not(self, limiter: Limiter) -> None:
        """Whatever came last."""
        clock = SystemClock()
        for _ in range(3):
            await _enter(limiter)
        began = clock.monotonic()
        for seconds in (SHORT / 3, SHORT, SHORT / 3):
            limiter.learn(GROUP, Sight(stopped_for=seconds))
        await _enter(limiter)
        assert clock.monotonic() - began > SHORT - SLACK

    async def test_who_cannot_wait_is_refused(self, limiter: Limiter) -> None:
        """With RateLimitedError, that nothing was sent, and how long it would have been; who can wait does."""
        await _enter(limiter)
        limiter.learn(GROUP, Sight(stopped_for=LONG))
        for priority in Priority:
            with pytest.raises(RateLimitedError) as caught:
                await _enter(limiter, priority=priority, most=1)
            assert caught.value.status is None
            assert caught.value.retry_after is not None
            assert 1 < caught.value.retry_after.total_seconds() <= LONG
        await _cancel(asyncio.ensure_future(_enter(limiter)))

    async def test_all_who_wait_go_in_the_end(self, limiter: Limiter) -> None:
        """Many at once, of all ranks, each answered when it has gone."""
        await _enter(limiter)
        limiter.learn(GROUP, Sight(stopped_for=SHORT / 3))
        waiting = [asyncio.ensure_future(_enter(limiter, priority=Priority(n % 3))) for n in range(30)]
        await _serve(limiter, waiting, set())

    async def test_starts_go_before_calls_and_these_before_polls(self, limiter: Limiter) -> None:
        """In whatever order they came."""
        order = []

        async def enter(priority: Priority) -> None:
            await _enter(limiter, priority=priority)
            order.append(priority)
            await asyncio.sleep(SLACK)  # as an answer takes
            limiter.learn(GROUP, Sight())

        await _enter(limiter)
        limiter.learn(GROUP, Sight(stopped_for=SHORT))
        waiting = []
        for priority in (Priority.POLL, Priority.CALL, Priority.START) * 3:
            waiting.append(asyncio.ensure_future(enter(priority)))
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        assert order == sorted(order)

    async def test_who_leaves_the_line_has_no_place(self, limiter: Limiter) -> None:
        """Those behind go as if it had not been there."""
        await _enter(limiter)
        limiter.learn(GROUP, Sight(stopped_for=SHORT))
        waiting = [asyncio.ensure_future(_enter(limiter)) for _ in range(6)]
        await asyncio.sleep(0)
        for task in waiting[::2]:
            await _cancel(task)
        await _serve(limiter, waiting[1::2], set())

    async def test_a_place_that_was_not_used_is_free_again(self, limiter: Limiter) -> None:
        """And so is one whose request had no answer: nobody waits for ever for what is lost."""
        for sight in (Sight(was_sent=False), None):
            for _ in range(40):
                await _enter(limiter)
                limiter.learn(GROUP, sight)

    async def test_no_more_go_than_an_answer_has_shown(self, limiter: Limiter, limiter_factory: LimiterFactory) -> None:
        """Before the window ends, over all limiters on these counts."""
        clock, most = SystemClock(), 6
        await _enter(limiter)
        began = clock.monotonic()
        limiter.learn(GROUP, Sight(window=RateLimit(limit=20, remaining=most, reset=1.0)))
        gone = []

        async def enter(through: Limiter) -> None:
            await _enter(through)
            gone.append(clock.monotonic() - began)

        await enter(limiter)  # what was shown is on its way with it, at the latest
        async with limiter_factory() as other:
            waiting = [asyncio.ensure_future(enter(each)) for each in (limiter, other) for _ in range(20)]
            await asyncio.sleep(max(0.0, 1.0 - SLACK - (clock.monotonic() - began)))
            for task in waiting:
                await _cancel(task)
        assert sum(moment < 1.0 - SLACK for moment in gone) <= most

    async def test_all_limiters_on_these_counts_are_stopped(
        self, limiter: Limiter, limiter_factory: LimiterFactory
    ) -> None:
        """Soon after one of them was, by its next request at the latest."""
        async with limiter_factory() as other:
            await _enter(limiter)
            limiter.learn(GROUP, Sight(stopped_for=LONG))
            with pytest.raises(RateLimitedError):
                await _enter(limiter, most=0)
            while await _goes(other):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(SLACK)


async def _enter(
    limiter: Limiter, *, priority: Priority = Priority.CALL, most: float = math.inf, group: str = GROUP
) -> None:
    """Get a place, at once or later."""
    turn = limiter.acquire(group, priority=priority, most=most)
    if turn is not None:
        await turn


async def _goes(limiter: Limiter) -> bool:
    """Whether there is a place for a moment."""
    try:
        await _enter(limiter, most=0)
    except RateLimitedError:
        return False
    limiter.learn(GROUP, Sight(was_sent=False))
    return True


async def _serve(
    limiter: Limiter, waiting: Iterable[asyncio.Future[None]], done: Iterable[asyncio.Future[None]]
) -> None:
    """Answer whoever has gone, until all have."""
    done = set(done)
    pending = set(waiting) - done
    while True:
        for task in done:
            task.result()
            limiter.learn(GROUP, Sight())
        if not pending:
            return
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


async def _cancel(task: asyncio.Future[None]) -> None:
    """Let a task leave the line, if it is in it."""
    task.cancel()
    await asyncio.wait({task})
