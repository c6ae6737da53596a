"""Limiters of several processes with one store: together they are as one, in what they use and in what they keep to."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
import pytest

from closebulk_async import BulkEmail, CloseBulk, JobRef
from closebulk_async.errors import RateLimitedError, TransportError
from closebulk_async.far_limiter import LONGEST_PAUSE
from closebulk_async.limiter import Limiter, Priority, Sight
from closebulk_async.models import Kind
from closebulk_async.policy import RetryPolicy
from closebulk_async.ratelimit import RateLimit
from closebulk_async.simulator import Limits, Plan, Simulator
from closebulk_async.testing import FakeClock
from tests.shelves import Shelf
from tests.stage import create

if TYPE_CHECKING:
    from collections.abc import Iterable

    from closebulk_async.shared_limiter import Record, SharedLimiter

GROUP = "GET /bulk_action/email/"
POSTS = "POST /bulk_action/email/"


@pytest.fixture
def shelf(clock: FakeClock) -> Shelf:
    """A store that answers at once."""
    return Shelf(clock)


def shows(remaining: float, *, reset: float = 8.0, limit: float = 160) -> Sight:
    """An answer with these three numbers."""
    return Sight(window=RateLimit(limit=limit, remaining=remaining, reset=reset))


async def enter(
    limiter: SharedLimiter, *, priority: Priority = Priority.CALL, most: float = math.inf, group: str = GROUP
) -> None:
    """Get a place."""
    await limiter.acquire(group, priority=priority, most=most)


async def ask(limiter: SharedLimiter, sight: Sight | None) -> None:
    """A request that shows this at once."""
    await enter(limiter)
    limiter.learn(GROUP, sight)


async def written(clock: FakeClock) -> None:
    """Until what answers have shown is written down."""
    await clock.sleep(1)


def status(sim: Simulator, code: int) -> int:
    """How many answers had it."""
    return sum(request.status == code for request in sim.requests)


async def read_all(sim: Simulator, clock: FakeClock, limiters: Iterable[Limiter], number: int) -> None:
    """A client for each limiter, each of which reads one action so many times, as fast as it may."""
    ref: JobRef[BulkEmail] = JobRef(Kind.EMAIL, sim.add_job("email", {"status": "processing"}).id)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock, limiter=limiter))
            for limiter in limiters
        ]
        await asyncio.gather(*(client.get(ref) for client in clients for _ in range(number)))


@pytest.mark.parametrize("latency", [0.0, 0.003, 0.03])
async def test_five_processes_use_the_budget_and_are_never_refused(
    clock: FakeClock, sim: Simulator, latency: float
) -> None:
    """A thousand reads at 20 a second take 50 seconds, however slow the store; more than nine tenths are used."""
    sim.limits = Limits(rate=20, window=8)
    shelf = Shelf(clock, latency=latency)
    await read_all(sim, clock, [shelf.limiter() for _ in range(5)], 200)
    assert (len(sim.requests), status(sim, 429)) == (1000, 0)
    assert clock.monotonic() <= 1000 / 20 / 0.9


async def test_a_limit_of_the_organization_is_shared_too(clock: FakeClock, sim: Simulator) -> None:
    """The answers of some show the key's, those of others the organization's: all keep to the closer one."""
    sim.limits = Limits(rate=20, window=8, organization_factor=0.5)
    shelf = Shelf(clock, latency=0.002)
    await read_all(sim, clock, [shelf.limiter() for _ in range(3)], 100)
    assert status(sim, 429) == 0
    assert clock.monotonic() <= 300 / 10 / 0.85


async def test_starts_keep_to_their_limit_over_processes(clock: FakeClock, sim: Simulator) -> None:
    """Thirty each at two a second together: none is refused, and each is sent once."""
    sim.limits = Limits(rate=20, window=8, rates={POSTS: 2})
    shelf = Shelf(clock, latency=0.002)
    limiters = [shelf.limiter() for _ in range(2)]
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock, limiter=limiter))
            for limiter in limiters
        ]
        await asyncio.gather(
            *(
                create(client, Kind.EMAIL, template_id=f"tmpl_{number}_{which}")
                for which, client in enumerate(clients)
                for number in range(15)
            )
        )
    assert (len(sim.jobs), status(sim, 429)) == (30, 0)


async def test_without_a_limit_nothing_waits_for_long(clock: FakeClock, sim: Simulator) -> None:
    """Four requests are in flight at first, over all processes, and soon as many as there are connections."""
    shelf = Shelf(clock)
    await read_all(sim, clock, [shelf.limiter() for _ in range(3)], 200)
    assert status(sim, 429) == 0
    assert clock.monotonic() <= 3


async def test_a_stop_stops_all(clock: FakeClock, shelf: Shelf) -> None:
    """A 429 of one process holds up the others as well, as soon as it is written down."""
    first, second = shelf.limiter(), shelf.limiter()
    await ask(second, Sight())
    await ask(first, Sight(stopped_for=10))
    await clock.sleep(0.01)
    with pytest.raises(RateLimitedError) as caught:
        await enter(second, most=5)
    assert caught.value.status is None
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > timedelta(seconds=9)
    await enter(second)
    assert clock.monotonic() >= 10


async def test_a_stop_holds_what_was_reserved_before_it(clock: FakeClock, shelf: Shelf) -> None:
    """The process that got the 429 lets go nobody whose time had not come."""
    limiter = shelf.limiter()
    await ask(limiter, shows(1, limit=16))
    await enter(limiter)
    waiting = asyncio.ensure_future(enter(limiter))
    await clock.settle()
    limiter.learn(GROUP, Sight(stopped_for=20))
    await waiting
    assert clock.monotonic() >= 20


async def test_who_is_first_in_rank_goes_first(clock: FakeClock, shelf: Shelf) -> None:
    """Within a process a start goes before a call, and that before a poll; among equals who came first."""
    limiter, order = shelf.limiter(), ""

    async def go(name: str, priority: Priority) -> None:
        nonlocal order
        await enter(limiter, priority=priority)
        order += name
        limiter.learn(GROUP, Sight())

    await ask(limiter, Sight(stopped_for=5))
    tasks = [asyncio.ensure_future(go(name, Priority.POLL)) for name in "uvw"]
    tasks += [asyncio.ensure_future(go(name, Priority.CALL)) for name in "mno"]
    tasks += [asyncio.ensure_future(go(name, Priority.START)) for name in "abc"]
    await asyncio.gather(*tasks)
    assert order == "abcmnouvw"


async def test_a_place_that_is_reserved_before_its_time_is_that_of_who_is_next_then(
    clock: FakeClock, shelf: Shelf
) -> None:
    """A call that comes meanwhile takes it from a poll, which waits for the next one."""
    limiter, order = shelf.limiter(), ""
    await ask(limiter, shows(40))
    for _ in range(11):  # all that may go at once
        await ask(limiter, None)

    async def go(name: str, priority: Priority) -> None:
        nonlocal order
        await enter(limiter, priority=priority)
        order += name

    poll = asyncio.ensure_future(go("p", Priority.POLL))
    await clock.settle()
    assert not poll.done()
    call = asyncio.ensure_future(go("c", Priority.CALL))
    await asyncio.gather(poll, call)
    assert order == "cp"


async def test_who_leaves_gives_back_what_he_had(clock: FakeClock, shelf: Shelf) -> None:
    """Cancelled in line, in the moment of his turn, or with a place reserved: nothing is held afterwards."""
    limiter, other = shelf.limiter(), shelf.limiter()
    for turns in range(12):
        task = asyncio.ensure_future(enter(limiter))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            limiter.learn(GROUP, Sight(was_sent=False))
    await written(clock)
    async with asyncio.timeout(1):
        for _ in range(4):  # as many as where nothing is known, and all of them free
            await enter(other)
    assert clock.monotonic() <= 1.1


async def test_what_a_killed_process_held_comes_back(clock: FakeClock, shelf: Shelf) -> None:
    """It took all places where no limit is known, and never said anything again."""
    dead, alive = shelf.limiter(), shelf.limiter()
    for _ in range(4):
        await enter(dead)
    await enter(alive)
    assert 4 < clock.monotonic() < 6


async def test_who_waits_may_be_refused(clock: FakeClock, shelf: Shelf) -> None:
    """After as long as he said, with nobody to make room; the next one is served as ever."""
    limiter = shelf.limiter()
    for _ in range(4):
        await enter(limiter)
    with pytest.raises(RateLimitedError, match="not sent"):
        await enter(limiter, most=2)
    assert clock.monotonic() == 2
    with pytest.raises(RateLimitedError, match="not sent"):
        await enter(limiter, most=0)
    waiting = asyncio.ensure_future(enter(limiter, most=3))
    await clock.settle()
    limiter.learn(GROUP, Sight())
    await waiting
    assert clock.monotonic() == 2


async def test_without_patience_a_free_place_is_had_all_the_same(clock: FakeClock) -> None:
    """The store takes its time to say so."""
    await enter(Shelf(clock, latency=0.02).limiter(), most=0)
    assert clock.monotonic() > 0.02


@pytest.mark.parametrize("failure", [OSError("cut"), LookupError("no table"), TimeoutError()])
async def test_a_store_that_fails_fails_all_who_wait(clock: FakeClock, shelf: Shelf, failure: Exception) -> None:
    """Nothing was sent; and when it is back, so is everything else."""
    limiter = shelf.limiter()
    await ask(limiter, shows(100))
    shelf.failure = failure
    results = await asyncio.gather(*(enter(limiter) for _ in range(3)), return_exceptions=True)
    for result in results:
        assert isinstance(result, TransportError)
        assert (result.sent, result.request, result.__cause__) == (False, GROUP, failure)
        assert str(failure) in str(result)
    assert len(set(map(id, results))) == 3
    shelf.failure = None
    await enter(limiter)


async def test_what_cannot_be_written_down_is_written_later(
    clock: FakeClock, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    """With the next reservation, as of the time at which it was seen."""
    limiter, other = shelf.limiter(), shelf.limiter()
    await enter(limiter)
    shelf.failure = OSError("cut")
    limiter.learn(GROUP, shows(0, reset=8))
    await written(clock)
    assert "told to other processes later" in caplog.text
    shelf.failure = None
    waiting = asyncio.ensure_future(enter(limiter))
    await clock.settle()
    assert not waiting.done()
    with pytest.raises(RateLimitedError):
        await enter(other, most=1)
    await waiting
    assert clock.monotonic() == pytest.approx(8, abs=0.1)


async def test_a_request_tells_what_the_limiter_lacked(clock: FakeClock, sim: Simulator, shelf: Shelf) -> None:
    """The caller gets the error of the limiter, without a try of the retry policy; the service got nothing."""
    shelf.failure = OSError("cut")
    client = CloseBulk(
        sim.api_key, base_url=sim.base_url, clock=clock, limiter=shelf.limiter(), retry=RetryPolicy(max_wait=5)
    )
    async with client as close:
        with pytest.raises(TransportError, match="shared budget is out of reach: cut"):
            await close.emails.list()
    assert len(sim.requests) == 0


async def test_a_wait_outlives_a_store_that_is_away(clock: FakeClock, sim: Simulator, shelf: Shelf) -> None:
    """Its polls fail for five minutes, and go on then; the end is known, and nothing was asked of the service."""
    ref: JobRef[BulkEmail] = JobRef(Kind.EMAIL, sim.add_job("email", plan=Plan(duration=400)).id)
    async with CloseBulk(sim.api_key, base_url=sim.base_url, clock=clock, limiter=shelf.limiter()) as close:
        waiting = asyncio.ensure_future(close.wait_until_done(ref).result())
        await clock.sleep(10)
        asked = len(sim.requests)
        shelf.failure = OSError("cut")
        await clock.sleep(300)
        assert len(sim.requests) == asked
        shelf.failure = None
        assert (await waiting).is_done
    assert status(sim, 429) == 0


async def test_one_process_alone_costs_one_write_a_request(clock: FakeClock, sim: Simulator) -> None:
    """Answers are written with the next reservation; several that may go at once are reserved together."""
    sim.limits = Limits(rate=20, window=8)
    shelf = Shelf(clock, latency=0.001)
    await read_all(sim, clock, [shelf.limiter()], 400)
    assert shelf.writes <= 400 * 1.05
    assert shelf.reads <= 400 * 0.05


async def test_processes_that_share_cost_one_read_more(clock: FakeClock, sim: Simulator) -> None:
    """And some writes that came too late."""
    sim.limits = Limits(rate=20, window=8)
    shelf = Shelf(clock, latency=0.001)
    await read_all(sim, clock, [shelf.limiter() for _ in range(5)], 80)
    assert shelf.writes <= 400 * 1.25
    assert shelf.reads <= 400 * 1.25


async def test_the_store_may_set_its_clock(clock: FakeClock, shelf: Shelf) -> None:
    """An hour back or on, in the middle of a window that is used up: nobody waits for that hour."""
    limiter = shelf.limiter()
    await ask(limiter, shows(0, reset=8))
    await written(clock)
    shelf.ahead -= 3600
    await enter(limiter)
    assert 8 <= clock.monotonic() <= 9
    limiter.learn(GROUP, shows(0, reset=8))
    await written(clock)
    shelf.ahead += 7200
    await enter(limiter)
    assert clock.monotonic() < 9 + 8 + LONGEST_PAUSE


async def test_a_process_that_was_stopped_does_not_use_an_old_place(clock: FakeClock, shelf: Shelf) -> None:
    """Its window may be over: whoever waits gets another one."""
    late = LateClock()
    limiter = Shelf(late).limiter()
    await ask(limiter, shows(40))
    for _ in range(11):
        await ask(limiter, None)
    waiting = asyncio.ensure_future(enter(limiter))
    await late.settle()
    late.passed = 30
    await late.advance(0.5)
    await waiting
    assert shelf.rows == {}


async def test_a_process_that_was_stopped_while_it_reserved_uses_no_old_place() -> None:
    """Those that the answer brings are of a window that is over: they are given back, and others are taken."""
    late = LateClock()
    shelf = StoppingShelf(late)
    limiter = shelf.limiter()
    await ask(limiter, shows(100, limit=100))
    await written(late)
    shelf.stops = 30
    await asyncio.gather(*(enter(limiter) for _ in range(5)))
    assert shelf.rows[GROUP].written_at >= shelf.ahead + 30


async def test_a_store_that_is_slow_starves_nobody(clock: FakeClock) -> None:
    """Each answer comes after the time of its places, and they are used all the same, from the second one on."""
    shelf = Shelf(clock, latency=1.5)
    limiter = shelf.limiter()
    for _ in range(5):
        await ask(limiter, Sight())
    assert clock.monotonic() <= 5 * 2 * 2 * 1.5


class LateClock(FakeClock):
    """Its time may have passed before anybody was woken, as in a process that was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0.0

    def monotonic(self) -> float:
        """What has passed unnoticed counts."""
        return super().monotonic() + self.passed


