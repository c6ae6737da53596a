"""Who may send when: order, cancellation, refusal, one timer. The numbers behind it are those of the budget."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from closebulk_async.clock import SystemClock
from closebulk_async.errors import RateLimitedError
from closebulk_async.limiter import MemoryLimiter, Priority, Sight
from closebulk_async.ratelimit import RateLimit
from closebulk_async.testing import FakeClock
from closebulk_async.testing.conformance import LimiterConformance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from closebulk_async.testing.conformance.limiters import LimiterFactory

GROUP, OTHER = "GET /bulk_action/email/", "POST /bulk_action/email/"
STOPPED = Sight(stopped_for=10.0)


def shows(remaining: float, *, reset: float = 8.0, limit: float = 160) -> Sight:
    """An answer with these three numbers."""
    return Sight(window=RateLimit(limit=limit, remaining=remaining, reset=reset))


@pytest.fixture
def limiter(clock: FakeClock) -> MemoryLimiter:
    """One that knows nothing."""
    return MemoryLimiter(clock)


async def enter(
    limiter: MemoryLimiter, *, priority: Priority = Priority.CALL, most: float = math.inf, group: str = GROUP
) -> None:
    """Get a place, at once or later."""
    turn = limiter.acquire(group, priority=priority, most=most)
    if turn is not None:
        await turn


def goes_at_once(limiter: MemoryLimiter, *, priority: Priority = Priority.CALL, group: str = GROUP) -> bool:
    """Whether a place is free; it is taken."""
    turn = limiter.acquire(group, priority=priority, most=math.inf)
    if turn is None:
        return True
    turn.close()  # type: ignore[attr-defined]  # a coroutine, which nobody awaits
    return False


async def fill(limiter: MemoryLimiter, *, group: str = GROUP) -> None:
    """Take all places that an unknown limit has."""
    while goes_at_once(limiter, group=group):
        pass


def stop(limiter: MemoryLimiter, seconds: float, *, group: str = GROUP) -> None:
    """Let a 429 stop the group."""
    assert goes_at_once(limiter, group=group)
    limiter.learn(group, Sight(stopped_for=seconds))


class Queue:
    """Tasks that wait for a place, and the order in which they get one."""

    def __init__(self, limiter: MemoryLimiter, clock: FakeClock) -> None:
        self.limiter = limiter
        self.clock = clock
        self.gone: list[tuple[float, str]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def add(self, names: Iterable[str], priority: Priority = Priority.CALL, *, most: float = math.inf) -> None:
        """Let so many more wait, in this order."""
        for name in names:
            self.tasks[name] = asyncio.ensure_future(self._run(name, priority, most))
        await asyncio.sleep(0)

    async def _run(self, name: str, priority: Priority, most: float) -> None:
        await enter(self.limiter, priority=priority, most=most)
        self.gone.append((self.clock.monotonic(), name))

    async def end(self) -> None:
        """Until nobody waits any more."""
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    @property
    def order(self) -> str:
        """The names of those who went."""
        return "".join(name for _, name in self.gone)


async def nothing_is_left(clock: FakeClock) -> bool:
    """Neither a timer nor a task."""
    await clock.settle()
    return not clock.sleepers and len(asyncio.all_tasks()) == 1


class TestMemory(LimiterConformance):
    """The limiter of one process keeps what all of them promise."""

    @pytest.fixture
    def limiter_factory(self) -> LimiterFactory:
        """One for the test, in real time."""
        return partial(nullcontext, MemoryLimiter(SystemClock()))


async def test_groups_do_not_know_each_other(limiter: MemoryLimiter) -> None:
    """One is full, another stopped, the third goes."""
    await fill(limiter)
    stop(limiter, 10, group=OTHER)
    assert not goes_at_once(limiter)
    assert not goes_at_once(limiter, group=OTHER)
    assert goes_at_once(limiter, group="GET /me/")


async def test_nobody_of_a_rank_is_overtaken(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """A start goes before calls and these before polls; within a rank who came first goes first."""
    queue = Queue(limiter, clock)
    stop(limiter, 5)
    await queue.add("uvw", Priority.POLL)
    await queue.add("mno", Priority.CALL)
    await queue.add("abc", Priority.START)
    await clock.sleep(5)
    for _ in range(9):
        await asyncio.sleep(0)
        limiter.learn(GROUP, Sight())
    await queue.end()
    assert queue.order == "abcmnouvw"


async def test_who_comes_later_does_not_slip_in(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """A place that becomes free is that of whoever waits, not of whoever asks in that moment."""
    queue = Queue(limiter, clock)
    await fill(limiter)
    await queue.add("m")
    limiter.learn(GROUP, None)
    assert not goes_at_once(limiter)
    await queue.end()
    assert queue.order == "m"


class LateClock(FakeClock):
    """Its time may have passed before anybody was woken, as on a loop that is busy."""

    passed = 0.0

    def monotonic(self) -> float:
        """What has passed unnoticed counts."""
        return super().monotonic() + self.passed


async def test_who_comes_while_the_next_is_not_woken_yet_waits_too() -> None:
    """The stop is over, and whoever waited for its end goes first all the same."""
    clock = LateClock()
    limiter = MemoryLimiter(clock)
    queue = Queue(limiter, clock)
    stop(limiter, 5)
    await queue.add("m")
    clock.passed = 6.0
    assert not goes_at_once(limiter)
    assert not goes_at_once(limiter, priority=Priority.POLL)
    assert goes_at_once(limiter, priority=Priority.START)
    await queue.end()
    assert queue.order == "m"


async def test_a_start_has_its_own_time(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """A poll waits for the reset in eight seconds; the start that comes then is due in less than one."""
    queue = Queue(limiter, clock)
    assert goes_at_once(limiter)
    limiter.learn(GROUP, shows(8))
    await queue.add("p", Priority.POLL)
    while goes_at_once(limiter, priority=Priority.START):
        pass
    await queue.add("s", Priority.START)
    await queue.end()
    instants = {name: at for at, name in queue.gone}
    assert 0 < instants["s"] < 1
    assert instants["p"] >= 8


async def test_a_start_does_not_wait_behind_polls(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """What the window keeps for it is free at once, although a hundred polls wait."""
    queue = Queue(limiter, clock)
    assert goes_at_once(limiter)
    limiter.learn(GROUP, shows(8))
    await queue.add(map(str, range(100)), Priority.POLL)
    assert queue.gone == []
    assert goes_at_once(limiter, priority=Priority.START)
    assert goes_at_once(limiter, priority=Priority.CALL)
    for task in queue.tasks.values():
        task.cancel()
    await queue.end()
    assert await nothing_is_left(clock)


async def test_places_come_one_by_one_after_a_reset(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """A hundred who waited for it go at the pace of the window, twenty a second."""
    queue = Queue(limiter, clock)
    assert goes_at_once(limiter)
    limiter.learn(GROUP, shows(0))
    await queue.add(map(str, range(100)))
    await queue.end()
    instants = [at for at, _ in queue.gone]
    assert instants[0] == 8.0
    assert all(19 <= sum(start <= at < start + 1 for at in instants) <= 21 for start in range(8, 12))
    assert [name for _, name in queue.gone] == list(map(str, range(100)))
    assert await nothing_is_left(clock)


async def test_one_timer_serves_all(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """Five groups with fifty waiters each, half of them with bounds of their own."""
    groups = [f"GET /{number}/" for number in range(5)]
    for number, group in enumerate(groups):
        stop(limiter, 10 + number, group=group)
    waiting = [
        asyncio.ensure_future(enter(limiter, group=group, most=most))
        for group in groups
        for most in (20.0, math.inf)
        for _ in range(25)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert clock.sleepers == 1
    assert len(asyncio.all_tasks()) == 1 + len(waiting) + 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await nothing_is_left(clock)


async def test_a_stop_that_is_too_long_is_refused_at_once(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """The error says that nothing was sent, of which group, and for how long."""
    stop(limiter, 300)
    with pytest.raises(RateLimitedError, match=r"GET /bulk_action/email/.* for 300\.0 s") as caught:
        await enter(limiter, most=120)
    assert (caught.value.status, caught.value.retry_after) == (None, timedelta(seconds=300))
    assert clock.monotonic() == 0
    assert await nothing_is_left(clock)


async def test_who_waits_is_refused_as_soon_as_it_is_known(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """A 429 that stops the group for longer than they may wait ends their wait; the others go on waiting."""
    queue = Queue(limiter, clock)
    await fill(limiter)
    await queue.add("ab", most=120)
    await queue.add("m")
    await clock.sleep(1)
    limiter.learn(GROUP, Sight(stopped_for=300))
    await asyncio.wait([queue.tasks["a"], queue.tasks["b"]])
    assert clock.monotonic() == 1
    assert isinstance(queue.tasks["a"].exception(), RateLimitedError)
    for _ in range(3):
        limiter.learn(GROUP, None)
    await queue.end()
    assert queue.gone == [(301, "m")]


async def test_who_waits_for_answers_waits_no_longer_than_it_may(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """Where no answer comes, nobody knows how long it takes; at the end of its bound it is refused."""
    queue = Queue(limiter, clock)
    await fill(limiter)
    await queue.add("a", most=7)
    await queue.end()
    assert clock.monotonic() == 7
    error = queue.tasks["a"].exception()
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == timedelta(0)
    assert await nothing_is_left(clock)


async def test_who_leaves_the_line_leaves_no_gap(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """The first one goes away; the second gets the place that becomes free."""
    queue = Queue(limiter, clock)
    await fill(limiter)
    await queue.add("abc")
    queue.tasks["a"].cancel()
    await asyncio.sleep(0)
    limiter.learn(GROUP, None)
    limiter.learn(GROUP, None)
    await queue.end()
    assert queue.order == "bc"


async def test_who_leaves_with_a_place_gives_it_back(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """It is cancelled in the moment in which its turn comes: the next one goes."""
    queue = Queue(limiter, clock)
    await fill(limiter)
    await queue.add("ab")
    limiter.learn(GROUP, None)
    queue.tasks["a"].cancel()
    await queue.end()
    assert queue.order == "b"


async def test_a_place_that_nobody_wants_any_more_is_free(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """The only one who waited was cancelled with its turn: whoever comes has the place at once."""
    queue = Queue(limiter, clock)
    await fill(limiter)
    await queue.add("a")
    limiter.learn(GROUP, None)
    queue.tasks["a"].cancel()
    await queue.end()
    assert goes_at_once(limiter)
    assert not goes_at_once(limiter)


async def test_who_was_refused_and_is_cancelled_had_no_place(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """Both in one moment: no place is given back that was never had."""
    queue = Queue(limiter, clock)
    await fill(limiter)
    await queue.add("a", most=5)
    limiter.learn(GROUP, STOPPED)
    queue.tasks["a"].cancel()
    await queue.end()
    for _ in range(3):
        limiter.learn(GROUP, None)
    await clock.sleep(10)
    assert goes_at_once(limiter)  # a 429 has left two of four places
    assert goes_at_once(limiter)
    assert not goes_at_once(limiter)


@pytest.mark.parametrize("seed", range(20))
async def test_a_storm_of_cancellations_leaves_nobody_behind(clock: FakeClock, seed: int) -> None:
    """Of two hundred who come, leave, fail and are stopped at random, each ends, and no timer is left."""
    rng = random.Random(seed)
    limiter = MemoryLimiter(clock)

    async def work() -> None:
        await clock.sleep(rng.random() * 20)
        await enter(limiter, priority=rng.choice(list(Priority)), most=rng.choice([math.inf, 5.0, 60.0]))
        sight = None
        try:
            await clock.sleep(rng.random())
            sight = rng.choice([Sight(), shows(rng.randrange(20), reset=rng.random() * 8), Sight(stopped_for=2.0)])
        finally:
            limiter.learn(GROUP, sight)

    tasks = [asyncio.ensure_future(work()) for _ in range(200)]
    for _ in range(100):
        await clock.sleep(rng.random() * 0.4)
        rng.choice(tasks).cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() or isinstance(task.exception(), RateLimitedError | None) for task in tasks)
    assert await nothing_is_left(clock)
    await clock.sleep(100)
    assert goes_at_once(limiter)
    limiter.learn(GROUP, None)


async def test_ten_thousand_may_wait(limiter: MemoryLimiter, clock: FakeClock) -> None:
    """They go in their order, in ten thousand times the time that one takes, and half of them may leave before."""
    queue = Queue(limiter, clock)
    assert goes_at_once(limiter)
    limiter.learn(GROUP, shows(0, limit=8000))
    names = [f"{number} " for number in range(10_000)]
    await queue.add(names, Priority.POLL)
    for name in names[::2]:
        queue.tasks[name].cancel()
    await queue.end()
    assert queue.order == "".join(names[1::2])
    assert await nothing_is_left(clock)