@attrs.define
class StoppingShelf(Shelf):
    """Whoever writes to it is stopped for `stops` seconds before he has the answer, once."""

    stops: float = 0.0

    async def swap(self, group: str, text: str, *, seen: str | None, token: str) -> Record:
        """As `Store.swap`."""
        shown = await super().swap(group, text, seen=seen, token=token)
        assert isinstance(self.clock, LateClock)
        self.clock.passed += self.stops
        self.stops = 0.0
        return shown


async def test_closing_leaves_nothing(clock: FakeClock, shelf: Shelf) -> None:
    """What was learned is written down, what was reserved is given back, and no task or timer is left."""
    limiter, other = shelf.limiter(), shelf.limiter()
    await ask(limiter, shows(40))
    for _ in range(11):
        await ask(limiter, None)
    waiting = asyncio.ensure_future(enter(limiter))
    await clock.settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await limiter.aclose()
    await clock.settle()
    assert not clock.sleepers
    assert len(asyncio.all_tasks()) == 1
    assert '"places":{}' in str(shelf.rows[GROUP].text)
    await enter(other, most=1)


async def test_nobody_asks_while_nobody_waits(clock: FakeClock, shelf: Shelf) -> None:
    """The store has peace."""
    limiter = shelf.limiter()
    await ask(limiter, shows(100))
    await written(clock)
    before = shelf.reads, shelf.writes
    await clock.sleep(3600)
    assert (shelf.reads, shelf.writes) == before
    assert not clock.sleepers


async def test_groups_do_not_know_each_other(shelf: Shelf) -> None:
    """One is stopped, the other goes."""
    limiter = shelf.limiter()
    await ask(limiter, Sight(stopped_for=60))
    await enter(limiter, most=1, group=POSTS)
    with pytest.raises(RateLimitedError):
        await enter(limiter, most=1)
